package observe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// explain reads the steps of a trace: each flow's cookie says what it is for.
func explain(x *api.Explanation, v enforce.View, t *trace.Trace, from, to end) {
	ends := [2]end{flows.Egress: from, flows.Ingress: to}
	sides := [2]*api.Side{}
	for d, e := range ends {
		if e.local {
			d := flows.Direction(d)
			by := keys(v.Compiler().Isolating(e.pod, d))
			sides[d] = &api.Side{Direction: d.String(), IsolatedBy: by, Isolated: len(by) > 0}
		}
	}
	reached := [2]bool{flows.Egress: from.local}
	for _, s := range t.Steps {
		c := flows.Cookie(s.Cookie)
		step := api.Step{
			Table: flows.Table(s.Table).String(), Match: s.Match, Priority: s.Priority, Actions: s.Actions,
			Meaning: meaning(v, flows.Table(s.Table), c, s),
		}
		if s.Miss {
			step.Meaning = "no flow matches: dropped"
		} else {
			step.Object = c.String()
		}
		x.Steps = append(x.Steps, step)
		if flows.Table(s.Table) == flows.TableIngressPeer {
			reached[flows.Ingress] = to.local
		}
		switch d := flows.Direction(0); c.Kind() {
		case flows.KindIngressRule:
			d = flows.Ingress
			fallthrough
		case flows.KindEgressRule:
			if k, ok := v.Pipeline().RuleByID(d, idOf(s)); ok && sides[d] != nil {
				sides[d].AllowedBy = RuleOf(v, k)
			}
		case flows.KindEgressPending, flows.KindIngressPending:
			if d = flows.Direction(c.Kind() - flows.KindEgressPending); sides[d] != nil {
				sides[d].Pending = true
			}
		}
	}
	if reached[flows.Egress] {
		x.Egress = sides[flows.Egress]
	}
	if reached[flows.Ingress] {
		x.Ingress = sides[flows.Ingress]
	}
	x.Verdict = api.Allowed
	if t.Dropped || len(t.Outputs) == 0 || unserved(t) != nil {
		x.Verdict = api.Denied
	} else {
		x.Output = portName(v, t.Outputs[0])
	}
	x.Reason = reason(x, v, t, from, to)
}

// idOf returns the rule id that a policy flow writes into its register.
func idOf(s trace.Step) uint32 {
	for _, a := range s.Actions {
		text, ok := strings.CutPrefix(a, "set_field:")
		if !ok {
			continue
		}
		value, _, _ := strings.Cut(text, "->")
		if n, err := strconv.ParseUint(value, 0, 32); err == nil {
			return uint32(n)
		}
	}
	return 0
}

// reason says in one line why the packet ended as it did.
func reason(x *api.Explanation, v enforce.View, t *trace.Trace, from, to end) string {
	if x.Verdict == api.Allowed {
		return Why(flows.KindAllowed, x.From, x.To, x.Egress, x.Ingress)
	}
	if s := unserved(t); s != nil {
		return "the connection " + serviceMeaning(v, flows.Cookie(s.Cookie), *s)
	}
	if noNeighbour(t) {
		return "Open vSwitch does not know the next hop in the underlay to the other end of the tunnel, and drops until it has an answer from there"
	}
	last := decider(t)
	if last == nil || last.Miss {
		return "no flow matches the packet"
	}
	if why := Why(flows.Cookie(last.Cookie).Kind(), from.Endpoint, to.Endpoint, x.Egress, x.Ingress); why != "" {
		return why
	}
	return "dropped in table " + flows.Table(last.Table).String()
}

// unserved is the step that found a Service with nobody to serve the packet, or
// the address of none; nil if there is none.
func unserved(t *trace.Trace) *trace.Step {
	for i := range t.Steps {
		switch s := &t.Steps[i]; flows.Cookie(s.Cookie).Kind() {
		case flows.KindRefused, flows.KindUnserved, flows.KindUnowned:
			return s
		}
	}
	return nil
}

// decider is the last step of a trace that decided something: what is denied is
// only dropped in TableDenied.
func decider(t *trace.Trace) *trace.Step {
	for i := len(t.Steps) - 1; i >= 0; i-- {
		if flows.Table(t.Steps[i].Table) != flows.TableDenied {
			return &t.Steps[i]
		}
	}
	return t.Last()
}

