package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/test/cluster/testbed"
)

func upCommand(dir *string) *cobra.Command {
	var o testbed.Options
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring the cluster up",
		Long: "Bring the cluster up. It stays up until `cluster down`. If a step fails, or this is\n" +
			"interrupted, what has been brought up is taken down again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Dir = *dir
			o.HostOVS = o.HostOVS && o.CNI == testbed.Sluice
			if o.Manifest == "" && o.CNI == testbed.Sluice {
				o.Manifest = "build/manifests/sluice.yaml"
				if o.HostOVS {
					o.Manifest = "build/manifests/sluice-host-ovs.yaml"
				}
			}
			c, err := testbed.Up(cmd.Context(), o, os.Stderr)
			if err != nil {
				return err
			}
			return printStatus(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Nodes, "nodes", 2, "number of nodes")
	flags.IntVar(&o.Subnets, "subnets", 1, "number of subnets that the nodes are in, in turn")
	flags.StringVar(&o.Family, "family", testbed.IPv4, "addresses: "+strings.Join(testbed.Families, ", "))
	flags.StringVar(&o.CNI, "cni", testbed.Sluice, "what networks pods: "+strings.Join(testbed.CNIs, ", ")+" (ptp: the reference plugins)")
	flags.StringVar(&o.Manifest, "manifest", "", "file that installs Sluice, by default in build/manifests")
	flags.BoolVar(&o.HostOVS, "host-ovs", !hasDatapath(),
		"have nodes run Open vSwitch, with their link to others on it: tunnels need that where the kernel has no openvswitch")
	flags.StringToStringVar(&o.Agent, "agent", nil, "field of Sluice's configuration to set, such as mode=noEncap; can be given again")
	flags.StringSliceVar(&o.Images, "image", nil, "archive of an image for the nodes; can be given again")
	flags.BoolVar(&o.Proxy, "kube-proxy", true, "have nodes run kube-proxy; without it, what networks pods has to do Services too")
	flags.BoolVar(&o.DNS, "dns", true, "run the cluster's DNS")
	flags.IntVar(&o.MTU, "mtu", 1500, "MTU of the nodes' links in bytes")
	return cmd
}

// hasDatapath tells whether the kernel has Open vSwitch's datapath: its module has
// a generic netlink family.
func hasDatapath() bool {
	_, err := netlink.GenlFamilyGet("ovs_datapath")
	return err == nil
}

func downCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take the cluster down; none is no error",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return testbed.Down(cmd.Context(), *dir)
		},
	}
}
