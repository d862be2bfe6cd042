package enforce

import (
	"context"
	"fmt"
	"iter"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

// standing is what a bridge holds.
type standing struct {
	flows  []*flows.Flow
	groups []*openflow.Group
	// learned are flows that the switch added by itself; they are its own to remove.
	learned []*flows.Flow
}

// read reads what the bridge holds.
func (e *Enforcer) read(ctx context.Context) (standing, error) {
	var s standing
	all, err := e.cfg.Bridge.DumpFlows(ctx)
	if err != nil {
		return s, fmt.Errorf("read the bridge's flows: %w", err)
	}
	for _, f := range all {
		if flows.Cookie(f.Cookie).Kind() == flows.KindAffinity {
			s.learned = append(s.learned, f)
		} else {
			s.flows = append(s.flows, f)
		}
	}
	if s.groups, err = e.cfg.Bridge.DumpGroups(ctx); err != nil {
		return s, fmt.Errorf("read the bridge's groups: %w", err)
	}
	return s, nil
}

// selections are the ways in which the pipeline's groups choose.
var selections = map[flows.Selection]openflow.Selection{
	// Left to itself the switch takes a symmetric hash, in which the ports of UDP do
	// not count on every datapath: a client would have one endpoint for all.
	flows.SelectByDatapath: {Method: "dp_hash"},
	// Left to itself it would take that hash, too.
	flows.SelectByConnection: {Method: "hash", Fields: []string{"ip_src", "ipv6_src", "sctp_src", "tcp_src", "udp_src"}},
	flows.SelectBySource:     {Method: "hash", Fields: []string{"ip_src", "ipv6_src"}},
}

// upperBasis is the basis of the hash of groups that lead to others; these have
// none. What two groups hash alike they would choose alike where the number of a
// group is also that of an endpoint.
const upperBasis = 1

func bridgeGroup(g *flows.Group) *openflow.Group {
	out := &openflow.Group{ID: g.ID, Type: openflow.Select, Selection: selections[g.Selection], Buckets: make([]openflow.Bucket, len(g.Buckets))}
	if g.Upper {
		out.Selection.Param = upperBasis
	}
	for i, b := range g.Buckets {
		out.Buckets[i] = openflow.Bucket{ID: b.ID, Weight: b.Weight, Actions: b.Actions}
	}
	return out
}

func bridgeGroups(gs []*flows.Group) []*openflow.Group {
	out := make([]*openflow.Group, 0, len(gs))
	for _, g := range gs {
		out = append(out, bridgeGroup(g))
	}
	return out
}

func allGroups(p *flows.Pipeline) iter.Seq[*openflow.Group] {
	return func(yield func(*openflow.Group) bool) {
		for g := range p.Groups() {
			if !yield(bridgeGroup(g)) {
				return
			}
		}
	}
}

// pipelineGroups yields what RestoreGroups reads of a bridge's groups.
func pipelineGroups(gs []*openflow.Group) iter.Seq[*flows.Group] {
	return func(yield func(*flows.Group) bool) {
		for _, g := range gs {
			out := &flows.Group{ID: g.ID, Buckets: make([]flows.Bucket, len(g.Buckets))}
			for i, b := range g.Buckets {
				out.Buckets[i] = flows.Bucket{ID: b.ID, Weight: b.Weight, Actions: b.Actions}
			}
			if !yield(out) {
				return
			}
		}
	}
}
