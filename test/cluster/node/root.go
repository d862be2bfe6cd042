package node

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// onDisk are folders that the node has on disk, in its folder. The rest of what
// it writes is in memory. An overlay, which is what containerd's snapshots are,
// can't be on another overlay.
var onDisk = []string{"/var/lib/containerd", "/var/lib/kubelet", "/var/log"}

// sysctls are the machine-wide settings that the kubelet asks for. It is shown
// files that have them: the machine's own are left alone.
var sysctls = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// mount is one call of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func (m mount) do() error {
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
	}
	return nil
}

// enterRoot gives the node its root. All mounts are the node's own and go with its
// mount namespace.
func (c *Config) enterRoot() error {
	scratch := filepath.Join(c.Dir, "scratch")
	upper, work, root := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work"), filepath.Join(scratch, "root")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	// What is mounted here is not to be seen outside, nor the other way round.
	if err := (mount{target: "/", flags: unix.MS_REC | unix.MS_PRIVATE}).do(); err != nil {
		return err
	}
	// An overlay's upper folder can't be on its lower filesystem, hence memory.
	if err := (mount{source: "tmpfs", target: scratch, kind: "tmpfs", data: "mode=755"}).do(); err != nil {
		return err
	}
	for _, dir := range []string{upper, work, root} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	in := func(path string) string { return filepath.Join(root, path) }
	mounts := []mount{
		{source: "overlay", target: root, kind: "overlay", data: "lowerdir=/,upperdir=" + upper + ",workdir=" + work},
		{source: "proc", target: in("proc"), kind: "proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{source: "/dev", target: in("dev"), flags: unix.MS_BIND | unix.MS_REC},
		// A fresh one shows the devices of the node's network namespace; it hides the
		// cgroups.
		{source: "sysfs", target: in("sys"), kind: "sysfs", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{source: "/sys/fs/cgroup", target: in("sys/fs/cgroup"), flags: unix.MS_BIND | unix.MS_REC},
		{source: "tmpfs", target: in("run"), kind: "tmpfs", data: "mode=755"},
		{source: "tmpfs", target: in("tmp"), kind: "tmpfs", data: "mode=1777"},
	}
	for _, dir := range c.Share {
		mounts = append(mounts, mount{source: dir, target: in(dir), flags: unix.MS_BIND})
	}
	for _, dir := range onDisk {
		mounts = append(mounts, mount{source: filepath.Join(c.Dir, "disk", dir), target: in(dir), flags: unix.MS_BIND})
	}
	names := make([]string, 0, len(sysctls))
	for name := range sysctls {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		file := filepath.Join(scratch, filepath.Base(name))
		if err := os.WriteFile(file, []byte(sysctls[name]+"\n"), 0o644); err != nil {
			return err
		}
		mounts = append(mounts, mount{source: file, target: in("proc/sys/" + name), flags: unix.MS_BIND})
	}
	for _, m := range mounts {
		if err := m.prepare(); err != nil {
			return err
		}
		if err := m.do(); err != nil {
			return err
		}
	}
	return pivot(root)
}

// prepare makes the folders of a mount that are not there.
func (m mount) prepare() error {
	if m.flags&unix.MS_BIND == 0 {
		return nil
	}
	info, err := os.Stat(m.source)
	switch {
	case err == nil && !info.IsDir():
		return nil
	case err != nil && !os.IsNotExist(err):
		return err
	}
	if err := os.MkdirAll(m.source, 0o755); err != nil {
		return err
	}
	return os.MkdirAll(m.target, 0o755)
}

// pivot makes a folder that is a mount the root, and takes the old root away.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// With both the same, the old root is on top of the new: see pivot_root(2).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root to %s: %w", root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("take the old root away: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Mounts of pods with "Bidirectional" propagation are to reach other pods.
	return mount{target: "/", flags: unix.MS_REC | unix.MS_SHARED}.do()
}

// write writes files, with their folders.
func write(files map[string]string) error {
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}
