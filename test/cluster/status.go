package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/cluster/testbed"
)

func statusCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say what runs; the exit code is 0 if all does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := testbed.Open(*dir)
			if err != nil {
				return err
			}
			return printStatus(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
}

// printStatus prints what runs. The error says what does not.
func printStatus(ctx context.Context, out io.Writer, c *testbed.Cluster) error {
	daemons, err := c.Daemons()
	if err != nil {
		return err
	}
	var ended []string
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PROCESS\tPID\tSTATE\tLOG")
	for _, d := range daemons {
		state := "running"
		if !d.Running() {
			state = "ended"
			ended = append(ended, d.Name)
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", d.Name, d.PID, state, c.Log(d.Name))
	}
	if len(ended) > 0 {
		table.Flush()
		return fmt.Errorf("ended: %s", strings.Join(ended, ", "))
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	fmt.Fprintln(table, "\nNODE\tREADY\tADDRESSES\tPODS")
	var unready []string
	for _, n := range nodes.Items {
		var addrs []string
		for _, a := range n.Status.Addresses {
			if a.Type == "InternalIP" {
				addrs = append(addrs, a.Address)
			}
		}
		ready := "yes"
		if !testbed.Ready(n) {
			ready = "no"
			unready = append(unready, n.Name)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", n.Name, ready, strings.Join(addrs, ","), strings.Join(n.Spec.PodCIDRs, ","))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	self := os.Args[0]
	fmt.Fprintf(out, "\n%s kubectl get pods -A\n%s exec node1 -- ip route\n", self, self)
	if len(unready) > 0 && c.Options.CNI != testbed.None {
		return fmt.Errorf("not ready: %s", strings.Join(unready, ", "))
	}
	return nil
}
