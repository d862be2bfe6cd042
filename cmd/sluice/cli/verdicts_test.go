package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// addresses are the pods' IPv4 addresses.
func addresses(t *testing.T, bed *simulate.Bed) map[string]netip.Addr {
	t.Helper()
	ports, err := bed.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]netip.Addr{}
	for _, p := range ports {
		out[p.Pod] = netip.MustParseAddr(p.Addrs[0])
	}
	return out
}

// knock sends the first packet of a connection from a pod to another.
func knock(t *testing.T, bed *simulate.Bed, from, to string, srcPort, port uint16) {
	t.Helper()
	addrs := addresses(t, bed)
	namespace, name, _ := strings.Cut(from, "/")
	pod := cluster.Key{Namespace: namespace, Name: name}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: addrs[from].AsSlice(), DstIP: addrs[to].AsSlice()}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(srcPort), DstPort: layers.TCPPort(port), SYN: true, Window: 1000}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: simulate.PortMAC(pod), DstMAC: simulate.PortMAC(pod), EthernetType: layers.EthernetTypeIPv4}, ip, tcp); err != nil {
		t.Fatal(err)
	}
	if err := bed.Receive(t.Context(), pod, buf.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("in 20 s: %s has not come true", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

var clock = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`)

func TestWatchShowsEventsUntilItIsInterrupted(t *testing.T) {
	socket, bed := watchedAgent(t, "guarded-database", flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	status := func() api.WatchStatus {
		t.Helper()
		s, err := bed.Verdicts.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	until(t, "the bridge tells of verdicts", func() bool { return status().Problem == "" })
	knock(t, bed, "shop/frontend", "shop/db", 1001, 5432)
	knock(t, bed, "shop/frontend", "shop/db", 1002, 80)
	until(t, "two events", func() bool { return status().Sampled == 2 })

	var out, stderr buffer
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		args := []string{"sluice", "watch", "--socket", socket, "-n", "shop", "--last", "1", "--allowed"}
		code <- Run(ctx, args, Streams{Out: &out, Err: &stderr})
	}()
	until(t, "what is allowed is asked for", func() bool { return status().Allows })
	knock(t, bed, "shop/backend-1", "shop/db", 1003, 5432)
	until(t, "a second line", func() bool { return strings.Count(out.String(), "\n") == 2 })
	interrupt()
	if c := <-code; c != exitDone || stderr.String() != "" {
		t.Errorf("interrupted: exit code %d, stderr %q", c, stderr.String())
	}
	golden(t, "watch.txt", clock.ReplaceAllString(out.String(), "01:02:03.456"))

	r := run(t, "watch", "--socket", socket, "--last", "10", "--follow=false", "-o", "json")
	r.want(t, exitDone, "")
	var ports []uint16
	for in := json.NewDecoder(strings.NewReader(r.out)); in.More(); {
		var e api.Event
		if err := in.Decode(&e); err != nil {
			t.Fatal(err)
		}
		ports = append(ports, e.SourcePort)
	}
	if fmt.Sprint(ports) != "[1001 1002]" {
		t.Errorf("events %v in %s", ports, r.out)
	}
	until(t, "the flows have counted", func() bool { s := status(); return s.Denied == 2 && s.Allowed == 1 && s.Readers == 0 })
	r = run(t, "watch", "--socket", socket, "--status")
	r.want(t, exitDone, "")
	golden(t, "watch-status.txt", r.out)
	r = run(t, "watch", "--socket", socket, "--last", "1", "--follow=false", "-o", "wide", "--policy", "db-guard", "-n", "shop")
	if r.want(t, exitDone, ""); !strings.Contains(r.out, "):1002 -> ") || !strings.Contains(r.out, "[node node-a, event 2, ports sl") {
		t.Errorf("wide: %s", r.out)
	}
}

func TestWatchSaysWhatIsWrongWithItsFlags(t *testing.T) {
	for args, want := range map[string]string{
		"watch --verdict perhaps":        `--verdict: "perhaps" is not allowed, denied, spoofed or invalid`,
		"watch --direction up":           `--direction: "up" is not egress or ingress`,
		"watch --pod db":                 `--pod: "db" has no namespace`,
		"watch --policy guard":           `--policy: "guard" has no namespace`,
		"watch --last -1":                `--last: "-1" is not a number of events`,
		"watch --follow=false":           "shows nothing",
		"watch --status --last 3":        "does not go with --last",
		"watch something":                "unknown command",
		"watch --socket /nowhere/socket": "",
	} {
		code := exitUsage
		if want == "" {
			code, want = exitError, "no agent at /nowhere/socket"
		}
		run(t, strings.Fields(args)...).want(t, code, want)
	}
}

var numbers = regexp.MustCompile(`0x[0-9a-f]{5,}`)

func TestTraceLiveShowsARealPacketsWay(t *testing.T) {
	socket, bed := watchedAgent(t, "guarded-database", flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	nobody := func() (is bool) {
		err := bed.Look(t.Context(), func(v enforce.View) { is = len(v.Pipeline().Live().Matches) == 0 && v.Ready() })
		return err == nil && is
	}
	for _, tc := range []struct {
		file, from string
		code       int
	}{
		{"trace-live-denied.txt", "shop/frontend", exitDenied},
		{"trace-live-allowed.txt", "shop/backend-1", exitDone},
	} {
		until(t, "nobody follows packets", nobody) // the one before has ended
		var out, stderr buffer
		code := make(chan int, 1)
		go func() {
			args := []string{"sluice", "trace", "--socket", socket, "--live", "-", "shop/db", "tcp/5432"}
			code <- Run(t.Context(), args, Streams{Out: &out, Err: &stderr})
		}()
		until(t, "packets are followed", func() bool { return len(code) > 0 || stderr.String() != "" })
		knock(t, bed, tc.from, "shop/db", 1001, 5432)
		if c := <-code; c != tc.code || !strings.HasPrefix(stderr.String(), "Following packets for 30 s") {
			t.Errorf("exit code %d, want %d, stderr %q", c, tc.code, stderr.String())
		}
		golden(t, tc.file, numbers.ReplaceAllString(clock.ReplaceAllString(out.String(), "01:02:03.456"), "0xabc"))
	}
	run(t, "trace", "--socket", socket, "--live", "--timeout", "1s", "shop/db", "-").want(t, exitError, "no such packet has come to the bridge of node node-a in 1 s")
	run(t, "trace", "--socket", socket, "--live", "shop/nobody", "-").want(t, exitError, "from: no pod shop/nobody with an address is known")
	run(t, "trace", "--live", "-", "-").want(t, exitUsage, "one of FROM and TO must be said")
	run(t, "trace", "--live", "shop/db", "-", "--count", "0").want(t, exitUsage, "--count: 0 is not 1 or more")
	run(t, "trace", "--live", "shop/db", "-", "-f", "x").want(t, exitUsage, "does not go with -f")
}
