package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

func TestAddMakesEveryPart(t *testing.T) {
	b := newBed(t)
	netns, req, raw := b.add("web", `"mtu":1400,"dns":{"nameservers":["10.96.0.10"]}`)
	name := portOf(req)

	port, err := b.server.find(b.ctx(), name)
	if err != nil || port == nil {
		t.Fatalf("port %s: %v, %v", name, port, err)
	}
	if port.OFPort == 0 || port.Bridge != b.bridge || port.PodNamespace != "shop" || port.PodName != "web" ||
		port.PodUID != "uid-of-web" || port.Netns != netns.Path() || port.ContainerID != req.ContainerID || len(port.Addrs) != 2 {
		t.Errorf("the record is %+v", port)
	}
	if err := b.server.link(name, port.Attachment, 1400).Check(netns); err != nil {
		t.Error(err)
	}
	b.enforcer.mu.Lock()
	known := b.enforcer.ports[name]
	b.enforcer.mu.Unlock()
	if known.OFPort != port.OFPort || !known.Attachment.Equal(port.Attachment) {
		t.Errorf("the enforcer was told %+v, the record is %+v", known, port)
	}

	want := fmt.Sprintf(`{"cniVersion":"1.1.0","dns":{"nameservers":["10.96.0.10"]},`+
		`"interfaces":[{"mac":%q,"mtu":1400,"name":%q},{"mac":%q,"mtu":1400,"name":"eth0","sandbox":%q}],`+
		`"ips":[{"address":"%s/32","gateway":"10.244.1.1","interface":1},{"address":"%s/128","gateway":"fd00:244:1::1","interface":1}],`+
		`"routes":[{"dst":"10.244.1.1/32","scope":253},{"dst":"0.0.0.0/0","gw":"10.244.1.1"},`+
		`{"dst":"fd00:244:1::1/128","scope":253},{"dst":"::/0","gw":"fd00:244:1::1"}]}`,
		(&podlink.Link{Host: name}).HostMAC(), name, port.MAC, netns.Path(), port.Addrs[0], port.Addrs[1])
	if raw != want {
		t.Errorf("the result is\n%s, want\n%s", raw, want)
	}
}

func TestResultComesInEveryVersion(t *testing.T) {
	b := newBed(t)
	netns := newNetns(t)
	for _, v := range version.All.SupportedVersions() {
		req := request("web", netns)
		req.Config = json.RawMessage(fmt.Sprintf(`{"cniVersion":%q,"name":"sluice"}`, v))
		raw := b.call(wire.Add, req, 0)
		got, err := version.NewResult(v, []byte(raw))
		if err != nil || got.Version() != v {
			t.Fatalf("version %s: %v (%v)", v, got, err)
		}
		current, err := types100.GetResult(got)
		if err != nil || len(current.IPs) != 2 || current.IPs[0].Address.String() != "10.244.1.2/32" {
			t.Errorf("version %s: %s (%v)", v, raw, err)
		}
	}
	b.call(wire.Del, request("web", nil), 0)
}

func TestAddAgainAnswersTheSame(t *testing.T) {
	b := newBed(t)
	_, req, first := b.add("web")
	if again := b.call(wire.Add, req, 0); again != first {
		t.Errorf("the second answer is\n%s, the first was\n%s", again, first)
	}
	if b.enforcer.set != 2 {
		t.Errorf("SetPort was called %d times: the second ADD has to be sure of the isolation too", b.enforcer.set)
	}
}

func TestAddAgainReplacesWhatIsNotAsItShouldBe(t *testing.T) {
	b := newBed(t)
	for name, spoil := range map[string]func(netlink.Link) error{
		"link-gone": netlink.LinkDel,
		"link-down": netlink.LinkSetDown,
		"addr-gone": func(l netlink.Link) error {
			addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
			return errors.Join(err, netlink.AddrDel(l, &addrs[0]))
		},
	} {
		netns, req, _ := b.add(name)
		inPod(t, netns, spoil)
		raw := b.call(wire.Add, req, 0)
		req.Config = withPrevResult(req, raw)
		b.call(wire.Check, req, 0)
	}
	_, req, _ := b.add("moved")
	req.Netns = newNetns(t).Path()
	req.Config = withPrevResult(req, b.call(wire.Add, req, 0))
	b.call(wire.Check, req, 0)
}

