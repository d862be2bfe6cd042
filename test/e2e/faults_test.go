package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/test/bed"
)

// codeOf returns the code of a CNI error, 0 if it is none.
func codeOf(err error) uint {
	var e *types.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// links lists the host ends of the pods' links on the node.
func (n *node) links(t testing.TB) (names []string) {
	t.Helper()
	err := n.Node.Do(func() error {
		all, err := netlink.LinkList()
		for _, l := range all {
			if strings.HasPrefix(l.Attrs().Name, "sl") && l.Type() == "veth" {
				names = append(names, l.Attrs().Name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPodIsNotAttachedWithoutOpenVSwitch(t *testing.T) {
	n := ownNode(t, 24, 64, bed.Options{RequestTimeout: "4s"})
	n.logIfFailed(t)
	n.namespace(t, "faults", nil)
	first := n.pod(t, "faults", "first", nil)
	late := n.netns(t, "faults", "late", "")
	port := wire.PortName(late.ContainerID, "eth0")

	for _, down := range []struct {
		what        string
		stop, start func() error
	}{
		{"ovs-vswitchd",
			func() error { return n.OVS.StopVswitchd(within(t)) }, func() error { return n.OVS.StartVswitchd(within(t)) }},
		{"ovsdb-server",
			func() error { return n.OVS.StopDB(within(t)) }, func() error { return n.OVS.StartDB(within(t)) }},
	} {
		t.Run(down.what, func(t *testing.T) {
			if err := down.stop(); err != nil {
				t.Fatal(err)
			}
			err := late.Add(within(t))
			if codeOf(err) == 0 {
				t.Errorf("ADD without %s: %v, want a CNI error", down.what, err)
			}
			t.Log(err)
			if err := n.Status(within(t)); down.what == "ovsdb-server" && codeOf(err) != types.ErrLimitedConnectivity {
				t.Errorf("STATUS without %s: %v, want code %d", down.what, err, types.ErrLimitedConnectivity)
			}
			for _, name := range n.links(t) {
				if name == port {
					t.Errorf("link %s is left", name)
				}
			}
			if err := down.start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "pods can be attached again", n.Status)
			ports, err := n.Client().Ports(within(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range ports {
				if p.Name == port {
					t.Errorf("port %s is left", port)
				}
			}
			// ovs-vswitchd looks for its database every few seconds only.
			eventually(t, "ADD when "+down.what+" is back", late.Add)
			if err := late.Del(within(t)); err != nil {
				t.Error(err)
			}
			if err := first.Check(within(t)); err != nil {
				t.Errorf("the pod that was there before: %v", err)
			}
		})
	}
}

func TestFullPodRange(t *testing.T) {
	n := ownNode(t, 29, 120, bed.Options{})
	n.logIfFailed(t)
	n.namespace(t, "full", nil)
	var pods []*bed.Pod
	for i := range 4 { // of 8 addresses, network, broadcast, gateway and source for Services are none
		pods = append(pods, n.pod(t, "full", string(rune('a'+i)), nil))
	}
	late := n.netns(t, "full", "late", "")
	err := late.Add(within(t))
	if codeOf(err) == 0 || !strings.Contains(err.Error(), "podCIDR") || !strings.Contains(err.Error(), "exhausted") {
		t.Errorf("ADD to a full range: %v, want an error that names it", err)
	}
	if err := n.Status(within(t)); codeOf(err) != types.ErrPluginNotAvailable || !strings.Contains(err.Error(), "exhausted") {
		t.Errorf("STATUS with a full range: %v", err)
	}
	if links := n.links(t); len(links) != len(pods) {
		t.Errorf("%d pods have links %v", len(pods), links)
	}
	n.check(t, between(hosts(pods[0]), hosts(pods[3]))...)
	if err := pods[2].Del(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := late.Add(within(t)); err != nil {
		t.Errorf("ADD when a pod is gone: %v", err)
	}
	if err := n.Status(within(t)); codeOf(err) != types.ErrPluginNotAvailable {
		t.Errorf("STATUS with a range that is full again: %v", err)
	}
}
