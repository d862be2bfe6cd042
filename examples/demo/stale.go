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

// leftover is the name of a network namespace or of a folder of package bed. It
// holds the pid of its owner.
var leftover = regexp.MustCompile(`^(?:sl|sluice-bed-)([1-9][0-9]*)-`)

// removeStale takes away what a demo has left that was killed before it could do
// so itself. Its processes died with it.
func removeStale(log io.Writer) error {
	var errs []error
	for _, pattern := range []string{"/run/netns/sl*", "/tmp/sluice-bed-*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			m := leftover.FindStringSubmatch(filepath.Base(path))
			if m == nil || alive(m[1]) {
				continue
			}
			if _, err := fmt.Fprintf(log, "removing %s: the demo that made it is gone\n", path); err != nil {
				return err
			}
			errs = append(errs, remove(path))
		}
	}
	return errors.Join(errs...)
}

// alive reports whether there is a process of a pid, be it another one than the
// owner: what it might own is left alone.
func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err != nil || !errors.Is(syscall.Kill(n, 0), syscall.ESRCH)
}

// remove removes a folder, or a name of a network namespace, which is the place
// of a mount.
func remove(path string) error {
	err := syscall.Unmount(path, syscall.MNT_DETACH)
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return os.RemoveAll(path)
}
