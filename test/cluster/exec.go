package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/cluster/node"
	"github.com/sluice-cni/sluice/test/cluster/testbed"
	"github.com/sluice-cni/sluice/test/controlplane"
)

func kubectlCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl ARGUMENT...",
		Short:              "Run kubectl as the administrator",
		DisableFlagParsing: true, // they are kubectl's
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := testbed.Open(*dir)
			if err != nil {
				return err
			}
			kubectl, err := controlplane.Lookup("kubectl")
			if err != nil {
				return err
			}
			return execIn(c, testbed.Control, append([]string{kubectl}, args...))
		},
	}
}

func execCommand(dir *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec control|NODE [--] COMMAND...",
		Short: "Run a command on a node, or in the network namespace of the control plane",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := testbed.Open(*dir)
			if err != nil {
				return err
			}
			command := args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return errors.New("exec: no command is given")
			}
			if args[0] == testbed.Control {
				return execIn(c, args[0], command)
			}
			n, err := c.Node(args[0])
			if err != nil {
				return err
			}
			enter := []string{"nsenter", "--target", strconv.Itoa(n.PID), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
			return become(append(enter, command...), nil)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the name is the command's
	return cmd
}

// execIn makes this process a command in a network namespace of the cluster, who
// is the administrator to it. It returns only if it fails.
func execIn(c *testbed.Cluster, name string, args []string) error {
	runtime.LockOSThread() // exec keeps the thread's namespace
	if err := c.Netns(name).Enter(); err != nil {
		return fmt.Errorf("enter the network namespace of %s: %w", name, err)
	}
	return become(args, []string{"KUBECONFIG=" + c.Kubeconfig(), "KUBECACHEDIR=" + c.Path("kubectl-cache")})
}

func become(args, env []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	if err := unix.Exec(path, args, append(os.Environ(), env...)); err != nil {
		return fmt.Errorf("exec %s: %w", path, err)
	}
	return nil
}

// nodeCommand is a node's first process; `up` starts it.
func nodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    testbed.NodeCommand + " FILE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return node.RunFile(args[0]) },
	}
}
