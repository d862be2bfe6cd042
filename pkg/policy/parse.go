package policy

import (
	"cmp"
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// parsed is a policy as the compiler reads it. It depends on nothing but the
// policy itself and is never changed.
type parsed struct {
	subject podSelection
	// isolates says in which directions the policy isolates its subjects.
	isolates [2]bool
	// rules are the rules that can match something, in order.
	rules    []*parsedRule
	problems []Problem
}

// parsedRule is one entry of spec.ingress or spec.egress.
type parsedRule struct {
	direction flows.Direction
	index     int
	// anyPeer is true if the rule names no peers: every address will do.
	anyPeer bool
	// peers and blocks are the rule's peers, without duplicates.
	peers  []podSelection
	blocks []flows.Block
	// anyService is true if the rule names no ports: all traffic is meant.
	anyService bool
	// services are the ports given by number, merged; named those given by name.
	services []flows.Service
	named    []portName
}

// parser reads one policy and collects what is wrong with it.
type parser struct {
	policy   cluster.Key
	problems []Problem
}

// report adds a problem with a field.
func (p *parser) report(field, format string, args ...any) {
	p.problems = append(p.problems, Problem{Policy: p.policy, Field: field, Message: fmt.Sprintf(format, args...)})
}

// index returns the path of an element of a list field.
func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parse reads a policy.
func parse(np *networkingv1.NetworkPolicy) *parsed {
	p := &parser{policy: cluster.Key{Namespace: np.Namespace, Name: np.Name}}
	out := &parsed{
		subject: podSelection{namespace: np.Namespace, pods: p.selector("spec.podSelector", &np.Spec.PodSelector)},
	}
	subjectKnown := len(p.problems) == 0
	out.isolates = p.isolates(&np.Spec)
	var rules []*parsedRule
	if out.isolates[flows.Ingress] {
		for i, r := range np.Spec.Ingress {
			rules = append(rules, p.rule(flows.Ingress, i, r.From, r.Ports))
		}
	}
	if out.isolates[flows.Egress] {
		for i, r := range np.Spec.Egress {
			rules = append(rules, p.rule(flows.Egress, i, r.To, r.Ports))
		}
	}
	// Without a sound podSelector it's not known whom the rules were to serve.
	if subjectKnown {
		out.rules = slices.DeleteFunc(rules, func(r *parsedRule) bool { return r == nil })
	}
	out.problems = p.problems
	return out
}

// isolates reads spec.policyTypes, or what the API says of a policy without.
func (p *parser) isolates(spec *networkingv1.NetworkPolicySpec) [2]bool {
	if len(spec.PolicyTypes) == 0 {
		return [2]bool{flows.Ingress: true, flows.Egress: len(spec.Egress) > 0}
	}
	var out [2]bool
	for i, t := range spec.PolicyTypes {
		switch t {
		case networkingv1.PolicyTypeIngress:
			out[flows.Ingress] = true
		case networkingv1.PolicyTypeEgress:
			out[flows.Egress] = true
		default:
			p.report(index("spec.policyTypes", i), "%q is not one of Ingress, Egress", t)
			out = [2]bool{true, true}
		}
	}
	return out
}

// rule reads a rule; nil if it has a problem.
func (p *parser) rule(dir flows.Direction, i int, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) *parsedRule {
	before := len(p.problems)
	r := &parsedRule{direction: dir, index: i, anyPeer: len(peers) == 0, anyService: len(ports) == 0}
	path := index("spec."+dir.String(), i)
	list := path + ".from"
	if dir == flows.Egress {
		list = path + ".to"
	}
	for j := range peers {
		p.peer(r, index(list, j), &peers[j])
	}
	for j := range ports {
		p.port(r, index(path+".ports", j), &ports[j])
	}
	if len(p.problems) > before {
		return nil
	}
	r.services = mergeServices(r.services)
	slices.SortFunc(r.named, func(a, b portName) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.protocol, b.protocol))
	})
	r.named = slices.Compact(r.named)
	return r
}

// peer reads an item of from or to into a rule.
func (p *parser) peer(r *parsedRule, path string, in *networkingv1.NetworkPolicyPeer) {
	selects := in.PodSelector != nil || in.NamespaceSelector != nil
	switch {
	case in.IPBlock != nil && selects:
		p.report(path, "ipBlock can't be combined with a selector")
	case in.IPBlock != nil:
		if b, ok := p.block(path+".ipBlock", in.IPBlock); ok {
			r.blocks = append(r.blocks, b)
		}
	case selects:
		sel := podSelection{namespace: p.policy.Namespace, pods: everything}
		if in.PodSelector != nil {
			sel.pods = p.selector(path+".podSelector", in.PodSelector)
		}
		if in.NamespaceSelector != nil {
			sel.namespace = ""
			sel.namespaces = p.selector(path+".namespaceSelector", in.NamespaceSelector)
		}
		r.peers = append(r.peers, sel)
	default:
		p.report(path, "names neither a podSelector, a namespaceSelector nor an ipBlock")
	}
}
