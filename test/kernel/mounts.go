package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a mount of a new filesystem.
type mount struct {
	source, target, fstype, data string
	flags                        uintptr
}

// do makes the target, if need be, and mounts.
func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s %s at %s: %w", m.fstype, m.source, m.target, err)
	}
	return nil
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

// mountKernel mounts the filesystems through which the kernel shows itself.
func mountKernel() error {
	return mountAll([]mount{
		{source: "proc", target: "/proc", fstype: "proc"},
		{source: "sysfs", target: "/sys", fstype: "sysfs"},
		{source: "devtmpfs", target: "/dev", fstype: "devtmpfs"},
	})
}

// loadBootModules loads the modules of the initramfs, in the order of its list.
func loadBootModules() error {
	list, err := os.ReadFile(modulesList)
	if err != nil {
		return fmt.Errorf("read the list of modules: %w", err)
	}
	for _, name := range strings.Fields(string(list)) {
		file, err := os.Open(filepath.Join(modulesDir, name))
		if err != nil {
			return fmt.Errorf("load module %s: %w", name, err)
		}
		err = unix.FinitModule(int(file.Fd()), "", 0)
		file.Close()
		if err != nil {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// mountExchange mounts the folder shared with the host. The handle stays good
// when the root changes.
func mountExchange() (*os.Root, error) {
	err := mount{source: exchangeTag, target: "/exchange", fstype: "9p", data: "trans=virtio,version=9p2000.L,msize=524288"}.do()
	if err != nil {
		return nil, err
	}
	exchange, err := os.OpenRoot("/exchange")
	if err != nil {
		return nil, fmt.Errorf("open the exchange folder: %w", err)
	}
	return exchange, nil
}

// enterRoot makes the host's files the root, with changes kept in memory and
// with this kernel's modules from the given folder of the host.
func enterRoot(modules string) error {
	const host, changes, root = "/host", "/changes", "/newroot"
	err := mountAll([]mount{
		{source: rootTag, target: host, fstype: "9p", flags: unix.MS_RDONLY,
			data: "trans=virtio,version=9p2000.L,cache=loose,msize=524288"},
		{source: "tmpfs", target: changes, fstype: "tmpfs", data: "mode=0755"},
	})
	if err != nil {
		return err
	}
	upper, work := changes+"/upper", changes+"/work"
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	err = mountAll([]mount{
		{source: "overlay", target: root, fstype: "overlay", data: "lowerdir=" + host + ",upperdir=" + upper + ",workdir=" + work},
		{source: "/proc", target: root + "/proc", flags: unix.MS_MOVE},
		{source: "/sys", target: root + "/sys", flags: unix.MS_MOVE},
		{source: "/dev", target: root + "/dev", flags: unix.MS_MOVE},
		{source: "devpts", target: root + "/dev/pts", fstype: "devpts", data: "ptmxmode=0666"},
		{source: "tmpfs", target: root + "/dev/shm", fstype: "tmpfs", data: "mode=1777"},
		{source: "tmpfs", target: root + "/run", fstype: "tmpfs", data: "mode=0755"},
		{source: "cgroup2", target: root + "/sys/fs/cgroup", fstype: "cgroup2"},
		{source: host + modules, target: root + "/lib/modules", flags: unix.MS_BIND},
	})
	if err != nil {
		return err
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("enter the host's files: %w", err)
	}
	return os.Chdir("/")
}
