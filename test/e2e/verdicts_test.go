package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/pkg/verdict"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/bed/bedtest"
)

// Two policies isolate the server, of which one lets the client reach port 80. The
// mute pod may send to UDP port 80 only.
const toldManifests = `
apiVersion: v1
kind: Pod
metadata: {namespace: told, name: server, labels: {app: server}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: told, name: client, labels: {app: client}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: told, name: stranger}
---
apiVersion: v1
kind: Pod
metadata: {namespace: told, name: mute, labels: {app: mute}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: told, name: closed}
spec: {podSelector: {matchLabels: {app: server}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: told, name: guard}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - {from: [{podSelector: {matchLabels: {app: nobody}}}]}
  - {from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}, {protocol: UDP, port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: told, name: mute}
spec:
  podSelector: {matchLabels: {app: mute}}
  policyTypes: [Egress]
  egress: [{ports: [{protocol: UDP, port: 80}]}]
`

// told is a node without an API server, whose agent follows a folder, and what the
// oracle has to know of it.
type told struct {
	*node
	server, client, stranger, mute *bed.Pod
	cluster                        *oracle.Cluster
	folder                         string // of the manifests
}

func newTold(t *testing.T) *told {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(toldManifests), 0o644); err != nil {
		t.Fatal(err)
	}
	b := bedtest.Start(t, bed.Options{Datapath: *datapathFlag, Manifests: dir})
	n := &told{
		node:    &node{Bed: b, name: "node0"},
		folder:  dir,
		cluster: &oracle.Cluster{Namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "told"}}}},
	}
	for text := range strings.SplitSeq(toldManifests, "---\n") {
		if strings.Contains(text, "kind: NetworkPolicy") {
			p := &networkingv1.NetworkPolicy{}
			if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
				t.Fatal(err)
			}
			n.cluster.Policies = append(n.cluster.Policies, p)
			continue
		}
		p := &corev1.Pod{}
		if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
			t.Fatal(err)
		}
		attached, err := n.AddPod(within(t), p.Namespace, p.Name, "")
		if err != nil {
			t.Fatal(err)
		}
		serve(t, &attached.Host, servedPorts...)
		*map[string]**bed.Pod{"server": &n.server, "client": &n.client, "stranger": &n.stranger, "mute": &n.mute}[p.Name] = attached
		p.Spec.NodeName = n.name
		for _, a := range attached.Addrs {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: a.String()})
		}
		n.cluster.Pods = append(n.cluster.Pods, p)
	}
	eventually(t, "the pods' policies are known", func(ctx context.Context) error {
		c := n.Client()
		defer c.Close()
		ports, err := c.Ports(ctx)
		for _, p := range ports {
			if p.State == "pending" {
				return fmt.Errorf("port of %s is pending", p.Pod)
			}
		}
		return err
	})
	return n
}

// What the agent says of packets is right of real ones, on the datapath that they
// cross: what they were denied or allowed by, how many there were, and which way
// they went.
func TestWhatIsSaidOfRealPacketsIsTrue(t *testing.T) {
	n := newTold(t)
	t.Run("events name what the oracle names", n.eventsNamePolicies)
	t.Run("spoofed and invalid packets", n.eventsOfWhatIsNoConnection)
	t.Run("a flood", n.eventsOfAFlood)
	t.Run("packets that are followed", n.packetsAreFollowed)
	t.Run("events after a restart", n.eventsAfterARestart)
	t.Run("checks", n.checks)
}

// heard are the events that a reader has got.
type heard struct {
	mu     sync.Mutex
	events []*api.Event
	lost   uint64
	ended  chan error
}

// watch follows the verdicts until the test ends. It returns when they are told.
func (n *told) watch(t *testing.T, q api.WatchQuery) *heard {
	t.Helper()
	q.Follow = true
	h := &heard{ended: make(chan error, 1)}
	c := n.Client()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		h.ended <- c.Watch(ctx, q, func(l api.WatchLine) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.lost += l.Lost; l.Event != nil {
				h.events = append(h.events, l.Event)
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		c.Close()
	})
	eventually(t, "verdicts are told", func(ctx context.Context) error {
		s, err := n.status(ctx)
		if err == nil && (s.Problem != "" || s.Readers == 0 || s.Allows != q.Allows) {
			err = fmt.Errorf("status %+v", s)
		}
		return err
	})
	return h
}

