package testbed

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupDir is where cgroup hierarchies are mounted.
const cgroupDir = "/sys/fs/cgroup"

// system is the cgroup of a node's own daemons, below the node's.
const system = "system"

// cgroup is the name of the cluster's cgroup in each hierarchy. It follows from
// the cluster's folder, so it is found again when all else is lost.
func (c *Cluster) cgroup() string {
	return fmt.Sprintf("sluice-%x", sha256.Sum256([]byte(c.Options.Dir)))[:15]
}

// nodeCgroup is the path of a node's cgroup below the root of each hierarchy.
func (c *Cluster) nodeCgroup(node string) string { return filepath.Join("/", c.cgroup(), node) }

// makeCgroups makes a node's cgroups and returns the folders of those that its
// own daemons run in.
func (c *Cluster) makeCgroups(node string) ([]string, error) {
	roots, v2, err := hierarchies()
	if err != nil {
		return nil, err
	}
	// Beside hierarchies of version 1, that of version 2 has no controllers.
	if len(roots) == 0 {
		roots = v2
	}
	if len(roots) == 0 {
		return nil, errors.New("no hierarchy is mounted below " + cgroupDir)
	}
	var dirs []string
	for _, root := range roots {
		cluster := filepath.Join(root, c.cgroup())
		if err := os.MkdirAll(cluster, 0o755); err != nil {
			return nil, err
		}
		if err := inheritCPUs(root, cluster); err != nil {
			return nil, err
		}
		dir := filepath.Join(cluster, node, system)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// inheritCPUs makes the groups below one of the cpuset hierarchy of cgroups(7)
// version 1 usable: without processors and memory of their own, no process can
// enter them.
func inheritCPUs(root, group string) error {
	if _, err := os.Stat(filepath.Join(group, "cgroup.clone_children")); err != nil {
		return nil // version 2
	}
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another hierarchy
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(group, name), value, 0)
		}
		if err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(group, "cgroup.clone_children"), []byte("1"), 0)
}

// removeCgroups removes all cgroups of the cluster. Its processes have ended.
func (c *Cluster) removeCgroups(ctx context.Context) error {
	v1, v2, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	// Containers are in all of them.
	for _, root := range append(v1, v2...) {
		errs = append(errs, removeCgroup(ctx, filepath.Join(root, c.cgroup())))
	}
	return errors.Join(errs...)
}

// removeCgroup removes a cgroup with those below it. The kernel may count a
// process in it for a moment after its end.
func removeCgroup(ctx context.Context, dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list cgroup %s: %w", dir, err)
	}
	for _, d := range slices.Backward(dirs) {
		err := poll(ctx, func() (bool, error) {
			err := unix.Rmdir(d)
			return err == nil || errors.Is(err, unix.ENOENT), ignore(err, unix.EBUSY)
		})
		if err != nil {
			return fmt.Errorf("remove cgroup %s: %w", d, err)
		}
	}
	return nil
}

// ignore returns an error that is not one to try again after.
func ignore(err, again error) error {
	if errors.Is(err, again) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// poll calls f until it says that it is done or fails.
func poll(ctx context.Context, f func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// hierarchies returns the roots of the mounted hierarchies of cgroups(7), of
// version 1 and of version 2.
func hierarchies() (v1, v2 []string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m, err := parseMount(lines.Text())
		if err != nil {
			return nil, nil, err
		}
		switch {
		case m.point != cgroupDir && !strings.HasPrefix(m.point, cgroupDir+"/"):
		case m.kind == "cgroup":
			v1 = append(v1, m.point)
		case m.kind == "cgroup2":
			v2 = append(v2, m.point)
		}
	}
	return v1, v2, lines.Err()
}
