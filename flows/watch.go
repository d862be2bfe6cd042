package flows

import (
	"fmt"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Watch says which verdicts the bridge tells the controllers of, as packets a
// second: each rate is kept by a meter in the datapath, so that a flood of
// packets costs no more than the rate allows. Zero tells of none.
//
// What is denied goes to TableDenied, whether the bridge tells of it or not, and
// passes two meters there: its source port's, then that of all. So one port's
// flood takes no more than its own part. Of what is allowed the first packet of a
// connection is told of, on its way through TableCommit.
type Watch struct {
	// PerPort bounds the denied packets of one source port that are told of, Denied
	// those of all ports, Allowed the connections.
	PerPort, Denied, Allowed uint32
}

// Meter is a meter that the flows refer to. It must stand before they do. It
// lets Rate packets a second pass, and as many at once.
type Meter struct{ ID, Rate uint32 }

// The meters of all denied and of all allowed packets and of those that are
// followed. That of a port's denied ones is meterPort and the port's number.
const (
	meterDenied  = 1
	meterAllowed = 2
	meterLive    = 3
	meterPort    = 3
)

// toldBytes is how much of a packet is told: enough for the ports behind IPv6
// extension headers.
const toldBytes = 192

// Meters returns the meters that the flows need.
func (p *Pipeline) Meters() []Meter {
	var out []Meter
	w := p.watch
	if w.tellsDenied() {
		out = append(out, Meter{meterDenied, w.Denied})
		for _, n := range p.sources() {
			out = append(out, Meter{meterPort + n, w.PerPort})
		}
	}
	if w.Allowed > 0 {
		out = append(out, Meter{meterAllowed, w.Allowed})
	}
	if len(p.live.Matches) > 0 {
		out = append(out, Meter{meterLive, p.live.Rate})
	}
	return out
}

// Live returns which packets the flows follow.
func (p *Pipeline) Live() Live { return p.live }

// Watch returns which verdicts the flows tell of.
func (p *Pipeline) Watch() Watch { return p.watch }

func (w Watch) tellsDenied() bool { return w.PerPort > 0 && w.Denied > 0 }

// sources are the OpenFlow ports that packets come from.
func (p *Pipeline) sources() []uint32 {
	var out []uint32
	if p.node != nil {
		out = append(out, p.node.GatewayOFPort)
		if p.node.TunnelOFPort != 0 {
			out = append(out, p.node.TunnelOFPort)
		}
	}
	for _, pt := range p.ports {
		out = append(out, pt.OFPort)
	}
	return out
}

// deny is what a flow does with what it denies: it says of which kind it is
// itself, and leaves the packet to TableDenied, which drops it.
func deny(c Cookie) []ovs.Action {
	return []ovs.Action{flow.Set(regDenied, uint32(c.Kind())), gotoTable(TableDenied)}
}

// deniedFlows tell of the denied packets of a source port. A packet over the
// port's meter ends there, all others end when they have been told of.
func (p *Pipeline) deniedFlows(ofport uint32) []*Flow {
	if !p.watch.tellsDenied() {
		return nil
	}
	return []*Flow{newFlow(TableDenied, priLookup, NewCookie(KindDenied, uint64(ofport)), "", ofport, nil,
		flow.Text(fmt.Sprintf("meter:%d", meterPort+ofport)),
		flow.Text(fmt.Sprintf("controller(max_len=%d,meter_id=%d)", toldBytes, meterDenied)))}
}

// watchFlows are the flows for verdicts that belong to no pod's port.
func (p *Pipeline) watchFlows() []*Flow {
	fs := p.deniedFlows(p.node.GatewayOFPort)
	if p.node.TunnelOFPort != 0 {
		fs = append(fs, p.deniedFlows(p.node.TunnelOFPort)...)
	}
	if p.watch.Allowed == 0 {
		return fs
	}
	// They change nothing about how a connection is committed: a packet that has
	// been told of is looked up in the same table once more.
	for _, proto := range ipFamilies {
		fs = append(fs, newFlow(TableCommit, 200, NewCookie(KindAllowed, 0), proto, 0,
			append([]ovs.Match{flow.Is(regDenied, 0)}, match("ct_state", "+new+trk")...),
			flow.Set(regDenied, uint32(KindAllowed)),
			flow.Text(fmt.Sprintf("controller(max_len=%d,meter_id=%d)", toldBytes, meterAllowed)),
			ovs.Resubmit(0, int(TableCommit))))
	}
	return fs
}

// Told is what the bridge says of a packet's verdict when it tells of it.
type Told struct {
	// Kind is KindAllowed, or that of the flow which denied the packet.
	Kind Kind
	// InPort and OutPort are the OpenFlow ports the packet came from and was to leave
	// by, OutPort zero if that was not known yet.
	InPort, OutPort uint32
	// Rules are the ids of the rules that allowed it, by direction; zero where none
	// was needed or asked.
	Rules [2]uint32
}

// ReadTold reads the packet's input port and registers. It returns false for a
// packet that does not come from flows that tell of verdicts.
func ReadTold(c Cookie, inPort uint32, registers [16]uint32) (Told, bool) {
	if k := c.Kind(); k != KindDenied && k != KindAllowed {
		return Told{}, false
	}
	return told(inPort, registers), true
}

func told(inPort uint32, registers [16]uint32) Told {
	return Told{
		Kind: Kind(registers[regDenied]), InPort: inPort, OutPort: registers[regOutput],
		Rules: [2]uint32{Egress: registers[regEgressRule], Ingress: registers[regIngressRule]},
	}
}

// Direction returns the side on which a packet was denied, false if none denied it.
func (t Told) Direction() (Direction, bool) {
	switch t.Kind {
	case KindEgressIsolation, KindEgressPending:
		return Egress, true
	case KindIngressIsolation, KindIngressPending:
		return Ingress, true
	}
	return 0, false
}
