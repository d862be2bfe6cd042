package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"sigs.k8s.io/knftables"
)

// ServiceTable is the name of the nftables table of family inet that holds the
// rules of Services. It is another than Table so that each has one owner, and a
// node that leaves Services to kube-proxy has none of it.
const ServiceTable = "sluice-services"

// ServiceHops are the next hops, one of each family, that stand for the bridge.
// Nobody has them, nor can get them: of 169.254.0.0/16 the first 256 addresses are
// not to be chosen by any host (RFC 3927, section 2.1), and the other lies in a
// range of RFC 4193 whose global id is the text "slui". It is no link-local one,
// since packets from outside are forwarded to it.
var ServiceHops = []netip.Addr{netip.MustParseAddr("169.254.0.252"), netip.MustParseAddr("fd73:6c75:6963:65::fc")}

// ServiceState is what the node's kernel leads to the bridge, which balances it.
type ServiceState struct {
	// Sources are addresses of the gateway interface, at most one of each family: the
	// node's own connections to Services come from there. A family without one is
	// not led to the bridge.
	Sources []netip.Addr
	// Bridge are addresses of the node's pod ranges that the bridge itself sends from:
	// answers that come by the node's stack have to get back to it.
	Bridge []netip.Addr
	// Ranges and Addrs are addresses that belong to Services as a whole, whatever the
	// port: what is sent there goes to the bridge, and what the bridge gives back
	// is refused. None of them may be an address of a node or of a pod.
	Ranges []netip.Prefix
	Addrs  []netip.Addr
	// NodePorts are ports, of each Family, that belong to Services at every address
	// of the node but loopback ones.
	NodePorts [NumFamilies][]ServicePort
	// RefusedNodePorts are those of Services that nobody serves. Connections to them
	// are refused by the node itself. No port is in both.
	RefusedNodePorts [NumFamilies][]ServicePort
	// Shared are single ports of Services at addresses that have other uses, those of
	// nodes. Each has a frontend, which the bridge knows, that stands in for it.
	Shared map[AddressPort]netip.AddrPort
	// Refused are ports of Services, at addresses of either kind, that nobody serves.
	// The bridge refuses what it sees of them by giving it back, but the node need
	// not send it there.
	Refused []AddressPort
}

// Family is an index for what there is of both address families.
type Family uint8

// The address families.
const (
	IPv4 Family = iota
	IPv6
	NumFamilies = 2
)

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// ServicePort is a port of the protocol TCP, UDP or SCTP (IANA's numbers).
type ServicePort struct {
	Protocol uint8
	Port     uint16
}

// AddressPort is a port at one address.
type AddressPort struct {
	Protocol uint8
	At       netip.AddrPort
}

// Services leads what is sent to Services, by the node itself and from outside, to
// the bridge: by routes where all that an address stands for is a Service's, by
// translating the destination (DNAT) where it is the node's. Clients keep their
// addresses: it is the bridge that knows whether an answer would find its way.
//
// It needs the nft command and Linux 5.9, the first that refuses packets before
// they are routed.
type Services struct {
	nft     knftables.Interface
	gateway string
	mac     net.HardwareAddr
	// known is what the sets of each family hold by the last look or write; nil if
	// that is not sure.
	known *[NumFamilies][]content
	// stale are UDP ports of which connection tracking may still hold something
	// else than what the rules say.
	stale stalePorts
}

// OpenServices returns what keeps routes and rules of Services on a node whose
// bridge is behind the interface gateway. Frames to the bridge bear mac. It
// changes nothing yet.
func OpenServices(gateway string, mac net.HardwareAddr) (*Services, error) {
	nft, err := knftables.New(knftables.InetFamily, ServiceTable)
	if err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	return &Services{nft: nft, gateway: gateway, mac: mac}, nil
}

// Check says how much of the rules Ensure looks at before it takes them to be as it
// left them. The tool reads a whole table whatever it is asked for, so with
// thousands of ports a look takes longer than a change.
type Check uint8

// The checks, each of which includes those before.
const (
	// CheckNothing is for when the kernel has told of no change of ServiceTable.
	CheckNothing Check = iota
	// CheckTable looks whether the table is there, for when the kernel has told of a
	// change, which may have been Ensure's own.
	CheckTable
	// CheckAll looks at everything.
	CheckAll
)

// Ensure compares what the kernel holds with a state and writes the difference,
// that of the rules in one transaction. It reports whether there was one. After an
// error what could be done is done, and Ensure is to be called again. The first
// call looks at everything, whatever check is.
func (s *Services) Ensure(ctx context.Context, state *ServiceState, check Check) (changed bool, err error) {
	// What leaves the bridge again must be refused before anything is led there: else
	// it would go round.
	rules, err := s.ensureRules(ctx, state, check)
	if err != nil {
		return false, err
	}
	routes, err := s.ensureRoutes(state)
	return rules || routes, errors.Join(err, s.forgetStale(state))
}

// RemoveServices takes away what Services have set up. What is gone already is no
// error.
func RemoveServices(ctx context.Context) error {
	err := removeTable(ctx, ServiceTable)
	if err != nil {
		err = fmt.Errorf("remove nftables table inet %s: %w", ServiceTable, err)
	}
	_, errRoutes := setRoutes(nil, ofServices)
	return errors.Join(err, errRoutes, removeHops())
}