func TestAddReplacesALinkWithoutARecord(t *testing.T) {
	b := newBed(t)
	netns, req, _ := b.add("web")
	if err := b.db.DeletePort(b.ctx(), portOf(req)); err != nil { // an agent that died between the two
		t.Fatal(err)
	}
	raw := b.call(wire.Add, request("web", netns), 0)
	req.Config = withPrevResult(req, raw)
	b.call(wire.Check, req, 0)
}

func TestAddRefusesBadInputAndLeavesNothing(t *testing.T) {
	b := newBed(t)
	netns := newNetns(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		spoil func(*wire.Request)
		code  uint
		want  string
	}{
		{"no netns", func(r *wire.Request) { r.Netns = "" }, types.ErrInvalidNetNS, "CNI_NETNS: the path is empty"},
		{"absent netns", func(r *wire.Request) { r.Netns = "/run/netns/none" }, types.ErrInvalidNetNS, `CNI_NETNS: failed to Statfs "/run/netns/none"`},
		{"a file as netns", func(r *wire.Request) { r.Netns = file }, types.ErrInvalidNetNS, "CNI_NETNS: unknown FS magic"},
		{"the host's netns", func(r *wire.Request) { r.Netns = "/proc/self/ns/net" }, types.ErrInvalidNetNS, "is the host's own"},
		{"interface name", func(r *wire.Request) { r.IfName = "a/b" }, types.ErrInvalidEnvironmentVariables, "CNI_IFNAME: "},
		{"long interface name", func(r *wire.Request) { r.IfName = "0123456789abcdef" }, types.ErrInvalidEnvironmentVariables, "CNI_IFNAME: "},
		{"container id", func(r *wire.Request) { r.ContainerID = "../x" }, types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID: "},
		{"no args", func(r *wire.Request) { r.Args = "" }, types.ErrInvalidEnvironmentVariables, "CNI_ARGS: K8S_POD_NAMESPACE is missing"},
		{"no pod name", func(r *wire.Request) { r.Args = "K8S_POD_NAMESPACE=shop" }, types.ErrInvalidEnvironmentVariables, "CNI_ARGS: K8S_POD_NAME is missing"},
		{"config", func(r *wire.Request) { r.Config = json.RawMessage(`[]`) }, types.ErrDecodingFailure, "not a JSON object"},
		{"mtu", func(r *wire.Request) { r.Config = json.RawMessage(`{"name":"sluice","mtu":1}`) }, types.ErrInvalidNetworkConfig, "mtu: 1 is not between"},
		{"network", func(r *wire.Request) { r.Config = json.RawMessage(`{"name":"other"}`) }, types.ErrInvalidNetworkConfig, `name: "other" is not the network`},
		{"taken interface", func(r *wire.Request) { r.IfName = "lo" }, types.ErrInvalidEnvironmentVariables, "CNI_IFNAME: creating interface lo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			req := request("web", netns)
			c.spoil(&req)
			if text := b.call(wire.Add, req, c.code); !strings.Contains(text, c.want) {
				t.Errorf("the error is %q, want %q", text, c.want)
			}
			b.expectNothing(req)
		})
	}
}

func TestAddTakesBackWhatItMadeWhenIsolationFails(t *testing.T) {
	b := newBed(t)
	netns := newNetns(t)
	b.enforcer.fail(errors.New("the bridge refused"), nil, nil)
	text := b.call(wire.Add, request("web", netns), types.ErrInternal)
	if !strings.Contains(text, "attaching pod shop/web: isolating port") || !strings.Contains(text, "the bridge refused") {
		t.Errorf("the error is %q", text)
	}
	b.expectNothing(request("web", netns))
	b.enforcer.fail(nil, nil, nil)
	b.call(wire.Add, request("web", netns), 0)
	b.call(wire.Del, request("web", netns), 0)
}