func (n *told) status(ctx context.Context) (api.WatchStatus, error) {
	c := n.Client()
	defer c.Close()
	return c.WatchStatus(ctx)
}

// wanted returns the events heard so far that are wanted.
func (h *heard) wanted(wanted func(*api.Event) bool) (out []*api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if wanted(e) {
			out = append(out, e)
		}
	}
	return out
}

// first waits for an event.
func (h *heard) first(t *testing.T, what string, wanted func(*api.Event) bool) (e *api.Event) {
	t.Helper()
	eventually(t, "an event of "+what, func(context.Context) error {
		all := h.wanted(wanted)
		if len(all) == 0 {
			return errors.New("there is none")
		}
		e = all[0]
		return nil
	})
	return e
}

// of tells the events of a probe.
func (n *told) of(p probe) func(*api.Event) bool {
	protocol := strings.ToLower(string(p.protocol))
	if p.protocol == oracle.ICMP && p.family == 6 {
		protocol = "icmpv6"
	}
	return func(e *api.Event) bool {
		return e.From.Addr == n.source(p).String() && e.To.Addr == p.target().Addr().String() && e.Protocol == protocol &&
			(p.protocol == oracle.ICMP || e.Port == p.port)
	}
}

func (n *told) eventsNamePolicies(t *testing.T) {
	h := n.watch(t, api.WatchQuery{WatchFilter: api.WatchFilter{Allows: true}})
	server, client, stranger, mute := &n.server.Host, &n.client.Host, &n.stranger.Host, &n.mute.Host
	var probes []probe
	for _, family := range []int{4, 6} {
		probes = append(probes,
			probe{client, server, family, corev1.ProtocolTCP, 80},     // a rule of ingress
			probe{client, server, family, corev1.ProtocolUDP, 5432},   // another port
			probe{stranger, server, family, corev1.ProtocolTCP, 80},   // another pod
			probe{stranger, server, family, oracle.ICMP, 0},           // no port
			probe{mute, client, family, corev1.ProtocolTCP, 5432},     // denied at egress
			probe{mute, stranger, family, corev1.ProtocolUDP, 80},     // a rule of egress
			probe{mute, server, family, corev1.ProtocolUDP, 80},       // allowed at egress, denied at ingress
			probe{stranger, client, family, corev1.ProtocolTCP, 5432}, // nobody is isolated
		)
	}
	var sent sync.WaitGroup
	for _, p := range probes {
		sent.Go(func() { n.expect(t, p, n.cluster.Judge(n.conn(p)).AllowedOn(n.name)) })
	}
	sent.Wait()
	for _, p := range probes {
		e := h.first(t, p.String(), n.of(p))
		if err := n.checkEvent(within(t), p, e); err != nil {
			t.Errorf("%v: %v: %+v", p, err, e)
		}
	}
}

