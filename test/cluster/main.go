// Command cluster brings up a whole Kubernetes cluster on this machine, and takes
// it away again: see package testbed. It needs root.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/test/cluster/daemon"
)

// exitInterrupted is what shells use for a command that SIGINT ended.
const exitInterrupted = 130

func main() {
	daemon.Main()
	// While a signal is listened for it does not end the process: what has been
	// brought up is taken down first.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	var exit *exec.ExitError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "cluster: interrupted:", err)
		os.Exit(exitInterrupted)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	var dir string
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "A whole Kubernetes cluster on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
		// Flags before kubectl are ours, those after it are not.
		TraverseChildren: true,
	}
	root.PersistentFlags().StringVar(&dir, "dir", defaultDir(), "the cluster's folder, also $"+dirEnv)
	root.AddCommand(
		upCommand(&dir), downCommand(&dir), statusCommand(&dir), kubectlCommand(&dir), execCommand(&dir), testCommand(&dir), nodeCommand(),
	)
	return root
}

// dirEnv is the environment variable that names the cluster's folder.
const dirEnv = "SLUICE_CLUSTER"

func defaultDir() string {
	if dir := os.Getenv(dirEnv); dir != "" {
		return dir
	}
	return "/tmp/sluice-cluster"
}
