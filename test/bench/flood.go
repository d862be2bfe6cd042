package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
)

const (
	floodRate = 100_000 // new connections a second that are offered
	floodTime = 10 * time.Second
)

// floodManifests are a pod that floods, and two others: one that nobody may reach,
// one that everybody may.
const floodManifests = `
apiVersion: v1
kind: Namespace
metadata: {name: flood}
---
apiVersion: v1
kind: Pod
metadata: {name: sender, namespace: flood}
---
apiVersion: v1
kind: Pod
metadata: {name: closed, namespace: flood, labels: {app: closed}}
---
apiVersion: v1
kind: Pod
metadata: {name: open, namespace: flood}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: flood}
spec:
  podSelector: {matchLabels: {app: closed}}
  ingress: []
`

var floodPods = []string{"sender", "closed", "open"}

func floodAddr(i int) netip.Addr { return address("10.244.0.2", i) }

func floodMAC(i int) net.HardwareAddr { return net.HardwareAddr{0x0a, 0x58, 10, 244, 0, byte(i + 2)} }

// benchFlood has a pod begin connections as fast as it can, each from other ports.
// The reference is the same flood where no verdict is told of: the agent speaks
// to the bridge by ovs-ofctl, and flows that deny only drop.
func benchFlood(ctx context.Context, r *report) error {
	dir, err := os.MkdirTemp("/tmp", "sluice-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build(ctx, dir, "cmd/sluice-agent"); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "manifests"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifests", "flood.yaml"), []byte(floodManifests), 0o644); err != nil {
		return err
	}
	dropped, err := floodRun(ctx, dir, "ofctl", 1, nil)
	if err != nil {
		return err
	}
	told, err := floodRun(ctx, dir, "native", 1, &api.WatchQuery{Follow: true})
	if err != nil {
		return err
	}
	told.compare(r, "denied", dropped, "dropped, not told of")
	quiet, err := floodRun(ctx, dir, "ofctl", 2, nil)
	if err != nil {
		return err
	}
	allowed, err := floodRun(ctx, dir, "native", 2, &api.WatchQuery{Follow: true, WatchFilter: api.WatchFilter{Allows: true}})
	if err != nil {
		return err
	}
	allowed.compare(r, "allowed", quiet, "committed, not told of")
	return nil
}

// flooded is what a flood came to.
type flooded struct {
	took               time.Duration
	sent               uint64
	agent, vswitchd    time.Duration // processor time
	agentSize, ovsSize uint64        // resident, at the end
	status             api.WatchStatus
	read               uint64 // events that a reader got
}

func (f *flooded) compare(r *report, what string, reference *flooded, of string) {
	per := func(f *flooded, n uint64) quantity { return quantity{float64(n) / f.took.Seconds(), "/s"} }
	share := func(f *flooded, cpu time.Duration) quantity {
		return quantity{100 * cpu.Seconds() / f.took.Seconds(), "%"}
	}
	verdicts := func(f *flooded) uint64 {
		if what == "denied" {
			return f.status.Denied
		}
		return f.status.Allowed
	}
	r.against(what+": connections offered", per(f, f.sent), per(reference, reference.sent), of)
	r.against(what+": of these judged by the datapath", per(f, verdicts(f)), per(reference, verdicts(reference)), of)
	r.against(what+": the agent's processor time", share(f, f.agent), share(reference, reference.agent), of)
	r.against(what+": ovs-vswitchd's processor time", share(f, f.vswitchd), share(reference, reference.vswitchd), of)
	r.against(what+": the agent's memory", size(f.agentSize), size(reference.agentSize), of)
	r.against(what+": ovs-vswitchd's memory", size(f.ovsSize), size(reference.ovsSize), of)
	r.figure(what+": events made", per(f, f.status.Sampled))
	r.figure(what+": events that a reader got, lost by it", count(f.read+f.status.Lost))
	r.figure(what+": counted without an event", count(f.status.Missed))
	r.figure(what+": verdicts less events and those counted without one", quantity{float64(verdicts(f)) - float64(f.status.Sampled+f.status.Missed), ""})
}

