// Command kernel runs a command under another Linux kernel, one that has the
// openvswitch module, and otherwise on this machine as it is:
//
//	kernel [-timeout 5m] COMMAND [ARGUMENT...]
//
// It boots an emulated machine (no hardware virtualisation is needed) that shows
// the command this machine's files, its working folder and its environment. What
// the command writes to files is gone with the emulated machine. Output and exit
// status are the command's own. It goes together with go test:
//
//	go test -exec "kernel -timeout 5m" ./test/e2e
//
// The kernel is the one that `build/deps.sh kernel` unpacks. In the environment
// of the command SLUICE_KERNEL holds its release.
//
// The same binary is both sides: the emulated machine starts it as its init.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if os.Getpid() == 1 {
		guest()
		return
	}
	timeout := flag.Duration("timeout", 10*time.Minute, "how long the machine may run, boot included")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: kernel [-timeout DURATION] COMMAND [ARGUMENT...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := host(*timeout, flag.Args())
	if err != nil {
		fmt.Fprintf(os.Stderr, "kernel: %v\n", err)
		os.Exit(125)
	}
	os.Exit(status)
}

// host boots the machine and returns the exit status of the command in it.
func host(timeout time.Duration, args []string) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it took longer than %v", timeout))
	defer cancel()

	linux, err := findLinux()
	if err != nil {
		return 0, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	vm, err := newVM(linux, command{
		Args:    args,
		Dir:     dir,
		Env:     append(os.Environ(), "SLUICE_KERNEL="+linux.release),
		Modules: linux.modules,
	})
	if err != nil {
		return 0, err
	}
	status, err := vm.run(ctx)
	return status, errors.Join(err, vm.close())
}
