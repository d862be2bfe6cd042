package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/netns"
)

// privateEnv marks the process that has namespaces of its own.
const privateEnv = "SLUICE_BENCH_PRIVATE"

// enterPrivate runs this program once more in network and mount namespaces of
// its own, if it is root's, and returns its exit code. All interfaces and mounts
// that benchmarks make are gone with that process, however it ends. It returns
// false in the process that has to do the work.
func enterPrivate() (bool, int) {
	if os.Geteuid() != 0 {
		return false, 0
	}
	if os.Getenv(privateEnv) != "" {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: prepare the namespaces:", err)
			return true, 1
		}
		return false, 0
	}
	// The death signal is sent when the thread that forked ends.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), privateEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return true, max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: enter namespaces:", err)
		return true, 1
	}
	return true, 0
}

// settle makes new namespaces usable: mounts stay in them, network namespaces get
// their names in a folder of their own, and the loopback interface works.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := os.MkdirAll(netns.Dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", netns.Dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", netns.Dir, err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
