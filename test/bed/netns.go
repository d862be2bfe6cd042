package bed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netnsDir is where network namespaces have names, as with ip-netns(8).
const netnsDir = "/run/netns"

// Netns is a network namespace that lives until Delete.
type Netns struct {
	name string
}

// newNetns makes a network namespace with its loopback interface up.
func newNetns(name string) (*Netns, error) {
	n := &Netns{name: name}
	if err := n.create(); err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	err := n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set the loopback interface of %s up: %w", name, err), n.Delete())
	}
	return n, nil
}

func (n *Netns) create() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(n.Path(), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	done := make(chan error)
	go func() {
		// Not unlocked: the thread ends with the goroutine, the namespace lives on by
		// its mount.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("unshare: %w", err)
			return
		}
		if err := unix.Mount("/proc/thread-self/ns/net", n.Path(), "", unix.MS_BIND, ""); err != nil {
			done <- fmt.Errorf("mount: %w", err)
			return
		}
		done <- nil
	}()
	if err := <-done; err != nil {
		return errors.Join(err, os.Remove(n.Path()))
	}
	return nil
}

// Name returns the namespace's name, for ip-netns(8).
func (n *Netns) Name() string { return n.name }

// Path returns the file that stands for the namespace.
func (n *Netns) Path() string { return filepath.Join(netnsDir, n.name) }

// Do calls f on a thread that is in the namespace. Sockets that f opens and
// processes that it starts stay in it; goroutines that it starts are not in it.
func (n *Netns) Do(f func() error) error {
	return ns.WithNetNSPath(n.Path(), func(ns.NetNS) error { return f() })
}

// Delete takes the namespace's name away, and with it the namespace with its
// interfaces unless a process or a socket still uses it. A namespace that is gone
// is no error.
func (n *Netns) Delete() error {
	if err := unix.Unmount(n.Path(), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", n.name, err)
	}
	if err := os.Remove(n.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", n.name, err)
	}
	return nil
}
