package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxDepth bounds how deep subfolders are followed.
const maxDepth = 32

// extensions are those of manifest files.
var extensions = []string{".yaml", ".yml", ".json"}

// listing is what a walk through the folder found.
type listing struct {
	paths []string // of manifest files, sorted
	// lost are folders that could not be read: what is in them is not known.
	lost     []string
	problems []error
}

// list finds the manifest files of root, which may also be a single file. Names
// that begin with a dot are passed over: editors, version control and mounted
// ConfigMaps keep their own there. Symbolic links to files are followed, those
// to folders are not.
//
// Each folder is given to watch before it is read, so that no change falls
// between the two.
func list(root string, watch func(dir string) error) *listing {
	l := &listing{}
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		l.watch(filepath.Dir(root), watch)
		l.paths = []string{root}
		return l
	}
	l.folder(root, maxDepth, watch)
	slices.Sort(l.paths)
	return l
}

func (l *listing) watch(dir string, watch func(string) error) {
	if err := watch(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.problems = append(l.problems, fmt.Errorf("%s: changes are noticed late: %w", dir, err))
	}
}

func (l *listing) folder(dir string, depth int, watch func(string) error) {
	l.watch(dir, watch)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) && depth < maxDepth {
		return // removed since it was listed
	}
	if err == nil && depth == 0 {
		err = fmt.Errorf("%s: more than %d folders deep", dir, maxDepth)
	}
	if err != nil {
		l.lost = append(l.lost, dir)
		l.problems = append(l.problems, fmt.Errorf("read folder: %w", err))
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			l.folder(path, depth-1, watch)
		case slices.Contains(extensions, filepath.Ext(path)) && isFile(path, e):
			l.paths = append(l.paths, path)
		}
	}
}

// isFile is true of files and of links to files. A link that leads nowhere
// counts, so that reading it says so.
func isFile(path string, e os.DirEntry) bool {
	if e.Type()&os.ModeSymlink == 0 {
		return e.Type().IsRegular()
	}
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular()
}

// isLost reports whether a file is in a folder that could not be read.
func (l *listing) isLost(path string) bool {
	return slices.ContainsFunc(l.lost, func(dir string) bool {
		inside, err := filepath.Rel(dir, path)
		return err == nil && filepath.IsLocal(inside)
	})
}

// readFile reads a file of at most limit bytes. It never waits for a writer
// should the path lead to a pipe.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return data, nil
}
