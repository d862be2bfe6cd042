// Command sluice-agent is the node daemon of Sluice.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/pkg/agent"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/install"
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
	var s settings
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
			cfg, err := s.load(cmd.Flags())
			if err != nil {
				return err
			}
			if err := logsapi.ValidateAndApply(&cfg.Logging, nil); err != nil {
				return fmt.Errorf("logging: %w", err)
			}
			return s.run(klog.NewContext(cmd.Context(), klog.Background()), cfg)
		},
	}
	s.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&s.confList, "cni-conf", "", "network configuration list to put in --cni-conf-dir once pods can be attached")
	cmd.AddCommand(installCNICommand(), cleanupCommand())
	return cmd
}

// settings are what the command line says.
type settings struct {
	file  string
	flags *config.Config // the defaults, with flags parsed into them

	confList string
}

func (s *settings) addFlags(fs *pflag.FlagSet) {
	s.flags = config.Default()
	fs.StringVar(&s.file, "config", "", "configuration file of kind AgentConfiguration")
	s.flags.AddFlags(fs)
}

// load returns the configuration: the file, and the given flags over it.
func (s *settings) load(given *pflag.FlagSet) (*config.Config, error) {
	cfg := s.flags
	if s.file != "" {
		var err error
		if cfg, err = config.Load(s.file); err != nil {
			return nil, err
		}
		if err := cfg.Override(given); err != nil {
			return nil, err
		}
	}
	if err := cfg.Complete(); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("invalid configuration:\n%w", err)
	}
	return cfg, nil
}

// run runs the agent and, beside it, what waits for it to be ready.
func (s *settings) run(ctx context.Context, cfg *config.Config) error {
	if err := install.WritableSysctls(); err != nil {
		// They may have the right values already: the agent will say which do not.
		klog.FromContext(ctx).Info("Sysctls can't be written", "err", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	if s.confList != "" {
		list, err := install.ReadConfList(s.confList)
		if err != nil {
			return err
		}
		group.Go(func() error { return list.Publish(ctx, cfg.CNIConfDir) })
	}
	group.Go(func() error { return agent.Run(ctx, cfg) })
	return group.Wait()
}
