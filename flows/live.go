package flows

import (
	"fmt"
	"iter"
	"net/netip"
	"strconv"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Live says which packets the bridge follows: it tells the controllers of each of
// them at every table that they enter, and does with them what it does anyway.
type Live struct {
	Matches []LiveMatch
	// Rate is how many copies a second may be told, Timeout after how many seconds the
	// switch forgets the flows by itself.
	Rate    uint32
	Timeout uint16
}

// LiveMatch selects packets as they come in. A field that is zero selects all, but
// one of the addresses must be given.
type LiveMatch struct {
	InPort   uint32
	Src, Dst netip.Addr
	// Protocol is TCP, UDP, SCTP, 1 (ICMP, also that of IPv6) or zero; Port a destination port.
	Protocol uint8
	Port     uint16
}

const (
	// liveFollowed marks a packet in regLive. Below it there is a bit for each table,
	// set when the packet has been told of there: so it is looked up there once more,
	// as if nothing had been.
	liveFollowed uint32 = 1 << 31
	priLive             = 65000
)

// LiveRegisters are the registers that following a packet writes itself.
var LiveRegisters = []int{int(regLive)}

// A bit for each table and one more must fit into the register.
const _ = uint(31 - NumTables)

// liveFlows tell of the packets that are followed.
func (p *Pipeline) liveFlows() []*Flow {
	l := p.live
	if len(l.Matches) == 0 {
		return nil
	}
	timeout := match("hard_timeout", strconv.Itoa(int(l.Timeout)))
	tell := func(t Table, set ovs.Action) []ovs.Action {
		return []ovs.Action{set, flow.Text(fmt.Sprintf("controller(max_len=%d,meter_id=%d)", toldBytes, meterLive)),
			flow.Text(fmt.Sprintf("resubmit(,%d)", t))} // ovs.Resubmit knows no table 0
	}
	var fs []*Flow
	for _, m := range l.Matches {
		fs = append(fs, newFlow(TableClassifier, priLive, NewCookie(KindLive, uint64(TableClassifier)), m.protocol(), m.InPort,
			append(append([]ovs.Match{flow.Is(regLive, 0)}, m.fields()...), timeout...),
			tell(TableClassifier, flow.Set(regLive, liveFollowed|1<<TableClassifier))...))
	}
	for t := TableClassifier + 1; t < NumTables; t++ {
		bit := uint32(1) << t
		fs = append(fs, newFlow(t, priLive, NewCookie(KindLive, uint64(t)), "", 0,
			append([]ovs.Match{flow.IsMasked(regLive, liveFollowed, liveFollowed|bit)}, timeout...),
			tell(t, flow.SetMasked(regLive, bit, bit))...))
	}
	return fs
}

func (m LiveMatch) protocol() ovs.Protocol {
	base := map[uint8][2]ovs.Protocol{
		0: ipFamilies, TCP: {ovs.ProtocolTCPv4, ovs.ProtocolTCPv6}, UDP: {ovs.ProtocolUDPv4, ovs.ProtocolUDPv6},
		SCTP: {"sctp", "sctp6"}, 1: {ovs.ProtocolICMPv4, ovs.ProtocolICMPv6},
	}[m.Protocol]
	if m.Src.Is6() || m.Dst.Is6() {
		return base[1]
	}
	return base[0]
}

func (m LiveMatch) fields() []ovs.Match {
	var out []ovs.Match
	if m.Src.IsValid() {
		out = append(out, match(flow.SrcField(m.Src), m.Src.String())...)
	}
	if m.Dst.IsValid() {
		out = append(out, match(flow.DstField(m.Dst), m.Dst.String())...)
	}
	if m.Port != 0 {
		out = append(out, match("tp_dst", strconv.Itoa(int(m.Port)))...)
	}
	return out
}

// Followed is a packet as it enters a table.
type Followed struct {
	Table Table
	Told
	// Source is the kind of object that the packet came from: KindPort, KindNode or
	// KindRemote; zero if that is not known yet. Judged is true once it is known to
	// belong to a connection that is allowed.
	Source Kind
	Judged bool
	// Endpoint is the number of the endpoint that a balanced connection was led to.
	Endpoint uint32
	// Peer and Block are the identity and the region of the other end, by direction.
	Peer, Block [2]uint32
	// entered has a bit for each table that the packet has entered.
	entered uint32
}

// Entered yields the tables that the packet has entered until now, this one
// included, in their order: no packet goes back to one before.
func (f Followed) Entered() iter.Seq[Table] {
	return func(yield func(Table) bool) {
		for t := range NumTables {
			if f.entered&(1<<t) != 0 && !yield(t) {
				return
			}
		}
	}
}

// ReadFollowed reads what ReadTold reads of a packet that is followed.
func ReadFollowed(c Cookie, inPort uint32, registers [16]uint32) (Followed, bool) {
	if c.Kind() != KindLive {
		return Followed{}, false
	}
	f := Followed{
		Table: Table(c.Object()), Told: told(inPort, registers), Judged: registers[regSource]&sourceJudged != 0,
		Endpoint: registers[regEndpoint],
		Peer:     [2]uint32{registers[regEgressPeer], registers[regIngressPeer]},
		Block:    [2]uint32{registers[regEgressBlock], registers[regIngressBlock]},
		entered:  registers[regLive],
	}
	switch source := registers[regSource]; {
	case source&sourcePod != 0:
		f.Source = KindPort
	case source&sourceGateway != 0:
		f.Source = KindNode
	case source&sourceTunnel != 0:
		f.Source = KindRemote
	}
	return f, true
}
