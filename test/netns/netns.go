// Package netns makes network namespaces that tests' hosts, nodes and pods live
// in, and runs things in them.
package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Dir is where network namespaces have names for ip-netns(8).
const Dir = "/run/netns"

// Netns is a network namespace that has a file as its name.
type Netns struct {
	path string
}

// Create makes a network namespace with its loopback interface up. The file must
// not exist; the folder it is in is made if it does not. The namespace lives until
// Delete.
func Create(path string) (*Netns, error) {
	n := &Netns{path: path}
	if err := n.create(); err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", path, err)
	}
	err := n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set the loopback interface of %s up: %w", path, err), n.Delete())
	}
	return n, nil
}

// Open returns a namespace that exists. What does not, the methods say.
func Open(path string) *Netns { return &Netns{path: path} }

func (n *Netns) create() error {
	if err := os.MkdirAll(filepath.Dir(n.path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(n.path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
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
		if err := unix.Mount("/proc/thread-self/ns/net", n.path, "", unix.MS_BIND, ""); err != nil {
			done <- fmt.Errorf("mount: %w", err)
			return
		}
		done <- nil
	}()
	if err := <-done; err != nil {
		return errors.Join(err, os.Remove(n.path))
	}
	return nil
}

// Name returns the last element of the namespace's path, which in Dir is its name
// for ip-netns(8).
func (n *Netns) Name() string { return filepath.Base(n.path) }

// Path returns the file that stands for the namespace.
func (n *Netns) Path() string { return n.path }

// Do calls f on a thread that is in the namespace. Sockets that f opens and
// processes that it starts stay in it; goroutines that it starts are not in it.
func (n *Netns) Do(f func() error) error {
	return ns.WithNetNSPath(n.path, func(ns.NetNS) error { return f() })
}

// Enter moves the calling thread to the namespace for good. The caller has locked
// itself to its thread.
func (n *Netns) Enter() error {
	netns, err := ns.GetNS(n.path)
	if err != nil {
		return err
	}
	defer netns.Close()
	return netns.Set()
}

// DialContext makes a connection from within the namespace.
func (n *Netns) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	// The connection only: racing two families happens in goroutines, which are not
	// in the namespace.
	dialer := net.Dialer{FallbackDelay: -1}
	err = n.Do(func() error {
		c, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Delete takes the namespace's name away, and with it the namespace with its
// interfaces unless a process or a socket still uses it. A namespace that is gone
// is no error.
func (n *Netns) Delete() error {
	if err := unix.Unmount(n.path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", n.path, err)
	}
	if err := os.Remove(n.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", n.path, err)
	}
	return nil
}
