package verdict

import (
	"fmt"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// lost is what is known of a table if the packet's copy there, or at the next one,
// did not come: the switch drops copies when its queue for the agent is full.
const lost = "crossed: a copy of the packet was lost on its way to the agent, so what was done is not known"

// crossing is a table that a packet has entered, and its copy there, nil if that was
// lost.
type crossing struct {
	table flows.Table
	copy  *copied
}

// crossings are the tables of a packet's way. A copy knows of all tables that the
// packet had entered before.
func crossings(way []copied) []crossing {
	var out []crossing
	for t := range way[len(way)-1].followed.Entered() {
		c := crossing{table: t}
		if i := slices.IndexFunc(way, func(at copied) bool { return at.followed.Table == t }); i >= 0 {
			c.copy = &way[i]
		}
		out = append(out, c)
	}
	return out
}

// steps says what tables did with a packet.
func (n *names) steps(all []crossing) []api.LiveStep {
	var out []api.LiveStep
	var known *copied
	for i, c := range all {
		step := api.LiveStep{Table: c.table.String(), Meaning: lost}
		var next *copied
		if i+1 < len(all) {
			next = all[i+1].copy
		}
		switch {
		case c.copy == nil:
		case next != nil:
			step.Meaning = observe.Crossed(n.view, c.copy.followed, &next.followed)
		case i+1 == len(all):
			step.Meaning = observe.Crossed(n.view, c.copy.followed, nil)
		}
		if known == nil {
			known = c.copy
		}
		if next != nil && known != nil {
			step.Registers = written(known, next)
			known = next
		}
		out = append(out, step)
	}
	return out
}

// written are the registers that were written between two copies.
func written(from, to *copied) map[string]uint32 {
	var out map[string]uint32
	for r, now := range to.registers {
		if now != from.registers[r] && !slices.Contains(flows.LiveRegisters, r) {
			if out == nil {
				out = map[string]uint32{}
			}
			out[fmt.Sprintf("reg%d", r)] = now
		}
	}
	return out
}

// refused reports whether a packet was for a Service that nobody serves: ServiceLB
// leaves it to the node's stack, without a verdict.
func refused(all []crossing) bool {
	for i := range len(all) - 1 {
		if all[i].table == flows.TableServiceLB && all[i+1].table == flows.TableCommit {
			return true
		}
	}
	return false
}