// meaning says what a step does, in words.
func meaning(v enforce.View, table flows.Table, c flows.Cookie, s trace.Step) string {
	switch k := c.Kind(); k {
	case flows.KindEgressRule, flows.KindIngressRule:
		d := flows.Direction(k - flows.KindEgressRule)
		if key, ok := v.Pipeline().RuleByID(d, idOf(s)); ok {
			if r := RuleOf(v, key); r != nil {
				return fmt.Sprintf("allowed by rule %d of NetworkPolicy %s: %s", r.Index, r.Policy, r.Text)
			}
			return "allowed by rule " + string(key)
		}
		return "allowed by a rule that is gone"
	case flows.KindEgressIsolation, flows.KindIngressIsolation:
		return "no rule allows it, and the pod is isolated: denied"
	case flows.KindEgressPending, flows.KindIngressPending:
		return "the pod's policies are not known yet: denied"
	case flows.KindEgressPeer, flows.KindIngressPeer:
		return fmt.Sprintf("the other end has identity %d", c.Object())
	case flows.KindEgressBlock, flows.KindIngressBlock:
		if c.Object() == 0 {
			return "the other end's region is in no block"
		}
		return fmt.Sprintf("the other end lies in region %d", c.Object())
	case flows.KindBalancer, flows.KindRefused, flows.KindUnserved, flows.KindFrontend, flows.KindEndpoint, flows.KindAffinity, flows.KindUnowned:
		return serviceMeaning(v, c, s)
	case flows.KindSpoof:
		if n := v.Pipeline().Node(); n != nil && n.TunnelOFPort != 0 && c.Object() == uint64(n.TunnelOFPort) {
			return "comes through the tunnel, and not from the addresses of another node and its pods: denied"
		}
		return "not from the pod's own addresses: denied"
	case flows.KindEncapsulated:
		return "a packet of the tunnel between nodes, and not from a node: dropped"
	case flows.KindInvalid:
		return "of no tracked connection, and begins none: denied"
	case flows.KindUnroutable:
		return "no such destination: dropped"
	}
	switch table {
	case flows.TableDenied:
		if k := c.Kind(); k == flows.KindDenied {
			return "dropped, and told of"
		}
		return "dropped"
	case flows.TableClassifier:
		switch c.Kind() {
		case flows.KindNode:
			return "comes from the node's network stack"
		case flows.KindRemote:
			return "comes through the tunnel from another node"
		}
		return "comes from the pod, by its own addresses"
	case flows.TableConntrack:
		return "looks the connection up"
	case flows.TableConntrackState:
		if c.Kind() == flows.KindPipeline {
			return "belongs to a connection that is allowed: no verdict needed"
		}
		return "a new connection"
	case flows.TableServiceLB:
		return "is for no Service"
	case flows.TableServiceSource:
		if c.Kind() == flows.KindNode {
			return "gets a source address of this node: its answers have to come back here"
		}
		return "keeps its source"
	case flows.TableRoute:
		switch c.Kind() {
		case flows.KindNode:
			return "leaves through the gateway"
		case flows.KindRemote:
			return "leaves through the tunnel to another node"
		}
		return "goes to a pod of this node"
	case flows.TableEgressPeer, flows.TableIngressPeer:
		if strings.Contains(s.Match, "in_port") && c.Kind() == flows.KindNode {
			return "comes from the node itself: always allowed"
		}
		if c.Kind() == flows.KindPort && slices.Contains(s.Actions, "resubmit(,"+strconv.Itoa(int(table))+")") {
			return "the rules of its pod are asked about the endpoint"
		}
		if s.Priority > 0 {
			return "needs no look at the other end"
		}
		return "the other end is no pod that a rule names"
	case flows.TableEgressBlock, flows.TableIngressBlock:
		return "the other end lies in no block"
	case flows.TableEgressPolicy, flows.TableIngressPolicy:
		if s.Priority > 0 {
			return "no rule of this page matches"
		}
		return "no rule matches"
	case flows.TableEgressDefault, flows.TableIngressDefault:
		return "not isolated: allowed"
	case flows.TableCommit:
		if c.Kind() == flows.KindAllowed {
			return "told of, as somebody watches"
		}
		return "commits the connection with its rules"
	case flows.TableOutput:
		return "sent out"
	}
	return ""
}

// portName returns the name of the pod's port with a number, or the number.
func portName(v enforce.View, ofport uint32) string {
	for name, p := range v.Ports() {
		if p.OFPort == ofport {
			return name
		}
	}
	if n, err := v.Node(); err == nil {
		switch ofport {
		case n.GatewayOFPort:
			return "gateway"
		case n.TunnelOFPort:
			return "tunnel"
		}
	}
	return strconv.Itoa(int(ofport))
}
