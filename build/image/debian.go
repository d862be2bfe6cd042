package main

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// debian is a root folder that root.sh has made.
type debian struct {
	root string
	// owner is the package of each file.
	owner map[string]string
	// used are the packages that files were taken from.
	used map[string]bool
}

// status is the folder in the root, and in the image, that names packages.
const status = "/var/lib/dpkg/status.d"

func openDebian(root string) (*debian, error) {
	d := &debian{root: root, owner: map[string]string{}, used: map[string]bool{}}
	lists, err := filepath.Glob(filepath.Join(root, status, "*.md5sums"))
	if err != nil {
		return nil, err
	}
	if len(lists) == 0 {
		return nil, fmt.Errorf("Debian root %s: no package in %s", root, status)
	}
	for _, list := range lists {
		if err := d.readOwners(list); err != nil {
			return nil, fmt.Errorf("Debian root: %w", err)
		}
	}
	return d, nil
}

// readOwners reads a md5sums file of dpkg: in each line a sum and a path.
func (d *debian) readOwners(list string) error {
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		_, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return fmt.Errorf("%s: line %q has no path", list, lines.Text())
		}
		d.owner[merged("/"+name)] = strings.TrimSuffix(filepath.Base(list), ".md5sums")
	}
	return lines.Err()
}

// take adds a file of the root to the tree by a name, and notes its package.
func (d *debian) take(t tree, file, name string) error {
	actual, err := d.resolve(file)
	if err != nil {
		return err
	}
	owner, ok := d.owner[merged(actual)]
	if !ok && !strings.HasPrefix(actual, "/etc/") { // md5sums has no configuration files
		return fmt.Errorf("%s belongs to no Debian package", actual)
	}
	d.used[owner] = true
	return t.file(merged(name), filepath.Join(d.root, actual))
}

// program adds an executable, its links, and the libraries it needs.
func (d *debian) program(t tree, p program) error {
	name := p.name
	if name == "" {
		name = p.path
	}
	if err := d.take(t, p.path, name); err != nil {
		return err
	}
	for _, l := range p.links {
		t.link("/usr/bin/"+l, filepath.Base(name))
	}
	return d.needed(t, p.path)
}

// needed adds what the dynamic linker will look for: the linker itself, and
// libraries by the names under which a file asks for them.
func (d *debian) needed(t tree, file string) error {
	actual, err := d.resolve(file)
	if err != nil {
		return err
	}
	f, err := elf.Open(filepath.Join(d.root, actual))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	wanted, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", file, err)
	}
	var paths []string
	for _, library := range wanted {
		found, err := d.library(library)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", file, library, err)
		}
		paths = append(paths, found)
	}
	if interp := f.Section(".interp"); interp != nil {
		text, err := interp.Data()
		if err != nil {
			return fmt.Errorf("interpreter of %s: %w", file, err)
		}
		paths = append(paths, strings.TrimRight(string(text), "\x00"))
	}
	for _, p := range paths {
		if _, there := t[merged(p)]; there {
			continue
		}
		if err := d.take(t, p, p); err != nil {
			return fmt.Errorf("%s needs %s: %w", file, p, err)
		}
		if err := d.needed(t, p); err != nil {
			return err
		}
	}
	return nil
}

// library finds a library in the folders that Debian's linker looks in.
func (d *debian) library(name string) (string, error) {
	for _, pattern := range []string{"/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*", "/lib64", "/lib", "/usr/lib"} {
		found, err := filepath.Glob(filepath.Join(d.root, pattern, name))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return strings.TrimPrefix(found[0], d.root), nil
		}
	}
	return "", os.ErrNotExist
}

// resolve follows links inside the root.
func (d *debian) resolve(file string) (string, error) {
	for range 10 {
		target, err := os.Readlink(filepath.Join(d.root, file))
		if errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if err != nil { // no link
			return file, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(file), target)
		}
		file = target
	}
	return "", fmt.Errorf("%s: too many links", file)
}

// packages adds the descriptions, and the licences, of the packages in use.
func (d *debian) packages(t tree) error {
	for name := range d.used {
		if name == "" {
			continue
		}
		for _, file := range []string{name, name + ".md5sums"} {
			if err := t.file(status+"/"+file, filepath.Join(d.root, status, file)); err != nil {
				return err
			}
		}
		licence := filepath.Join("/usr/share/doc", name, "copyright")
		actual, err := d.resolve(licence)
		if errors.Is(err, os.ErrNotExist) {
			continue // in the package of the same source that this one needs
		}
		if err != nil {
			return err
		}
		if err := t.file(licence, filepath.Join(d.root, actual)); err != nil {
			return err
		}
	}
	return nil
}

// merged is a path in a root where /bin, /sbin and /lib are links into /usr, as
// they are once Debian is set up.
func merged(path string) string {
	for _, top := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(path, top) {
			return "/usr" + path
		}
	}
	return path
}
