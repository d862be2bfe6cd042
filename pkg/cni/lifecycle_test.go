package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/pkg/testutils"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

func TestDelRemovesEveryPartTwice(t *testing.T) {
	b := newBed(t)
	_, req, _ := b.add("web")
	for range 2 {
		b.call(wire.Del, req, 0)
		b.expectNothing(req)
	}
}

func TestDelDoesNotMissWhatIsGone(t *testing.T) {
	b := newBed(t)
	for name, lose := range map[string]func(wire.Request) error{
		"link":   func(r wire.Request) error { return podlink.Delete(portOf(r)) },
		"record": func(r wire.Request) error { return b.db.DeletePort(b.ctx(), portOf(r)) },
		"flows":  func(r wire.Request) error { return b.enforcer.DeletePort(b.ctx(), portOf(r)) },
	} {
		_, req, _ := b.add(name)
		if err := lose(req); err != nil {
			t.Fatal(err)
		}
		b.call(wire.Del, req, 0)
		b.expectNothing(req)
	}

	netns, req, _ := b.add("netns")
	if err := errors.Join(netns.Close(), testutils.UnmountNS(netns)); err != nil {
		t.Fatal(err)
	}
	b.call(wire.Del, req, 0)
	b.expectNothing(req)
	req.Netns, req.Args = "", ""
	b.call(wire.Del, req, 0)

	b.call(wire.Del, request("never-added", nil), 0)
}

func TestDelThatFailsCutsThePodAndCanBeRepeated(t *testing.T) {
	b := newBed(t)
	_, req, _ := b.add("web")
	b.enforcer.fail(nil, errors.New("the bridge does not answer"), nil)
	if text := b.call(wire.Del, req, types.ErrTryAgainLater); !strings.Contains(text, "the bridge does not answer") {
		t.Errorf("the error is %q", text)
	}
	b.expectNoLink(req)
	if port, err := b.server.find(b.ctx(), portOf(req)); port == nil || err != nil {
		t.Errorf("the record, and with it the address, was given up while flows are left: %v", err)
	}
	b.enforcer.fail(nil, nil, nil)
	b.call(wire.Del, req, 0)
	b.expectNothing(req)
}

func TestDelWithoutOVSDBAsksForAnotherTry(t *testing.T) {
	b := newBed(t)
	_, req, _ := b.add("web", `"requestTimeout":"1s"`)
	if err := b.ovs.StopDB(b.ctx()); err != nil {
		t.Fatal(err)
	}
	if text := b.call(wire.Del, req, types.ErrTryAgainLater); !strings.Contains(text, "not connected to OVSDB") {
		t.Errorf("the error is %q", text)
	}
	b.expectNoLink(req)
	if err := b.ovs.StartDB(b.ctx()); err != nil {
		t.Fatal(err)
	}
	b.call(wire.Del, request("web", nil), 0)
	b.expectNothing(req)
}

func TestCheckFindsEachDifference(t *testing.T) {
	b := newBed(t)
	addr := func(family int) func(netlink.Link) error {
		return func(l netlink.Link) error {
			addrs, err := netlink.AddrList(l, family)
			return errors.Join(err, netlink.AddrDel(l, &addrs[0]))
		}
	}
	for _, c := range []struct {
		name  string
		inPod func(netlink.Link) error
		other func(*wire.Request) error
		code  uint
		want  string
	}{
		{name: "nothing"},
		{name: "ipv4", inPod: addr(netlink.FAMILY_V4), code: wire.CodeNotAsAdded, want: "lacks address 10.244.1."},
		{name: "ipv6", inPod: addr(netlink.FAMILY_V6), code: wire.CodeNotAsAdded, want: "lacks address fd00:244:1::"},
		{name: "down", inPod: netlink.LinkSetDown, code: wire.CodeNotAsAdded, want: "is down"},
		{name: "link", inPod: netlink.LinkDel, code: wire.CodeNotAsAdded, want: "interface sl"},
		{name: "mtu", inPod: func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1300) },
			code: wire.CodeNotAsAdded, want: "has an MTU of 1300 instead of 1450 bytes"},
		{name: "port", other: func(r *wire.Request) error { return b.db.DeletePort(b.ctx(), portOf(*r)) },
			code: wire.CodeNotAsAdded, want: "is not in OVSDB"},
		{name: "flows", other: func(r *wire.Request) error { return b.enforcer.DeletePort(b.ctx(), portOf(*r)) },
			code: wire.CodeNotAsAdded, want: "isolation of port sl"},
		{name: "other-result", other: func(r *wire.Request) error {
			r.Config = json.RawMessage(strings.ReplaceAll(string(r.Config), `"10.244.1.`, `"10.244.9.`))
			return nil
		}, code: wire.CodeNotAsAdded, want: "which is not in prevResult"},
		{name: "no-interface", other: func(r *wire.Request) error {
			r.Config = json.RawMessage(strings.ReplaceAll(string(r.Config), `"name":"eth0"`, `"name":"eth7"`))
			return nil
		}, code: wire.CodeNotAsAdded, want: "prevResult has no interface eth0"},
		{name: "no-result", other: func(r *wire.Request) error {
			r.Config = json.RawMessage(`{"cniVersion":"1.1.0","name":"sluice"}`)
			return nil
		},
			code: types.ErrInvalidNetworkConfig, want: "prevResult: is missing"},
		{name: "no-netns", other: func(r *wire.Request) error { r.Netns = "/run/netns/none"; return nil },
			code: types.ErrInvalidNetNS, want: "CNI_NETNS: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			netns, req, raw := b.add("pod-" + c.name)
			req.Config = withPrevResult(req, raw)
			if c.inPod != nil {
				inPod(t, netns, c.inPod)
			}
			if c.other != nil {
				if err := c.other(&req); err != nil {
					t.Fatal(err)
				}
			}
			if text := b.call(wire.Check, req, c.code); c.code != 0 && !strings.Contains(text, c.want) {
				t.Errorf("the error is %q, want %q", text, c.want)
			}
		})
	}
}