// checkEvent holds an event against the oracle, and its words against a trace's.
func (n *told) checkEvent(ctx context.Context, p probe, e *api.Event) error {
	want := n.cluster.Judge(n.conn(p))
	outcome, direction := api.Allowed, ""
	var policies []string
	for _, s := range []struct {
		direction string
		rule      *api.Rule
		want      oracle.Side
	}{{"egress", e.Egress, want.Egress}, {"ingress", e.Ingress, want.Ingress}} {
		if !s.want.Allowed() {
			outcome, direction, policies = api.Denied, s.direction, nil
			for _, k := range s.want.IsolatedBy {
				policies = append(policies, k.String())
			}
			slices.Sort(policies)
			break // what follows was not asked
		}
		if (s.rule != nil) != s.want.Isolated {
			return fmt.Errorf("%s: rule %v, the oracle names %v", s.direction, s.rule, s.want.AllowedBy)
		}
		if s.rule != nil {
			namespace, name, _ := strings.Cut(s.rule.Policy, "/")
			if !slices.Contains(s.want.AllowedBy, oracle.RuleRef{Policy: oracle.Key{Namespace: namespace, Name: name}, Index: s.rule.Index}) {
				return fmt.Errorf("%s: rule %d of %s, the oracle names %v", s.direction, s.rule.Index, s.rule.Policy, s.want.AllowedBy)
			}
			policies = append(policies, s.rule.Policy)
		}
	}
	if e.Verdict != outcome || e.Direction != direction || !slices.Equal(e.Policies, policies) {
		return fmt.Errorf("%s at %q by %v, the oracle says %s at %q by %v", e.Verdict, e.Direction, e.Policies, outcome, direction, policies)
	}
	if e.From.Pod != p.from.Name || e.To.Pod != p.to.Name || e.Node != n.name || time.Since(e.Time) > time.Minute*time.Duration(*slowFlag) {
		return errors.New("ends, node or time are wrong")
	}
	x, err := n.explained(ctx, p)
	if err == nil && x.Reason != e.Reason {
		err = fmt.Errorf("a trace says %q", x.Reason)
	}
	return err
}

// explained asks for a trace of a probe.
func (n *told) explained(ctx context.Context, p probe) (*api.Explanation, error) {
	c := n.Client()
	defer c.Close()
	return c.Trace(ctx, api.TraceRequest{
		From: n.source(p).String(), To: p.target().Addr().String(), Protocol: strings.ToLower(string(p.protocol)), Port: p.port,
	})
}

// acknowledgement returns the layers of a TCP segment to port 80, one that acknowledges and
// begins nothing.
func acknowledgement(from, to end) []gopacket.SerializableLayer {
	ls := datagram(from, to, "")
	tcp := &layers.TCP{SrcPort: 4000, DstPort: 80, ACK: true, Ack: 1, Window: 1000}
	switch ip := ls[1].(type) {
	case *layers.IPv4:
		ip.Protocol = layers.IPProtocolTCP
		_ = tcp.SetNetworkLayerForChecksum(ip) // for IP layers it does not fail
	case *layers.IPv6:
		ip.NextHeader = layers.IPProtocolTCP
		_ = tcp.SetNetworkLayerForChecksum(ip)
	}
	return []gopacket.SerializableLayer{ls[0], ls[1], tcp}
}

func (n *told) eventsOfWhatIsNoConnection(t *testing.T) {
	h := n.watch(t, api.WatchQuery{})
	wire := openLink(t, &n.stranger.Host, "eth0")
	mac, gatewayMAC := macOf(t, &n.stranger.Host, "eth0"), macOf(t, n.Node, "sluice0")
	for _, family := range []int{4, 6} {
		own, server, client := n.stranger.Addr(family), n.server.Addr(family), n.client.Addr(family)
		for _, c := range []struct {
			source  netip.Addr
			to      *bed.Pod
			frame   []gopacket.SerializableLayer
			verdict string
			reason  string
		}{
			{client, n.server, datagram(end{mac, client}, end{gatewayMAC, server}, ""), api.Spoofed, "may not send this: it is not from its pod's addresses"},
			{own, n.client, acknowledgement(end{mac, own}, end{gatewayMAC, client}), api.Invalid, "the packet neither belongs to a tracked connection nor begins one"},
		} {
			if err := wire.send(c.frame...); err != nil {
				t.Fatal(err)
			}
			e := h.first(t, "one that is "+c.verdict, func(e *api.Event) bool { return e.Verdict == c.verdict && e.From.Addr == c.source.String() })
			if e.From.Pod != n.stranger.Name || e.To.Pod != c.to.Name || e.To.Addr != c.to.Addr(family).String() || e.SourcePort != 4000 || e.Port != 80 ||
				len(e.Policies) > 0 || e.Direction != "" || !strings.Contains(e.Reason, c.reason) {
				t.Errorf("IPv%d, %s: %+v", family, c.verdict, e)
			}
		}
	}
}

// settle returns when counters of flows have what the datapath has counted.
func (n *told) settle(ctx context.Context) error {
	for range 2 { // a round that is under way may have begun before
		if _, err := n.OVS.Vswitchd().Call(ctx, "revalidator/wait"); err != nil {
			return err
		}
	}
	return nil
}

