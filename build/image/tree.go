package main

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree is the files of a layer, by their absolute paths.
type tree map[string]node

// node is a regular file, a symbolic link, or, with neither, a folder.
type node struct {
	source string // the file to copy
	link   string // the link's target
	text   []byte // what the file holds, if it has no source
	mode   os.FileMode
}

func (t tree) file(name, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("file %s of the image: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("file %s of the image: %s is no regular file", name, source)
	}
	mode := os.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	t[name] = node{source: source, mode: mode}
	return nil
}

func (t tree) link(name, target string) { t[name] = node{link: target, mode: 0o777} }

func (t tree) dir(name string) {
	mode := os.FileMode(0o755)
	if name == "/tmp" {
		mode = 0o1777
	}
	t[name] = node{mode: mode}
}

// copyAll adds every file below a folder.
func (t tree) copyAll(dir string) error {
	return filepath.WalkDir(dir, func(source string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return t.file("/"+strings.TrimPrefix(filepath.ToSlash(source), filepath.ToSlash(dir)+"/"), source)
	})
}

// write writes the tree as a tar archive that depends on nothing but its
// contents: all is root's, and from the start of time. Folders that only lead to
// a file are added.
func (t tree) write(w io.Writer) error {
	all := maps.Clone(t)
	for name := range t {
		for up := path.Dir(name); up != "/"; up = path.Dir(up) {
			if _, there := all[up]; !there {
				tree(all).dir(up)
			}
		}
	}
	archive := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := writeNode(archive, name, all[name]); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return archive.Close()
}

func writeNode(archive *tar.Writer, name string, n node) error {
	header := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: int64(n.mode), Format: tar.FormatPAX}
	switch {
	case n.link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, n.link
		return archive.WriteHeader(header)
	case n.source == "" && n.text == nil:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return archive.WriteHeader(header)
	}
	header.Typeflag = tar.TypeReg
	text := n.text
	if n.source != "" {
		var err error
		if text, err = os.ReadFile(n.source); err != nil {
			return err
		}
	}
	header.Size = int64(len(text))
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(text)
	return err
}