func TestAddOfAFullRangeSaysSoAndLeavesNothing(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Pool = newPool(t, "10.244.1.0/30") })
	b.add("first")
	netns := newNetns(t)
	text := b.call(wire.Add, request("second", netns), types.ErrTryAgainLater)
	if !strings.Contains(text, "10.244.1.0/30") {
		t.Errorf("the error is %q", text)
	}
	b.expectNothing(request("second", netns))
}

func TestAddWithoutOpenVSwitchEndsInTimeAndLeavesNothing(t *testing.T) {
	b := newBed(t)
	netns := newNetns(t)
	req := request("web", netns, `"requestTimeout":"1s"`)

	if err := b.ovs.StopVswitchd(b.ctx()); err != nil {
		t.Fatal(err)
	}
	if text := b.call(wire.Add, req, types.ErrTryAgainLater); !strings.Contains(text, "is ovs-vswitchd running?") {
		t.Errorf("without ovs-vswitchd: %q", text)
	}
	b.expectNothing(req)

	if err := b.ovs.StopDB(b.ctx()); err != nil {
		t.Fatal(err)
	}
	if text := b.call(wire.Add, req, types.ErrTryAgainLater); !strings.Contains(text, "not connected to OVSDB at unix:") {
		t.Errorf("without ovsdb-server: %q", text)
	}
	b.expectNoLink(req)
}

func TestAddGivesUpWhenThePluginGoesAway(t *testing.T) {
	b := newBed(t)
	netns := newNetns(t)
	isolating := make(chan struct{})
	b.server.cfg.Enforcer = &stuck{ledger: b.enforcer, reached: isolating}
	ctx, cancel := context.WithCancel(b.ctx())
	var plugin sync.WaitGroup
	plugin.Go(func() { wire.Call(ctx, b.socket, wire.Add, request("web", netns)) })
	<-isolating
	cancel()
	plugin.Wait()
	b.call(wire.Del, request("web", netns), 0) // waits for its turn, so the ADD is over
	b.expectNothing(request("web", netns))
}

// stuck never gets a port isolated.
type stuck struct {
	*ledger
	reached chan struct{}
}

func (s *stuck) SetPort(ctx context.Context, _ vsdb.Port) error {
	close(s.reached)
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestParallelAddsOfOneContainerMakeOneAttachment(t *testing.T) {
	b := newBed(t)
	netns := newNetns(t)
	req := request("web", netns)
	var adds sync.WaitGroup
	answers := make([]string, 4)
	for i := range answers {
		adds.Go(func() {
			raw, err := wire.Call(b.ctx(), b.socket, wire.Add, req)
			answers[i] = fmt.Sprint(string(raw), err)
		})
	}
	adds.Wait()
	for _, a := range answers {
		if a != answers[0] || !strings.Contains(a, "10.244.1.2/32") {
			t.Errorf("the answers are %q", answers)
		}
	}
	b.call(wire.Del, req, 0)
	b.expectNothing(req)
}

func withPrevResult(req wire.Request, raw string) json.RawMessage {
	return json.RawMessage(strings.TrimSuffix(string(req.Config), "}") + `,"prevResult":` + raw + "}")
}

func TestAddLearnsOfAddressesItDidNotKnow(t *testing.T) {
	b := newBed(t)
	for i := range 12 { // more than one AddPort tries
		b.add(fmt.Sprintf("pod-%d", i))
	}
	// Another agent, that has not looked at the records.
	b.server = NewServer(func() Options { o := b.server.cfg; o.Pool = newPool(t, "10.244.1.0/24"); return o }())
	b.serve()
	if _, _, raw := b.add("new"); !strings.Contains(raw, `"10.244.1.14/32"`) {
		t.Errorf("the result is %s", raw)
	}
}

func TestPodMACIsOfTheFirstAddress(t *testing.T) {
	for addr, want := range map[string]string{
		"10.244.1.5":    "0a:58:0a:f4:01:05",
		"fd00:244:1::5": "0a:58:06:35:e2:0d",
	} {
		if got := MAC(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("MAC(%s) is %s, want %s", addr, got, want)
		}
	}
}
