package explained

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/pkg/simulate"
	"github.com/sluice-cni/sluice/test/need"
	"github.com/sluice-cni/sluice/test/random"
)

// all is a Watch that tells of every packet the tests send.
var all = flows.Watch{PerPort: 1e6, Denied: 1e6, Allowed: 1e6}

// sender sends the first packets of connections, each from another source port.
type sender struct {
	*bed
	port uint16
	// portless are the pairs of ends that have spoken SCTP or ICMP: the datapath
	// takes what they say again for the same connection.
	portless map[string]bool
}

// send sends the first packet of a connection, and returns the source port;
// false if the datapath would not see a new connection.
func (s *sender) send(c oracle.Conn) (port uint16, ok bool) {
	s.t.Helper()
	if c.Protocol == oracle.ICMP || c.Protocol == corev1.ProtocolSCTP {
		ends := []string{c.Src.Addr.String(), c.Dst.Addr.String()}
		slices.Sort(ends)
		key := strings.Join(append(ends, string(c.Protocol)), " ")
		if s.portless[key] {
			return 0, false
		}
		s.portless[key] = true
	}
	s.port++
	from := cluster.Key(c.Src.Pod)
	if _, local := s.attached[from]; !local {
		from = cluster.Key{}
	}
	if err := s.Receive(s.t.Context(), from, frame(s.t, from, c, s.port)); err != nil {
		s.t.Fatal(err)
	}
	return s.port, true
}

// frame is the first packet of a connection.
func frame(t testing.TB, from cluster.Key, c oracle.Conn, port uint16) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 1}}
	if from != (cluster.Key{}) {
		eth.SrcMAC = simulate.PortMAC(from)
	}
	protocol := map[corev1.Protocol]layers.IPProtocol{
		corev1.ProtocolTCP: layers.IPProtocolTCP, corev1.ProtocolUDP: layers.IPProtocolUDP, corev1.ProtocolSCTP: layers.IPProtocolSCTP,
		oracle.ICMP: layers.IPProtocolICMPv4,
	}[c.Protocol]
	var ip gopacket.SerializableLayer
	var network gopacket.NetworkLayer
	if c.Src.Addr.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		l := &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: c.Src.Addr.AsSlice(), DstIP: c.Dst.Addr.AsSlice()}
		ip, network = l, l
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		if c.Protocol == oracle.ICMP {
			protocol = layers.IPProtocolICMPv6
		}
		l := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: c.Src.Addr.AsSlice(), DstIP: c.Dst.Addr.AsSlice()}
		ip, network = l, l
	}
	var transport []gopacket.SerializableLayer
	switch protocol {
	case layers.IPProtocolTCP:
		l := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: layers.TCPPort(c.Port), SYN: true, Window: 1000}
		l.SetNetworkLayerForChecksum(network)
		transport = append(transport, l)
	case layers.IPProtocolUDP:
		l := &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: layers.UDPPort(c.Port)}
		l.SetNetworkLayerForChecksum(network)
		transport = append(transport, l)
	case layers.IPProtocolSCTP:
		transport = append(transport, &layers.SCTP{SrcPort: layers.SCTPPort(port), DstPort: layers.SCTPPort(c.Port)},
			&layers.SCTPInit{SCTPChunk: layers.SCTPChunk{Type: layers.SCTPChunkTypeInit}, InitiateTag: 1, AdvertisedReceiverWindowCredit: 4096, OutboundStreams: 1, InboundStreams: 1})
	case layers.IPProtocolICMPv4:
		transport = append(transport, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: port})
	case layers.IPProtocolICMPv6:
		l := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
		l.SetNetworkLayerForChecksum(network)
		transport = append(transport, l, &layers.ICMPv6Echo{Identifier: port})
	}
	buf := gopacket.NewSerializeBuffer()
	chain := append([]gopacket.SerializableLayer{eth, ip}, transport...)
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, chain...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// checkEvent holds an event against the oracle's verdict, and its words against
// those of a trace.
func (b *bed) checkEvent(w *random.Cluster, c oracle.Conn, e *api.Event) error {
	want := w.Judge(c)
	if got := e.Verdict == api.Allowed; got != want.AllowedOn(w.Node) || !got && e.Verdict != api.Denied {
		return fmt.Errorf("%s, the oracle says allowed: %v", e.Verdict, want.AllowedOn(w.Node))
	}
	for _, end := range []struct {
		got  api.Endpoint
		want oracle.Endpoint
	}{{e.From, c.Src}, {e.To, c.Dst}} {
		_, local := b.attached[cluster.Key(end.want.Pod)]
		if end.got.Addr != end.want.Addr.String() || local && end.got.Pod != end.want.Pod.String() {
			return fmt.Errorf("end %s, sent %s", end.got, end.want)
		}
	}
	var policies []string
	for _, s := range []struct {
		direction flows.Direction
		rule      *api.Rule
		want      oracle.Side
	}{{flows.Egress, e.Egress, want.Egress}, {flows.Ingress, e.Ingress, want.Ingress}} {
		here := s.want.Node == w.Node || s.want.Unknown
		if here && !s.want.Allowed() {
			if e.Direction != s.direction.String() {
				return fmt.Errorf("denied at %q, the oracle says %s", e.Direction, s.direction)
			}
			for _, k := range s.want.IsolatedBy {
				policies = append(policies, k.String())
			}
			slices.Sort(policies)
			break // what follows was not asked
		}
		if s.rule == nil {
			if here && s.want.Isolated && s.want.Exempt == "" && e.Verdict == api.Allowed {
				return fmt.Errorf("%s: no rule named, the oracle names %v", s.direction, s.want.AllowedBy)
			}
			continue
		}
		named := oracle.RuleRef{Policy: keyOf(s.rule.Policy), Index: s.rule.Index}
		if !slices.Contains(s.want.AllowedBy, named) {
			return fmt.Errorf("%s allowed by %v, the oracle names %v", s.direction, named, s.want.AllowedBy)
		}
		if e.Verdict == api.Allowed && !slices.Contains(policies, s.rule.Policy) {
			policies = append(policies, s.rule.Policy)
		}
	}
	if e.Verdict == api.Denied && policies == nil && len(e.Policies) > 0 || e.Verdict == api.Denied && !want.Egress.Unknown && !want.Ingress.Unknown && !slices.Equal(e.Policies, policies) ||
		e.Verdict == api.Allowed && !slices.Equal(e.Policies, policies) {
		return fmt.Errorf("owed to %v, the oracle says %v", e.Policies, policies)
	}
	x, err := b.Trace(b.t.Context(), api.TraceRequest{
		From: c.Src.Addr.String(), To: c.Dst.Addr.String(), Protocol: strings.ToLower(string(c.Protocol)), Port: c.Port,
	})
	if err != nil {
		return err
	}
	if x.Reason != e.Reason {
		return fmt.Errorf("reason is %q, a trace says %q", e.Reason, x.Reason)
	}
	return nil
}

