// Package trace asks ovs-vswitchd what a bridge would do with a packet, and
// reads its answer: the flows that the packet meets, table by table and across
// recirculations, and what becomes of it.
//
// It runs ofproto/trace (ovs-vswitchd(8)) over the control socket. No packet is
// sent, no counter moves and no connection is tracked: what conntrack would say
// is part of the question.
package trace

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/unixctl"
)

// Trace is a packet's way through a bridge.
type Trace struct {
	Final
	// Steps are the table lookups, in the order in which they were made.
	Steps []Step
	// Passes are the packet's runs through the pipeline: the first one, and one for
	// each time that the datapath sent it in again.
	Passes []Pass
	// FinalFlow, Megaflow and DatapathActions are those of the last pass: the
	// packet as it leaves the pipeline, the fields that mattered to what is done
	// with it (all others are wildcarded), and what the datapath does.
	FinalFlow, Megaflow, DatapathActions string
	// Errors are what ovs-vswitchd found wrong with the flows, such as too deep a
	// recursion.
	Errors []string
	// Raw is the text the trace was read from.
	Raw string
}

// Final is what becomes of the packet.
type Final struct {
	// Outputs are the OpenFlow ports the packet leaves by, each once. The bridge's
	// local port is Local. Ports chosen by NORMAL, FLOOD or ALL are not known here.
	Outputs []uint32
	// Dropped is true if no pass sends the packet anywhere.
	Dropped bool
	// Incomplete is true if the packet goes on where ofproto/trace does not follow:
	// it follows conntrack, but not a hash that the datapath has yet to make.
	Incomplete bool
}

// Local is the OpenFlow number of a bridge's local port as OVSDB has it.
const Local = 65534

// Step is the lookup of the packet in a table.
type Step struct {
	// Recirc is the index in Trace.Passes of the pass that the step belongs to.
	Recirc int
	// Bridge is the name of the bridge.
	Bridge string
	Table  uint8
	// TableName is the table's name if the caller gave one (Options.Tables), else
	// empty: ofproto/trace prints numbers only.
	TableName string
	// Miss is true if no flow matched; Priority, Cookie and Match are then unset.
	Miss     bool
	Priority int
	Cookie   uint64
	// Match is the flow's match in the syntax of ovs-ofctl(8); empty for a flow that
	// matches every packet. A conjunctive match shows as its conj_id.
	Match string
	// Actions are the flow's actions one by one, those nested in clone(…), in
	// ct(exec(…)) and in the bucket of a group again by themselves.
	Actions []string
	// Choices are the buckets that groups of the flow led the packet to.
	Choices []Choice
	// Notes are remarks about how the actions went.
	Notes []string
}

// Choice is the bucket that a select group, or any other, led a packet to.
type Choice struct {
	Group, Bucket uint32
	// Actions are those of the bucket, in the order in which they are done. Those of
	// a group it leads to are in a Choice of its own.
	Actions []string
}

// Translation is what conntrack is taken to have made of addresses and ports,
// each in the syntax of ovs-ofctl(8): "nw_src=10.0.0.1,tp_src=1000,nw_dst=…".
type Translation struct{ Before, After string }

// Pass is one run through the pipeline.
type Pass struct {
	// RecircID is zero for the first pass.
	RecircID uint32
	// Reason says why the packet was sent in again, with the conntrack state it has
	// then: "resume conntrack with ct_state=new|trk".
	Reason string
	// Translation is what became of the packet between the passes, nil if nothing did.
	Translation *Translation
	// Flow is the packet as it begins the pass, FinalFlow as it ends it.
	Flow, FinalFlow string
	Megaflow        string
	DatapathActions string
	// Notes are remarks about the whole pass, such as that it can't be cached.
	Notes []string
}

// Last returns the step that decided: the last one that was made. It is nil if
// there is none.
func (t *Trace) Last() *Step {
	if len(t.Steps) == 0 {
		return nil
	}
	return &t.Steps[len(t.Steps)-1]
}

// Options are the conditions of a trace.
type Options struct {
	// CTNext is what conntrack says each time that the packet goes through it, as
	// ct_state flags: "trk,new", "trk,est,rpl". Where there is none left, the answer
	// is "trk,new".
	CTNext []string
	// Tables are names of tables, for Step.TableName.
	Tables map[uint8]string
	// Hash is the packet's hash, by which a select group with the method dp_hash
	// chooses. The datapath has its own: what is traced is one of the ways that a
	// connection between these two ends may take. Zero means one made of the packet.
	Hash uint32
}

// hash adds a hash to a packet. With it ofproto/trace goes through a select group
// instead of ending where the datapath would be asked for one.
func (o Options) hash(flow string) string {
	if strings.Contains(flow, "dp_hash=") {
		return flow
	}
	h := o.Hash
	if h == 0 {
		sum := fnv.New32a()
		sum.Write([]byte(flow))
		h = max(sum.Sum32(), 1)
	}
	return fmt.Sprintf("%s,dp_hash=%#x", flow, h)
}

// Run traces a packet through a bridge. c is a client of ovs-vswitchd.
func Run(ctx context.Context, c *unixctl.Client, bridge string, p Packet, opts Options) (*Trace, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("trace a packet in bridge %s: %w", bridge, err)
	}
	return RunFlow(ctx, c, bridge, p.Flow(), opts)
}

// RunFlow is Run for a packet in the syntax of ovs-ofctl(8), which has more kinds
// than Packet: "in_port=1,arp,arp_tpa=10.0.0.1".
func RunFlow(ctx context.Context, c *unixctl.Client, bridge, flow string, opts Options) (*Trace, error) {
	args := []string{bridge, opts.hash(flow)}
	for _, state := range opts.CTNext {
		args = append(args, "--ct-next", state)
	}
	text, err := c.Call(ctx, "ofproto/trace", args...)
	if err != nil {
		return nil, fmt.Errorf("trace %s in bridge %s: %w", flow, bridge, err)
	}
	t, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("trace %s in bridge %s: read the answer: %w", flow, bridge, err)
	}
	for i := range t.Steps {
		t.Steps[i].TableName = opts.Tables[t.Steps[i].Table]
	}
	return t, nil
}
