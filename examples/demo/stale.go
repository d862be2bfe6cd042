package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// owned is the name of a network namespace or of a folder of package bed. It
// holds the pid of its owner.
var owned = regexp.MustCompile(`^(?:sluice-bed-)?sl([1-9][0-9]*)-`)

// leftovers lists the network namespaces and folders whose owner is as asked.
func leftovers(owner func(pid int) bool) (paths []string, err error) {
	for _, pattern := range []string{"/run/netns/sl*", "/tmp/sluice-bed-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			m := owned.FindStringSubmatch(filepath.Base(path))
			if m == nil {
				continue
			}
			if pid, err := strconv.Atoi(m[1]); err == nil && owner(pid) {
				paths = append(paths, path)
			}
		}
	}
	return paths, nil
}

// removeStale takes away what a demo has left that was killed before it could do
// so itself. Its processes died with it.
func removeStale(log io.Writer) error {
	paths, err := leftovers(dead)
	errs := []error{err}
	for _, path := range paths {
		_, err := fmt.Fprintf(log, "removing %s: the process that made it is gone\n", path)
		errs = append(errs, err, remove(path))
	}
	return errors.Join(errs...)
}

// dead reports whether there is no process of a pid. If there is another one than
// the owner by now, what the owner left stays.
func dead(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// remove removes a folder, or a name of a network namespace, which is the place
// of a mount.
func remove(path string) error {
	err := syscall.Unmount(path, syscall.MNT_DETACH)
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return os.RemoveAll(path)
}
