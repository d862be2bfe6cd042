// Command sluice-agent is the node daemon of Sluice.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/pkg/agent"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	logs.FlushLogs()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice-agent:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	cfg := config.Default()
	var file string
	cmd := &cobra.Command{
		Use:   "sluice-agent",
		Short: "Attach pods to Open vSwitch and enforce network policies on this node",
		Long: `The agent owns one Open vSwitch bridge. It attaches pods for the CNI plugin,
compiles NetworkPolicies into OpenFlow, and answers the sluice command.

Its configuration is a file of kind AgentConfiguration; flags override it.
When it stops, pods stay attached and policies stay enforced.`,
		Example: `  # on a node of a cluster
  sluice-agent --config /etc/sluice/agent.yaml

  # without a cluster: policies and pods from a folder
  sluice-agent --manifests ./examples/guarded-database --pod-cidrs 10.244.0.0/24`,
		Version:       version.String(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				// The flags were parsed into the defaults; they count over the file.
				loaded, err := config.Load(file)
				if err != nil {
					return err
				}
				if err := loaded.Override(cmd.Flags()); err != nil {
					return err
				}
				cfg = loaded
			}
			if err := cfg.Complete(); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return fmt.Errorf("invalid configuration:\n%w", err)
			}
			if err := logsapi.ValidateAndApply(&cfg.Logging, nil); err != nil {
				return fmt.Errorf("logging: %w", err)
			}
			ctx := klog.NewContext(cmd.Context(), klog.Background())
			return agent.Run(ctx, cfg)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file of kind AgentConfiguration")
	cfg.AddFlags(cmd.Flags())
	return cmd
}
