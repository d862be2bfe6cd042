package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/test/cache"
)

// linux is a kernel with its modules, unpacked in a folder.
type linux struct {
	image   string // path of the bootable image
	release string // what uname -r says
	modules string // the folder of all releases' modules
}

// findLinux finds the kernel that build/deps.sh keeps in the cache.
func findLinux() (*linux, error) {
	const advice = "run: build/deps.sh kernel"
	dir, err := cache.Path("linux")
	if err != nil {
		return nil, err
	}
	l := &linux{image: filepath.Join(dir, "vmlinuz"), modules: filepath.Join(dir, "lib", "modules")}
	if _, err := os.Stat(l.image); err != nil {
		return nil, fmt.Errorf("find the kernel: %w (%s)", err, advice)
	}
	releases, err := os.ReadDir(l.modules)
	if err != nil {
		return nil, fmt.Errorf("find the kernel's modules: %w (%s)", err, advice)
	}
	if len(releases) != 1 {
		return nil, fmt.Errorf("find the kernel's modules: %s holds %d kernels, want one (%s)", l.modules, len(releases), advice)
	}
	l.release = releases[0].Name()
	return l, nil
}

// moduleFiles returns the paths of the named modules and of all they depend on,
// in an order in which they can be loaded.
func (l *linux) moduleFiles(names ...string) ([]string, error) {
	dir := filepath.Join(l.modules, l.release)
	deps, err := readDeps(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	var files []string
	added := map[string]bool{}
	for _, name := range names {
		line, ok := deps[name]
		if !ok {
			return nil, fmt.Errorf("find module %s: it is not in %s/modules.dep", name, dir)
		}
		// A module stands before those it depends on, the nearest first.
		for i := len(line) - 1; i >= 0; i-- {
			if !added[line[i]] {
				added[line[i]] = true
				files = append(files, filepath.Join(dir, line[i]))
			}
		}
	}
	return files, nil
}

// readDeps reads a modules.dep: by name of the module its file and those of all
// it depends on (modules.dep(5)).
func readDeps(path string) (map[string][]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	deps := map[string][]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		module, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			return nil, fmt.Errorf("parse %s: no colon in %q", path, lines.Text())
		}
		name, _, _ := strings.Cut(filepath.Base(module), ".")
		deps[name] = append([]string{module}, strings.Fields(rest)...)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(deps) == 0 {
		return nil, errors.New(path + " is empty")
	}
	return deps, nil
}