func keyOf(s string) oracle.Key {
	namespace, name, _ := strings.Cut(s, "/")
	return oracle.Key{Namespace: namespace, Name: name}
}

// identity is what tells one connection of the tests from all others.
func identity(src, dst netip.Addr, protocol string, port uint16) string {
	if strings.HasPrefix(protocol, "icmp") {
		return fmt.Sprint(src, dst, " icmp")
	}
	return fmt.Sprint(src, dst, protocol, port)
}

// Each connection that is tried makes one event, which names the ends, the
// policies and the rules that the oracle names, in the words of a trace.
func TestEventsNameWhatTheOracleNames(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9
	}
	t.Logf("the first seed is %d; again: go test ./test/explained -run Events -seed=%d", seed, seed)
	checked, byVerdict := 0, map[string]int{}
	for ; checked < *probeFlag/4 && !t.Failed(); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w, c := random.FromSeed(seed, random.Small), random.Seed(seed)
			b := &sender{bed: start(t, w, all), port: 1024, portless: map[string]bool{}}
			events := b.Verdicts.Read(api.WatchFilter{Allows: true}, 0)
			defer events.Close()
			b.awaitAllows()
			for range 5 {
				sent := map[string]oracle.Conn{}
				for _, conn := range random.Probes(w, c, 40) {
					if port, ok := b.send(conn); ok {
						sent[identity(conn.Src.Addr, conn.Dst.Addr, strings.ToLower(string(conn.Protocol)), port)] = conn
					}
				}
				for len(sent) > 0 {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					got, lost, err := events.Next(ctx)
					cancel()
					if err != nil || lost > 0 {
						for _, conn := range sent {
							t.Errorf("no event: %s", conn)
						}
						t.Fatalf("%v, %d lost, no events of these in:\n%s", err, lost, random.Manifests(w))
					}
					for _, e := range got {
						key := identity(addr(e.From), addr(e.To), e.Protocol, e.SourcePort)
						conn, ok := sent[key]
						if delete(sent, key); !ok {
							t.Fatalf("an event of what was not sent, or of what had one: %+v", e)
						}
						if err := b.checkEvent(w, conn, e); err != nil {
							t.Fatalf("%s: %v\n%+v\n%s", conn, err, e, random.Manifests(w))
						}
						checked++
						byVerdict[e.Verdict]++
					}
				}
				var e random.Edit
				w, e = w.Edit(c, random.Small)
				b.edit(e, w.Node)
				b.settle()
			}
		})
	}
	t.Logf("%d events name what the oracle names: %v", checked, byVerdict)
}

func addr(e api.Endpoint) netip.Addr {
	a, _ := netip.ParseAddr(e.Addr)
	return a
}

// awaitAllows waits until the bridge tells of what is allowed.
func (b *bed) awaitAllows() {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s, err := b.Verdicts.Status(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		if s.Allows && s.Problem == "" {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the bridge does not tell of what is allowed: %+v", s)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// settle waits until no packet is handled as flows said before.
func (b *bed) settle() {
	b.t.Helper()
	if err := b.Settle(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}
