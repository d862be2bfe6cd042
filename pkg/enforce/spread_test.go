package enforce_test

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// spread is a Service with many endpoints, none of which ever answers.
type spread struct {
	*bed
	e        *enforce.Enforcer
	stop     func()
	protocol layers.IPProtocol
	affinity time.Duration
}

var spreadFrontend = netip.MustParseAddrPort("10.96.0.10:80")

func newSpread(t *testing.T, protocol layers.IPProtocol, affinity time.Duration) *spread {
	t.Helper()
	s := &spread{bed: newBed(t), protocol: protocol, affinity: affinity}
	s.node.ServiceHops = []netip.Addr{netip.MustParseAddr("169.254.0.252")}
	s.node.ServiceSources = []netip.Addr{netip.MustParseAddr("10.0.0.254")}
	s.services = true
	s.e, s.stop = s.run(nil)
	s.tell()
	s.e.Emit([]cluster.Event{{Synced: true}})
	return s
}

// tell tells the enforcer of all but endpoints.
func (s *spread) tell() {
	for _, p := range s.ports {
		s.e.TellPort(p)
	}
	s.e.SetNode(s.node)
	s.e.Emit(append(cluster3(), cluster.Event{Service: &cluster.Service{
		Key: cluster.Key{Namespace: "shop", Name: "web"}, ClusterIPs: []netip.Addr{spreadFrontend.Addr()}, Affinity: s.affinity,
		Ports: []cluster.ServicePort{{Protocol: s.protocol.String(), Port: spreadFrontend.Port()}},
	}}))
}

func spreadEndpoint(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

// serve gives the Service its first n endpoints.
func (s *spread) serve(n int) {
	s.t.Helper()
	s.e.Emit([]cluster.Event{s.slice(0, n)})
	s.sync(s.e)
}

// slice has the Service's endpoints from the first-th on, before the last-th.
func (s *spread) slice(first, last int) cluster.Event {
	slice := &cluster.EndpointSlice{
		Key: cluster.Key{Namespace: "shop", Name: "web-1"}, Service: "web",
		Ports: []cluster.EndpointPort{{Protocol: s.protocol.String(), Port: 8080}},
	}
	for i := first; i < last; i++ {
		slice.Endpoints = append(slice.Endpoints, cluster.Endpoint{Addr: spreadEndpoint(i), Ready: true, Serving: true})
	}
	return cluster.Event{Slice: slice}
}

// client is where the i-th connection comes from: another port of the pod for each,
// or with affinity another client outside.
func (s *spread) client(i int) netip.AddrPort {
	if s.affinity != 0 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 40000)
	}
	return netip.AddrPortFrom(s.ports["a"].Addrs[0], uint16(1024+i))
}

// opening is the first packet of the i-th connection.
func (s *spread) opening(i int) []byte {
	s.t.Helper()
	from := s.client(i)
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: s.protocol, SrcIP: from.Addr().AsSlice(), DstIP: spreadFrontend.Addr().AsSlice()}
	var transport gopacket.SerializableLayer = &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(spreadFrontend.Port())}
	if s.protocol == layers.IPProtocolTCP {
		transport = &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(spreadFrontend.Port()), SYN: true, Window: 1000}
	}
	if err := transport.(interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}).SetNetworkLayerForChecksum(ip); err != nil {
		s.t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: s.ports["a"].MAC, DstMAC: s.node.GatewayMAC, EthernetType: layers.EthernetTypeIPv4}, ip, transport); err != nil {
		s.t.Fatal(err)
	}
	return buf.Bytes()
}