// floodRun starts a node and floods a pod.
func floodRun(ctx context.Context, dir, openflow string, target int, watch *api.WatchQuery) (f *flooded, err error) {
	ovs, err := sandbox.Start(ctx, sandbox.Options{Datapath: sandbox.Netdev})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ovs.Close()) }()
	socket := filepath.Join(dir, "flood.sock")
	agent, err := startProcess(filepath.Join(dir, "sluice-agent"), "--node-name", "n1", "--manifests", filepath.Join(dir, "manifests"),
		"--pod-cidrs", "10.244.0.0/24", "--mtu", "1400", "--ovsdb", ovs.Endpoint(), "--ovs-run-dir", ovs.RunDir(), "--datapath", "netdev",
		"--openflow", openflow, "--socket", socket, "--health-address", "")
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopped := agent.stop(); err != nil || stopped != nil {
			err = errors.Join(err, stopped, errors.New(agent.stderr.String()))
		}
	}()
	ask := client.New(socket)
	defer ask.Close()
	if err := until(ctx, "the agent is ready", func() bool { s, err := ask.Status(ctx); return err == nil && s.Ready }); err != nil {
		return nil, err
	}
	if err := attachFlood(ctx, ovs); err != nil {
		return nil, err
	}
	defer func() {
		for i := range floodPods {
			if l, missing := netlink.LinkByName(fmt.Sprintf("flood%d", i)); missing == nil {
				err = errors.Join(err, netlink.LinkDel(l))
			}
		}
	}()
	if err := until(ctx, "the ports are open", func() bool {
		ports, err := ask.Ports(ctx)
		return err == nil && len(ports) == len(floodPods) && ports[0].State != "pending"
	}); err != nil {
		return nil, err
	}
	f = &flooded{}
	reading, stop := context.WithCancel(ctx)
	read := make(chan uint64, 1)
	if watch == nil {
		watch = &api.WatchQuery{}
	}
	go func() {
		var n uint64
		_ = ask.Watch(reading, *watch, func(line api.WatchLine) error {
			if line.Event != nil {
				n++
			}
			return nil
		})
		read <- n
	}()
	defer stop()
	if watch.Allows {
		if err := until(ctx, "what is allowed is told of", func() bool { s, err := ask.WatchStatus(ctx); return err == nil && s.Allows }); err != nil {
			return nil, err
		}
	}
	// What is counted is counted from the first reading on.
	if _, err := ask.WatchStatus(ctx); err != nil {
		return nil, err
	}
	if err := f.flood(ovs, agent, target); err != nil {
		return nil, err
	}
	// Counters lag behind: they are right when they stay.
	var last api.WatchStatus
	since := time.Now()
	err = until(ctx, "the flows have counted", func() bool {
		if f.status, err = ask.WatchStatus(ctx); err != nil || f.status != last {
			last, since = f.status, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
	stop()
	f.read = <-read
	return f, err
}

// attachFlood gives each pod a port, whose other end is in this namespace: nobody
// answers there.
func attachFlood(ctx context.Context, ovs *sandbox.Sandbox) error {
	db, err := vsdb.Dial(ctx, vsdb.Config{Endpoint: ovs.Endpoint()})
	if err != nil {
		return err
	}
	defer db.Close()
	for i, pod := range floodPods {
		name := fmt.Sprintf("flood%d", i)
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Flags = name, net.FlagUp
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "x"}); err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
		for _, end := range []string{name, name + "x"} {
			l, err := netlink.LinkByName(end)
			if err == nil {
				err = netlink.LinkSetUp(l)
			}
			if err != nil {
				return fmt.Errorf("set %s up: %w", end, err)
			}
		}
		if _, err := db.AddPort(ctx, vsdb.PortSpec{Bridge: "br-sluice", Name: name, Attachment: vsdb.Attachment{
			PodNamespace: "flood", PodName: pod, ContainerID: name, IfName: "eth0", MAC: floodMAC(i), Addrs: []netip.Addr{floodAddr(i)},
		}}); err != nil {
			return err
		}
	}
	return nil
}
