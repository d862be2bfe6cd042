package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
)

// completeTime bounds how long a shell waits for the agent.
const completeTime = time.Second

// completeEnds completes the arguments of trace.
func (a *app) completeEnds(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0, 1:
		return a.pods(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	case 2:
		return []string{"tcp/", "udp/", "sctp/", "icmp"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completePod(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.pods(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeNamespace(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, pod := range a.pods(cmd.Context()) {
		namespace, _, _ := strings.Cut(pod, "/")
		out = append(out, namespace)
	}
	return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
}

// pods are those of the node, if its agent answers.
func (a *app) pods(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	c := client.New(a.socket)
	defer c.Close()
	ports, err := c.Ports(ctx)
	if err != nil {
		return nil
	}
	return podsOf(ports)
}

func podsOf(ports []api.Port) []string {
	var out []string
	for _, p := range ports {
		out = append(out, p.Pod)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
