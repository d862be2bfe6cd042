package podlink

import (
	"errors"
	"fmt"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

// Open opens the network namespace of a pod by its path. It refuses what is no
// network namespace and the one of this process, in which an attachment would
// take over the host's own routes.
func Open(path string) (ns.NetNS, error) {
	if path == "" {
		return nil, errors.New("the path is empty")
	}
	netns, err := ns.GetNS(path)
	if err != nil {
		return nil, err
	}
	if err := validate(netns); err != nil {
		netns.Close()
		return nil, fmt.Errorf("%q %w", path, err)
	}
	return netns, nil
}

func validate(netns ns.NetNS) error {
	// See ioctl_ns(2). A file of procfs that is no namespace answers ENOTTY.
	kind, err := unix.IoctlRetInt(int(netns.Fd()), unix.NS_GET_NSTYPE)
	if err != nil {
		return fmt.Errorf("is no namespace: %w", err)
	}
	if kind != unix.CLONE_NEWNET {
		return errors.New("is a namespace of another kind than network")
	}
	var own, pod unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &own); err != nil {
		return fmt.Errorf("cannot be told from the host's own: %w", err)
	}
	if err := unix.Fstat(int(netns.Fd()), &pod); err != nil {
		return fmt.Errorf("cannot be told from the host's own: %w", err)
	}
	if own.Dev == pod.Dev && own.Ino == pod.Ino {
		return errors.New("is the host's own network namespace")
	}
	return nil
}