// lookups is how many the datapath has done.
func (n *told) lookups(t *testing.T) (hit int) {
	t.Helper()
	text, err := n.OVS.Vswitchd().Call(within(t), "dpctl/show", n.OVS.Datapath()+"@ovs-"+n.OVS.Datapath())
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = strings.Cut(text, "lookups: ")
	if _, err := fmt.Sscanf(text, "hit:%d", &hit); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return hit
}

// Each packet of a flood is counted, as told of or as not, and one of another port
// is told of all the same.
func (n *told) eventsOfAFlood(t *testing.T) {
	h := n.watch(t, api.WatchQuery{})
	open := func(p *bed.Pod) net.Conn {
		t.Helper()
		c, err := p.Dial(within(t), "udp", netip.AddrPortFrom(n.server.Addr(4), 5432))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	send := func(c net.Conn, times int) {
		t.Helper()
		for range times {
			if _, err := c.Write([]byte("flood")); err != nil {
				t.Fatal(err)
			}
		}
	}
	flooder, other := open(n.stranger), open(n.mute)
	from := func(c net.Conn) func(*api.Event) bool {
		a := addrPort(c.LocalAddr())
		return func(e *api.Event) bool {
			return e.Verdict == api.Denied && e.From.Addr == a.Addr().String() && e.SourcePort == a.Port() && e.Port == 5432
		}
	}
	var last api.WatchStatus
	counted := func(denied uint64) {
		t.Helper()
		eventually(t, "the flood is counted", func(ctx context.Context) (err error) {
			if err := n.settle(ctx); err != nil {
				return err
			}
			if last, err = n.status(ctx); err == nil && last.Denied < denied {
				err = fmt.Errorf("%d denied, want %d", last.Denied, denied)
			}
			return err
		})
		if denied > 0 && last.Denied != denied {
			t.Fatalf("%d denied, want %d", last.Denied, denied)
		}
	}
	// The first one makes the megaflow: those that come meanwhile could be lost on the
	// way to ovs-vswitchd, where nothing counts them.
	send(flooder, 1)
	h.first(t, "the first of the flood", from(flooder))
	counted(0)
	before, begun := last, time.Now()

	const flood = 2000
	burst := flood
	if *datapathFlag == sandbox.Netdev {
		burst = 100 // its packet socket takes some hundred at once
	}
	for sent := 0; sent < flood; sent += burst {
		lookups := n.lookups(t)
		send(flooder, burst)
		eventually(t, "the switch takes the flood", func(context.Context) error {
			if now := n.lookups(t); now < lookups+2*burst { // before connection tracking, and after it
				return fmt.Errorf("%d lookups, before it %d", now, lookups)
			}
			return nil
		})
	}
	send(other, 1)
	sent := before.Denied + flood + 1
	counted(sent)
	e := h.first(t, "another pod", from(other))
	if e.Direction != "egress" || !slices.Equal(e.Policies, []string{"told/mute"}) {
		t.Errorf("another pod: %+v", e)
	}
	sampled := last.Sampled - before.Sampled
	if missed := last.Missed - before.Missed; sampled+missed != sent-before.Denied || missed == 0 || last.Lost != before.Lost {
		t.Errorf("of %d denied %d became events and %d were missed; %+v", sent-before.Denied, sampled, missed, last)
	}
	got := 0
	eventually(t, "events of the flood", func(context.Context) error {
		if got = len(h.wanted(from(flooder))); got < int(sampled) { // the first one is before, the other pod's among them
			return fmt.Errorf("%d, want %d", got, sampled)
		}
		return nil
	})
	if most := int(float64(verdict.Rates.PerPort) * (2 + time.Since(begun).Seconds())); got != int(sampled) || got > most {
		t.Errorf("%d events of the flood, the agent has counted %d; its meter lets %d pass", got, sampled, most)
	}
	t.Logf("%d denied in %s: %d became events, %d were missed", sent-before.Denied, time.Since(begun).Round(time.Millisecond), sampled, last.Missed-before.Missed)
}
