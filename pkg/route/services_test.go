package route

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/need"
	"github.com/sluice-cni/sluice/test/netns"
)

const (
	tcp = unix.IPPROTO_TCP
	udp = unix.IPPROTO_UDP
)

// served is a state with Services that somebody serves and such that nobody does,
// of both families.
func served() *ServiceState {
	s := &ServiceState{Ranges: prefixes("10.96.0.0/16", "fd00:96::/112"), Shared: map[AddressPort]netip.AddrPort{}}
	for f := range Family(NumFamilies) {
		s.Sources = append(s.Sources, addr(gatewayIP[f]))
		s.Addrs = append(s.Addrs, addr(externalIP[f]), addr(goneIP[f]))
		for _, p := range []uint8{tcp, udp} {
			s.NodePorts[f] = append(s.NodePorts[f], ServicePort{p, 30001})
			s.RefusedNodePorts[f] = append(s.RefusedNodePorts[f], ServicePort{p, 30002})
			s.Shared[AddressPort{p, netip.AddrPortFrom(addr(nodeIP[f]), 81)}] = netip.AddrPortFrom(addr(clusterIP[f]), 80)
			s.Refused = append(s.Refused, AddressPort{p, netip.AddrPortFrom(addr(nodeIP[f]), 82)})
			for _, at := range []string{refusedIP[f], otherNodeIP[f]} {
				s.Refused = append(s.Refused, AddressPort{p, netip.AddrPortFrom(addr(at), 80)})
			}
		}
	}
	return s
}

