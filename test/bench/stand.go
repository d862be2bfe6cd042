package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/test/bed"
)

// What pods send is allowed by one policy of many.
const (
	trafficPolicies = 100
	trafficPort     = 10_000
	closedPort      = 9_000 // of no policy
)

// stand is one or two nodes with pods that real packets go between, and policies.
type stand struct {
	lab
	mode nodes.Mode
	dir  string // of manifests
	beds []*bed.Bed
	pods [][]*bed.Pod // of each node
}

// withStand calls f with so many nodes, each with the pods of the given names, and
// takes them away. bin is the folder of binaries, as bed.Options has it.
func withStand(ctx context.Context, bin string, mode nodes.Mode, names [][]string, f func(*stand) error) (err error) {
	s := &stand{lab: lab{ctx: ctx}, mode: mode}
	if s.dir, err = os.MkdirTemp("/tmp", "sluice-bench-"); err != nil {
		return err
	}
	defer func() {
		for _, b := range s.beds {
			err = errors.Join(err, b.Close())
		}
		err = errors.Join(err, s.lab.close(), os.RemoveAll(s.dir))
	}()
	if err := s.start(bin, names); err != nil {
		return err
	}
	return f(s)
}

// binaries returns the folder of what a bed runs, and what removes it; an empty name
// where a bed finds them itself.
func binaries(ctx context.Context) (bin string, remove func(), err error) {
	if os.Getenv(bed.BinEnv) != "" {
		return "", func() {}, nil
	}
	if bin, err = os.MkdirTemp("/tmp", "sluice-bench-"); err != nil {
		return "", nil, err
	}
	return bin, func() { os.RemoveAll(bin) }, bed.Build(ctx, bin)
}

// datapathHere is the kernel's where it has the module.
func datapathHere() string {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err == nil {
		return sandbox.System
	}
	return sandbox.Netdev
}

func nodeNameOf(i int) string { return fmt.Sprintf("node%d", i) }
func nodeAddrOf(i int) string { return fmt.Sprintf("192.0.2.%d", 1+i) }

func (s *stand) start(bin string, names [][]string) error {
	documents := policyManifests()
	for i := range names {
		documents = append(documents, fmt.Sprintf(`apiVersion: v1
kind: Node
metadata: {name: %s}
spec: {podCIDRs: [10.244.%d.0/24]}
status: {addresses: [{type: InternalIP, address: %s}]}
`, nodeNameOf(i), i, nodeAddrOf(i)))
	}
	if err := s.write("all", documents); err != nil {
		return err
	}
	for i := range names {
		b, err := bed.Start(s.ctx, bed.Options{
			Datapath: datapathHere(), NodeName: nodeNameOf(i), Number: uint8(2 + i), Mode: s.mode, Manifests: s.dir, Bin: bin,
			PodCIDRs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", i))},
		})
		if err != nil {
			return err
		}
		s.beds = append(s.beds, b)
	}
	if len(s.beds) == 2 {
		if err := s.join(); err != nil {
			return err
		}
	}
	return s.addPods(names)
}

// write writes manifests for the agents to follow.
func (s *stand) write(name string, documents []string) error {
	return os.WriteFile(filepath.Join(s.dir, name+".yaml"), []byte(strings.Join(documents, "---\n")), 0o600)
}

// join puts a wire between the nodes. Where tunnels are Open vSwitch's own they
// leave by a bridge of it, which then has the node's address.
func (s *stand) join() error {
	if err := s.wire(s.beds[0].Node.Netns, s.beds[1].Node.Netns, "wire"); err != nil {
		return err
	}
	for i, b := range s.beds {
		uplink := "wire"
		if s.mode == nodes.Encap && b.OVS.Datapath() == sandbox.Netdev {
			uplink = "br-uplink"
			if err := s.in(b.Node.Netns, b.OVS.Env(), "ovs-vsctl", "add-br", uplink, "--", "set", "bridge", uplink, "datapath_type=netdev",
				"fail_mode=standalone", "--", "add-port", uplink, "wire"); err != nil {
				return err
			}
		}
		if err := s.ip(b.Node.Netns, []string{"addr", "add", nodeAddrOf(i) + "/24", "dev", uplink}, []string{"link", "set", uplink, "up"}); err != nil {
			return err
		}
		if err := until(s.ctx, "the agent of "+nodeNameOf(i)+" knows its uplink", func() bool {
			status, err := b.Client().Status(s.ctx)
			return err == nil && status.Ready && status.Network != nil && status.Network.Uplink == uplink
		}); err != nil {
			return err
		}
	}
	return nil
}

// addPods attaches pods and returns when policies let the first one reach all
// others, at one port only.
func (s *stand) addPods(names [][]string) error {
	var documents []string
	for i, b := range s.beds {
		s.pods = append(s.pods, nil)
		for _, name := range names[i] {
			p, err := b.AddPod(s.ctx, benchNamespace, name, "")
			if err != nil {
				return err
			}
			s.pods[i] = append(s.pods[i], p)
			documents = append(documents, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {namespace: %s, name: %s, labels: {app: bench}}
spec: {nodeName: %s}
status: {phase: Running, podIPs: [{ip: %s}]}
`, benchNamespace, name, nodeNameOf(i), p.Addr(4)))
		}
	}
	if err := s.write("pods", documents); err != nil {
		return err
	}
	client := s.pods[0][0]
	for _, pods := range s.pods {
		for _, p := range pods {
			if p == client {
				continue
			}
			if err := s.enforced(&client.Host, &p.Host); err != nil {
				return err
			}
		}
	}
	return nil
}

// enforced waits until policies let a pod reach another, and makes sure that they do
// no more than that.
func (s *stand) enforced(from, to *bed.Host) error {
	const wait = time.Second
	if err := serveEcho(to); err != nil {
		return err
	}
	for _, network := range []string{"tcp", "udp"} {
		var err error
		if late := until(s.ctx, fmt.Sprintf("%s reaches %s", from.Name, to.Name), func() bool {
			err = from.Probe(s.ctx, network, netip.AddrPortFrom(to.Addr(4), trafficPort), wait)
			return err == nil
		}); late != nil {
			return errors.Join(late, err)
		}
	}
	stop, err := to.Serve("tcp", closedPort)
	if err != nil {
		return err
	}
	err = from.Probe(s.ctx, "tcp", netip.AddrPortFrom(to.Addr(4), closedPort), wait/4)
	if !errors.Is(err, bed.ErrNoAnswer) {
		return fmt.Errorf("policies are not enforced: from %s to a port of %s that none of them names: %w", from.Name, to.Name, err)
	}
	return stop()
}

// policyManifests are policies that isolate all pods in both directions. Each lets
// them reach each other at a port of its own.
func policyManifests() (all []string) {
	for i := range trafficPolicies {
		all = append(all, fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: %s, name: p%d}
spec:
  podSelector: {matchLabels: {app: bench}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: bench}}}]
    ports: [{port: %[3]d}, {protocol: UDP, port: %[3]d}]
  egress:
  - to: [{podSelector: {matchLabels: {app: bench}}}]
    ports: [{port: %[3]d}, {protocol: UDP, port: %[3]d}]
`, benchNamespace, i, trafficPort+trafficPolicies/2-i))
	}
	return all
}