// open opens n connections, after all others are forgotten, and returns the
// endpoint that each is led to.
func (s *spread) open(n int) []netip.Addr {
	s.t.Helper()
	if err := conntrack.FlushZone(s.t.Context(), s.sandbox.Vswitchd(), sandbox.Dummy, flows.ZoneIPv4); err != nil {
		s.t.Fatal(err)
	}
	port := s.ports["a"].Name
	if s.affinity != 0 {
		port = "gw"
	}
	out, missing := make([]netip.Addr, n), make([]int, n)
	for i := range missing {
		missing[i] = i
	}
	// A port's queue is short: what did not get in is sent again.
	for deadline := time.Now().Add(time.Minute); len(missing) > 0; {
		for some := range slices.Chunk(missing, 25) {
			var frames [][]byte
			for _, i := range some {
				frames = append(frames, s.opening(i))
			}
			if err := s.sandbox.Receive(s.t.Context(), port, frames...); err != nil {
				s.t.Fatal(err)
			}
		}
		entries, err := conntrack.Dump(s.t.Context(), s.sandbox.Vswitchd(), sandbox.Dummy, flows.ZoneIPv4)
		if err != nil {
			s.t.Fatal(err)
		}
		led := make(map[netip.AddrPort]netip.Addr, len(entries))
		for _, e := range entries {
			led[netip.AddrPortFrom(e.Orig.Src, e.Orig.SrcPort)] = e.Reply.Src
		}
		missing = missing[:0]
		for i := range out {
			if out[i] = led[s.client(i)]; !out[i].IsValid() {
				missing = append(missing, i)
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of %d connections are still not tracked", len(missing), n)
		}
	}
	return out
}

// An endpoint gets its share of the connections, however many there are and
// whatever chooses among them: the datapath's hash, the switch's, or the switch's
// twice, where one group does not hold all. One that comes is given its share.
// Where the switch chooses it is taken from all others alike, and nobody else is
// led elsewhere; with affinity nobody is.
func TestConnectionsAreSpreadEvenly(t *testing.T) {
	for _, c := range []struct {
		name      string
		protocol  layers.IPProtocol
		affinity  time.Duration
		endpoints int
		each      int  // connections for each endpoint
		datapath  bool // chosen by its hash, of which an endpoint has some values more or less
	}{
		{"10 of TCP", layers.IPProtocolTCP, 0, 10, 300, true},
		{"10 of UDP", layers.IPProtocolUDP, 0, 10, 300, true},
		{"300 of UDP", layers.IPProtocolUDP, 0, 300, 20, false},
		{"500 of TCP", layers.IPProtocolTCP, 0, 500, 20, false},
		{"10 with affinity", layers.IPProtocolTCP, time.Hour, 10, 300, false},
		{"500 with affinity", layers.IPProtocolTCP, time.Hour, 500, 5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSpread(t, c.protocol, c.affinity)
			n := c.endpoints * c.each
			spread := func(endpoints int) []netip.Addr {
				t.Helper()
				s.serve(endpoints)
				led, count := s.open(n), map[netip.Addr]int{}
				for _, e := range led {
					count[e]++
				}
				mean, least, most, chi2 := float64(n)/float64(endpoints), n, 0, 0.
				for i := range endpoints {
					k := count[spreadEndpoint(i)]
					least, most = min(least, k), max(most, k)
					chi2 += (float64(k) - mean) * (float64(k) - mean) / mean
				}
				// The sum is endpoints-1 in the middle for a spread by chance, with a
				// deviation of the square root of twice that.
				freedom := float64(endpoints - 1)
				limit := freedom + 6*math.Sqrt(2*freedom)
				if c.datapath {
					limit += 9 * freedom
				}
				t.Logf("%d endpoints, %d connections: from %d to %d each, chi square %.0f, at most %.0f", endpoints, n, least, most, chi2, limit)
				if chi2 > limit || len(count) > endpoints {
					t.Errorf("%d connections to %d endpoints are spread unevenly: from %d to %d each, chi square %.0f", n, endpoints, least, most, chi2)
				}
				return led
			}
			before := spread(c.endpoints)
			var after []netip.Addr
			if c.affinity == 0 {
				after = spread(c.endpoints + 1)
			} else {
				s.serve(c.endpoints + 1)
				after = s.open(n)
			}
			if c.datapath {
				return
			}
			come, elsewhere := 0, 0
			for i := range before {
				switch after[i] {
				case before[i]:
				case spreadEndpoint(c.endpoints):
					come++
				default:
					elsewhere++
				}
			}
			share := float64(n) / float64(c.endpoints+1)
			if c.affinity != 0 {
				share = 0 // they stay where they were
			}
			if float64(come) > share+6*math.Sqrt(share) || elsewhere > 0 {
				t.Errorf("an endpoint that comes has %d connections, its share is %.0f; %d of others are led elsewhere", come, share, elsewhere)
			}
		})
	}
}

// Of a Service whose endpoints need several groups an enforcer finds again which
// endpoint is in which.
func TestARestartFindsTheGroupsOfALargeServiceAgain(t *testing.T) {
	s := newSpread(t, layers.IPProtocolTCP, 0)
	s.serve(2000)
	s.e.Emit([]cluster.Event{s.slice(1, 1801)}) // their numbers are not in one piece any more
	s.sync(s.e)
	s.e.Emit([]cluster.Event{s.slice(0, 1801)})
	s.sync(s.e)
	s.stop()
	s.e, _ = s.run(nil)
	s.tell()
	s.e.Emit([]cluster.Event{s.slice(0, 1801), {Synced: true}})
	s.sync(s.e)
	if err := s.e.Look(s.context(), func(v enforce.View) {
		if got := v.Stats(); got.Flows != 0 {
			t.Errorf("the restart wrote %d changes", got.Flows)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