func openServices(t *testing.T) *Services {
	t.Helper()
	need.Tool(t, "nft", "apt-get install nftables")
	s, err := OpenServices("sluice0", bridgeMAC)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ensure(t *testing.T, s *Services, state *ServiceState) bool {
	t.Helper()
	changed, err := s.Ensure(t.Context(), state, CheckAll)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

const serviceRoutes = `10.96.0.0/16 via 169.254.0.252 dev sluice0 src 10.244.0.1 onlink
169.254.0.252 dev sluice0 scope link
203.0.113.50 via 169.254.0.252 dev sluice0 src 10.244.0.1 onlink
203.0.113.51 via 169.254.0.252 dev sluice0 src 10.244.0.1 onlink
2001:db8:113::50 via fd73:6c75:6963:65::fc dev sluice0 src fd00:244::1 metric 1024 onlink
2001:db8:113::51 via fd73:6c75:6963:65::fc dev sluice0 src fd00:244::1 metric 1024 onlink
fd00:96::/112 via fd73:6c75:6963:65::fc dev sluice0 src fd00:244::1 metric 1024 onlink
fd73:6c75:6963:65::fc dev sluice0 metric 1024`

func TestRoutesToServicesAreKeptBesideThoseToNodes(t *testing.T) {
	enter(t)
	s := openServices(t)
	state := served()
	state.Bridge = []netip.Addr{addr("10.244.0.254"), addr("fd00:244::ffff:ffff:ffff:ffff")}
	if !ensure(t, s, state) || ensure(t, s, state) {
		t.Error("it is not written once")
	}
	wantOwn(t, serviceRoutes)
	if n := set(t, encap4, encap6); n != 2 {
		t.Errorf("%d routes to nodes changed, want 2", n)
	}
	if ensure(t, s, state) || set(t, encap4, encap6) != 0 {
		t.Error("one takes the other's routes for its own")
	}
	set(t)
	wantOwn(t, serviceRoutes)
	ip(t, "route", "del", "10.96.0.0/16")
	ip(t, "neigh", "del", "169.254.0.252", "dev", "sluice0")
	if !ensure(t, s, state) {
		t.Error("a route that is gone was not noticed")
	}
	wantOwn(t, serviceRoutes)
	if got := ip(t, "neigh", "show", "nud", "permanent", "dev", "sluice0"); strings.Count(got, bridgeMAC.String()) != 4 {
		t.Errorf("permanent neighbours are %s", got)
	}
	// An address comes to lie in a range, and IPv6 is no more.
	state.Ranges, state.Sources = append(state.Ranges, prefixOf("203.0.113.0/24")), state.Sources[:1]
	ensure(t, s, state)
	wantOwn(t, `10.96.0.0/16 via 169.254.0.252 dev sluice0 src 10.244.0.1 onlink
169.254.0.252 dev sluice0 scope link
203.0.113.0/24 via 169.254.0.252 dev sluice0 src 10.244.0.1 onlink`)
}

// knock is a connection from somewhere.
type knock struct {
	name     string
	ns       *netns.Netns
	from, to string // without the port of to
	port     string
	// seen is the address that the server sees, empty if the connection is to be
	// refused. It is unheard if the kernel can tell a TCP client of that, but not a
	// UDP client over IPv4: it takes the error's source, the Service, for a lie.
	seen string
}

const unheard = "unheard"

func (a *around) knocks(f Family) []knock {
	return []knock{
		{"node process, ClusterIP", nil, "", clusterIP[f], "80", gatewayIP[f]},
		{"node process, external address", nil, "", externalIP[f], "80", gatewayIP[f]},
		{"node process, node port", nil, "", nodeIP[f], "30001", nodeIP[f]},
		{"node process, node port at the gateway", nil, "", gatewayIP[f], "30001", gatewayIP[f]},
		{"node process, the node's address as an external one", nil, "", nodeIP[f], "81", nodeIP[f]},
		{"outside, ClusterIP", a.outside, "", clusterIP[f], "80", outsideIP[f]},
		{"outside, external address", a.outside, "", externalIP[f], "80", outsideIP[f]},
		{"outside, node port", a.outside, "", nodeIP[f], "30001", outsideIP[f]},
		{"outside, the node's address as an external one", a.outside, "", nodeIP[f], "81", outsideIP[f]},

		{"node process, ClusterIP that nobody serves", nil, "", emptyIP[f], "80", unheard},
		{"node process, external address that nobody serves", nil, "", goneIP[f], "80", unheard},
		{"node process, node port that nobody serves", nil, "", nodeIP[f], "30002", ""},
		{"node process, ClusterIP that the node knows nobody serves", nil, "", refusedIP[f], "80", ""},
		{"node process, port at another node that nobody serves", nil, "", otherNodeIP[f], "80", ""},
		{"pod, ClusterIP that the node knows nobody serves", a.bridge, podIP[f], refusedIP[f], "80", ""},
		{"pod, port at another node that nobody serves", a.bridge, podIP[f], otherNodeIP[f], "80", ""},
		{"outside, ClusterIP that the node knows nobody serves", a.outside, "", refusedIP[f], "80", ""},
		{"node process, shared port that nobody serves", nil, "", nodeIP[f], "82", ""},
		{"pod, ClusterIP that nobody serves", a.bridge, podIP[f], emptyIP[f], "80", ""},
		{"pod, external address that nobody serves", a.bridge, podIP[f], goneIP[f], "80", ""},
		{"pod, node port that nobody serves", a.bridge, podIP[f], nodeIP[f], "30002", ""},
		{"pod, shared port that nobody serves", a.bridge, podIP[f], nodeIP[f], "82", ""},
		{"outside, ClusterIP that nobody serves", a.outside, "", emptyIP[f], "80", ""},
		{"outside, external address that nobody serves", a.outside, "", goneIP[f], "80", ""},
		{"outside, node port that nobody serves", a.outside, "", nodeIP[f], "30002", ""},
		{"outside, shared port that nobody serves", a.outside, "", nodeIP[f], "82", ""},
	}
}

// serveAll serves what somebody serves, and all other ports by nobody.
func (a *around) serveAll(t *testing.T, f Family, network string) map[string]<-chan netip.Addr {
	served := map[string]<-chan netip.Addr{}
	for _, at := range []string{
		net.JoinHostPort(ServiceHops[f].String(), "30001"), net.JoinHostPort(clusterIP[f], "80"), net.JoinHostPort(externalIP[f], "80"),
	} {
		served[at] = serve(t, a.bridge, network, at)
	}
	// The node's own ports stand behind refusals: nobody is to get there.
	for _, at := range []string{net.JoinHostPort(nodeIP[f], "30002"), net.JoinHostPort(nodeIP[f], "82")} {
		served[at] = serve(t, nil, network, at)
	}
	return served
}

func TestServicesAreReachedThroughTheBridgeOrRefusedAtOnce(t *testing.T) {
	a := enterNode(t)
	s := openServices(t)
	state := served()
	ensure(t, s, state)
	servers := map[string]<-chan netip.Addr{}
	for f := range Family(NumFamilies) {
		for _, network := range []string{"tcp", "udp"} {
			for at, c := range a.serveAll(t, f, network) {
				servers[network+" "+at] = c
			}
		}
	}
	check := func() {
		t.Helper()
		for f := range Family(NumFamilies) {
			for _, network := range []string{"tcp", "udp"} {
				for _, k := range a.knocks(f) {
					a.knock(t, k, network, servers)
				}
			}
		}
	}
	check()
	// A firewall reloads.
	nft(t, "flush", "ruleset")
	if changed, err := s.Ensure(t.Context(), state, CheckTable); err != nil || !changed || ensure(t, s, state) {
		t.Error("flushed rules are not written once")
	}
	check()
}

func (a *around) knock(t *testing.T, k knock, network string, servers map[string]<-chan netip.Addr) {
	t.Helper()
	if k.seen == unheard {
		if network == "udp" && addr(k.to).Is4() {
			return
		}
		k.seen = ""
	}
	begin := time.Now()
	err := dial(k.ns, network, k.from, net.JoinHostPort(k.to, k.port))
	if took := time.Since(begin); took > time.Second {
		t.Errorf("%s, %s: it took %s", k.name, network, took)
	}
	if k.seen == "" {
		// That is what the kernel tells the sender of a packet that it does not let out.
		stopped := network == "udp" && k.ns == nil && errors.Is(err, unix.EPERM)
		if !errors.Is(err, unix.ECONNREFUSED) && !stopped {
			t.Errorf("%s, %s: error %v, want that it is refused", k.name, network, err)
		}
	} else if err != nil {
		t.Errorf("%s, %s: %v", k.name, network, err)
	}
	var seen []string
	for at, c := range servers {
		for len(c) > 0 {
			from := (<-c).String()
			seen = append(seen, from)
			if from != k.seen {
				t.Errorf("%s: the server of %s sees %s, want %q", k.name, at, from, k.seen)
			}
		}
	}
	if want := k.seen != ""; (len(seen) == 1) != want {
		t.Errorf("%s, %s: servers saw %v", k.name, network, seen)
	}
}

func TestAUDPClientDoesNotStayWithWhatWasThereBefore(t *testing.T) {
	a := enterNode(t)
	s := openServices(t)
	for f := range Family(NumFamilies) {
		served := []ServicePort{{udp, 30001}}
		shared := map[AddressPort]netip.AddrPort{{udp, netip.AddrPortFrom(addr(nodeIP[f]), 81)}: netip.AddrPortFrom(addr(clusterIP[f]), 80)}
		state := &ServiceState{Sources: []netip.Addr{addr(gatewayIP[f])}}
		ensure(t, s, state)
		for _, c := range []struct {
			port, at string // at is where it is served
			serve    func()
			end      func()
		}{
			{"30001", net.JoinHostPort(ServiceHops[f].String(), "30001"), func() { state.NodePorts[f] = served }, func() { state.NodePorts[f] = nil }},
			{"81", net.JoinHostPort(clusterIP[f], "80"), func() { state.Shared, state.Ranges = shared, prefixes("10.96.0.0/16", "fd00:96::/112") }, func() { state.Shared = nil }},
		} {
			node, bridge := serve(t, nil, "udp", net.JoinHostPort(nodeIP[f], c.port)), serve(t, a.bridge, "udp", c.at)
			var client net.Conn
			do(t, a.outside, func() (err error) {
				client, err = net.Dial("udp", net.JoinHostPort(nodeIP[f], c.port))
				return err
			})
			defer client.Close()
			ask := func(by <-chan netip.Addr, when string) {
				t.Helper()
				_ = client.SetDeadline(time.Now().Add(patience))
				if _, err := client.Write([]byte{0}); err != nil {
					t.Error(err)
				}
				if _, err := client.Read(make([]byte, 1)); err != nil {
					t.Errorf("%s: %v", when, err)
				}
				if len(by) != 1 || len(node)+len(bridge) != 1 {
					t.Fatalf("%s, port %s: it is not answered by whom it should be", when, c.port)
				}
				<-by
			}
			ask(node, "before there is a Service")
			c.serve()
			ensure(t, s, state)
			ask(bridge, "with a Service")
			nft(t, "flush", "ruleset")
			ensure(t, s, state)
			ask(bridge, "after a firewall reloaded")
			c.end()
			ensure(t, s, state)
			ask(node, "when the Service is gone")
		}
	}
}

func TestTenThousandNodePortsAreWrittenAtOnce(t *testing.T) {
	enter(t)
	s := openServices(t)
	state := served()
	for i := range 10000 {
		for f := range Family(NumFamilies) {
			state.NodePorts[f] = append(state.NodePorts[f], ServicePort{tcp, uint16(20000 + i)})
		}
	}
	for _, f := range []struct {
		name    string
		check   Check
		changed bool
		do      func()
	}{
		{"all of them", CheckNothing, true, func() {}},
		{"a look whether they are there", CheckTable, false, func() {}},
		{"a look at them", CheckAll, false, func() {}},
		{"one more", CheckTable, true, func() { state.NodePorts[IPv4] = append(state.NodePorts[IPv4], ServicePort{udp, 31000}) }},
	} {
		f.do()
		begin := time.Now()
		changed, err := s.Ensure(t.Context(), state, f.check)
		if err != nil || changed != f.changed {
			t.Errorf("%s: changed %v, error %v", f.name, changed, err)
		}
		took := time.Since(begin)
		if took > time.Minute { // seconds, on a machine with much else to do
			t.Errorf("%s took %s", f.name, took)
		}
		t.Logf("%s took %s", f.name, took)
	}
	if err := RemoveServices(t.Context()); err != nil {
		t.Fatal(err)
	}
}
