package main

import (
	"archive/tar"
	"debug/elf"
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
type tree map[string]entry

// entry is a file with the content of a file of this machine, or with a text; a
// link; or, with a mode only, a folder.
type entry struct {
	from, text, link string
	mode             int64
}

func (t tree) copy(from, to string)       { t[to] = entry{from: from, mode: 0o755} }
func (t tree) text(to, text string)       { t[to] = entry{text: text, mode: 0o644} }
func (t tree) link(to, target string)     { t[to] = entry{link: target, mode: 0o777} }
func (t tree) dir(to string, mode int64)  { t[to] = entry{mode: mode} }
func (t tree) has(to string) (there bool) { _, there = t[to]; return there }

// program adds an executable of this machine with what its dynamic linker looks
// for: the linker itself, and libraries by the names they are asked for.
func (t tree) program(from, to string) error {
	t.copy(from, to)
	f, err := elf.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	if interp := f.Section(".interp"); interp != nil {
		text, err := interp.Data()
		if err != nil {
			return err
		}
		needed = append(needed, strings.TrimRight(string(text), "\x00"))
	}
	for _, name := range needed {
		file, err := library(name)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", from, name, err)
		}
		if t.has(file) {
			continue
		}
		if err := t.program(file, file); err != nil {
			return err
		}
	}
	return nil
}

// library finds a library in the folders that Debian's linker looks in. A path is
// its own.
func library(name string) (string, error) {
	if path.IsAbs(name) {
		return name, nil
	}
	for _, dir := range []string{"/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*", "/lib", "/usr/lib"} {
		found, err := filepath.Glob(path.Join(dir, name))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", os.ErrNotExist
}

// pack writes the tree as a tar archive that depends on nothing but its contents.
// Folders that only lead to a file are added.
func (t tree) pack(w io.Writer) error {
	all := maps.Clone(t)
	for name := range t {
		for up := path.Dir(name); up != "/"; up = path.Dir(up) {
			if !all.has(up) {
				all.dir(up, 0o755)
			}
		}
	}
	archive := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := all[name].pack(archive, strings.TrimPrefix(name, "/")); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return archive.Close()
}

func (e entry) pack(archive *tar.Writer, name string) error {
	header := &tar.Header{Name: name, Mode: e.mode, Format: tar.FormatPAX}
	content := []byte(e.text)
	switch {
	case e.link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.link
	case e.from != "":
		var err error
		if content, err = os.ReadFile(e.from); err != nil {
			return err
		}
		fallthrough
	case e.text != "":
		header.Typeflag, header.Size = tar.TypeReg, int64(len(content))
	default:
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}
