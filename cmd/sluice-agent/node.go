package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/pkg/install"
)

// installCNICommand places the plugin on a node; an init container runs it.
func installCNICommand() *cobra.Command {
	var plugin, binDir string
	cmd := &cobra.Command{
		Use:   "install-cni",
		Short: "Copy the CNI plugin to the node",
		Long: `Copies the CNI plugin to the container runtime's folder of plugins, in one step.

The network configuration, which makes the node ready, is not placed by this
command but by the agent, once pods can be attached (--cni-conf).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if plugin == "" {
				self, err := os.Executable()
				if err != nil {
					return fmt.Errorf("find the CNI plugin: %w", err)
				}
				plugin = filepath.Join(filepath.Dir(self), install.PluginName)
			}
			changed, err := install.Plugin(plugin, binDir)
			if err != nil {
				return err
			}
			state := "was there already"
			if changed {
				state = "installed"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", filepath.Join(binDir, install.PluginName), state)
			return nil
		},
	}
	cmd.Flags().StringVar(&plugin, "plugin", "", "the plugin to copy (default: the one beside this executable)")
	cmd.Flags().StringVar(&binDir, "bin-dir", "/opt/cni/bin", "the container runtime's folder of plugins")
	return cmd
}

// cleanupCommand takes Sluice off a node.
func cleanupCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Take Sluice off this node",
		Long: `Removes what the agent has made on this node: the network configuration, the
CNI plugin, the bridge, nftables rules, routes, statistics, and the interfaces of
pods, which lose their network. The agent has to be stopped before; Open vSwitch has
to run. Give it the agent's own configuration. The audit log and the sysctls stay.

What is gone already is no error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd.Flags())
			if err != nil {
				return err
			}
			return install.Cleanup{
				Config:   cfg,
				ConfList: filepath.Join(cfg.CNIConfDir, s.confList),
				Plugin:   filepath.Join(cfg.CNIBinDir, install.PluginName),
				Removed:  func(what string) { fmt.Fprintln(cmd.OutOrStdout(), "removed", what) },
			}.Run(cmd.Context())
		},
	}
	s.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&s.confList, "cni-conf-name", "10-sluice.conflist", "file name of the network configuration list")
	return cmd
}