func TestCheckFindsAPortThatOpenVSwitchLost(t *testing.T) {
	b := newBed(t)
	_, req, raw := b.add("web")
	req.Config = withPrevResult(req, raw)
	if err := podlink.Delete(portOf(req)); err != nil {
		t.Fatal(err)
	}
	text := b.call(wire.Check, req, wire.CodeNotAsAdded)
	if !strings.Contains(text, "has no OpenFlow port number") && !strings.Contains(text, "of the host") {
		t.Errorf("the error is %q", text)
	}
}

func TestGCKeepsTheValidAndRemovesTheRest(t *testing.T) {
	b := newBed(t)
	_, kept, _ := b.add("kept")
	_, stale, _ := b.add("stale")
	_, dead, _ := b.add("dead")
	if err := podlink.Delete(portOf(dead)); err != nil {
		t.Fatal(err)
	}
	gc := func(network, valid string) wire.Request {
		return wire.Request{Config: json.RawMessage(fmt.Sprintf(`{"cniVersion":"1.1.0","name":%q%s}`, network, valid))}
	}
	b.call(wire.GC, gc("sluice", ""), types.ErrInvalidNetworkConfig)
	b.call(wire.GC, gc("other", `,"cni.dev/valid-attachments":[]`), 0)
	if ports, err := b.db.Ports(b.ctx()); err != nil || len(ports) != 3 {
		t.Errorf("without a list, and for another network, GC left %v (%v)", ports, err)
	}
	b.call(wire.GC, gc("sluice", fmt.Sprintf(`,"cni.dev/valid-attachments":[{"containerID":%q,"ifname":"eth0"}]`, kept.ContainerID)), 0)
	b.expectNothing(stale)
	b.expectNothing(dead)
	if port, err := b.server.find(b.ctx(), portOf(kept)); port == nil || err != nil {
		t.Errorf("the valid attachment was removed (%v)", err)
	}
	b.call(wire.GC, gc("sluice", `,"cni.dev/valid-attachments":[]`), 0)
	b.expectNothing(kept)
}

func TestGCGoesOnAfterAFailureAndReportsIt(t *testing.T) {
	b := newBed(t)
	b.add("one")
	b.add("two")
	b.enforcer.fail(nil, errors.New("the bridge does not answer"), nil)
	text := b.call(wire.GC, wire.Request{Config: json.RawMessage(`{"name":"sluice","cni.dev/valid-attachments":[]}`)}, types.ErrTryAgainLater)
	if !strings.Contains(text, "shop/one") || !strings.Contains(text, "shop/two") {
		t.Errorf("the error is %q", text)
	}
}

func TestReconcileRemovesAttachmentsWithoutALink(t *testing.T) {
	b := newBed(t)
	_, alive, _ := b.add("alive")
	_, dead, _ := b.add("dead")
	if err := podlink.Delete(portOf(dead)); err != nil {
		t.Fatal(err)
	}
	if err := b.server.Reconcile(b.ctx()); err != nil {
		t.Fatal(err)
	}
	b.expectNothing(dead)
	if !b.enforcer.has(portOf(alive)) {
		t.Error("an attachment with its link was removed")
	}
}

func TestStatusTellsWhetherPodsCanBeAddedAndAreAffected(t *testing.T) {
	b := newBed(t)
	req := wire.Request{Config: json.RawMessage(`{"cniVersion":"1.1.0","name":"sluice"}`)}
	b.call(wire.Status, req, 0)
	b.enforcer.fail(nil, nil, errors.New("policies are not listed yet"))
	if text := b.call(wire.Status, req, types.ErrPluginNotAvailable); !strings.Contains(text, "not listed yet") {
		t.Errorf("the error is %q", text)
	}
	b.enforcer.fail(nil, nil, nil)
	b.server.cfg.Pool = newPool(t, "10.244.1.0/30")
	b.add("the-only-one")
	if text := b.call(wire.Status, req, types.ErrPluginNotAvailable); !strings.Contains(text, "podCIDR 10.244.1.0/30 is exhausted") {
		t.Errorf("the error is %q", text)
	}
	if err := b.ovs.StopDB(b.ctx()); err != nil {
		t.Fatal(err)
	}
	for b.db.Connected() { // until the connection is noticed to be gone
		if b.ctx().Err() != nil {
			t.Fatal("still connected")
		}
	}
	b.call(wire.Status, req, types.ErrLimitedConnectivity)
}
