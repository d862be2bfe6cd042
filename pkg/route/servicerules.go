package route

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

// The chains of ServiceTable.
const (
	// chainFromBridge refuses what the bridge gives back.
	chainFromBridge = "from-bridge"
	// chainRefuseIn and chainRefuseOut refuse what nobody serves: the one what comes
	// from outside, from pods, or from the node to itself; the other what the node
	// sends out, of whose senders the kernel would not tell later who they were.
	chainRefuseIn  = "refuse-in"
	chainRefuseOut = "refuse-out"
	// chainLeadIn and chainLeadOut translate what is to go to the bridge.
	chainLeadIn  = "lead-in"
	chainLeadOut = "lead-out"
	// chainRefuse is how to refuse.
	chainRefuse = "refuse"
)

// serviceChains are the chains in the order in which they are made.
func serviceChains() []*knftables.Chain {
	base := func(name string, typ knftables.BaseChainType, hook knftables.BaseChainHook, priority knftables.BaseChainPriority) *knftables.Chain {
		return &knftables.Chain{Name: name, Type: &typ, Hook: &hook, Priority: &priority}
	}
	return []*knftables.Chain{
		{Name: chainRefuse},
		// Before connection tracking. What comes back of a connection of the node's own
		// would be taken for another one with the same ends, and so would the refusal.
		base(chainFromBridge, knftables.FilterType, knftables.PreroutingHook, knftables.RawPriority),
		// After it. Only who begins a connection means the Service: the same port may be
		// one of the node's own as a client. And before anything is translated.
		base(chainRefuseIn, knftables.FilterType, knftables.PreroutingHook, knftables.ManglePriority),
		base(chainRefuseOut, knftables.FilterType, knftables.OutputHook, knftables.ManglePriority),
		base(chainLeadIn, knftables.NATType, knftables.PreroutingHook, knftables.DNATPriority),
		base(chainLeadOut, knftables.NATType, knftables.OutputHook, knftables.DNATPriority),
	}
}

// serviceRules are the rules in their order.
func (s *Services) serviceRules() []*knftables.Rule {
	gateway := quote(s.gateway)
	rules := []*knftables.Rule{
		// A reset is what a TCP client takes at once for a refusal; others take the error.
		rule(chainRefuse, "refused TCP", "meta l4proto tcp counter reject with tcp reset"),
		rule(chainRefuse, "refused, of other protocols", "counter reject with icmpx type port-unreachable"),
		rule(chainFromBridge, "not from the bridge", "iifname != "+gateway+" accept"),
		rule(chainRefuseIn, "begun before", "ct state != new accept"),
		rule(chainRefuseOut, "begun before", "ct state != new accept"),
		// Pods' connections are the bridge's own matter: it has seen them, and led them
		// on if somebody serves.
		rule(chainLeadIn, "from the bridge", "iifname "+gateway+" accept"),
	}
	for _, f := range serviceFamilies {
		rules = append(rules,
			rule(chainFromBridge, "Services' addresses", knftables.Concat(f.proto, "daddr", "@", f.addrs.name, "goto", chainRefuse)),
			rule(chainFromBridge, "Services' ranges", knftables.Concat(f.proto, "daddr", "@", f.ranges.name, "goto", chainRefuse)),
		)
		refused := knftables.Concat(f.addressPort(), "@", f.refused.name)
		rules = append(rules,
			rule(chainRefuseIn, "node ports nobody serves", knftables.Concat(f.nodePort(f.refusedNodePorts), "goto", chainRefuse)),
			rule(chainRefuseIn, "addresses nobody serves", knftables.Concat(refused, "goto", chainRefuse)),
			rule(chainRefuseOut, "addresses nobody serves", knftables.Concat(refused, "fib daddr type != local goto", chainRefuse)),
		)
		for _, c := range []string{chainLeadIn, chainLeadOut} {
			rules = append(rules,
				rule(c, "shared ports", knftables.Concat(f.outward, "dnat", f.proto, "to", f.addressPort(), "map", "@", f.shared.name)),
				rule(c, "node ports", knftables.Concat(f.nodePort(f.nodePorts), "counter dnat", f.proto, "to", f.hop)),
			)
		}
	}
	return rules
}

// nodePort matches a connection to an address of the node at one of a set of
// ports.
func (f *serviceFamily) nodePort(set elementSet) string {
	return knftables.Concat("meta l4proto . th dport", "@", set.name, f.outward, "fib daddr type local")
}

// addressPort is the key of ports at addresses.
func (f *serviceFamily) addressPort() string {
	return knftables.Concat(f.proto, "daddr . meta l4proto . th dport")
}

// ensureRules writes the difference between the table and what it should be.
func (s *Services) ensureRules(ctx context.Context, state *ServiceState, check Check) (changed bool, err error) {
	defer func() {
		if err != nil {
			s.known = nil
			err = fmt.Errorf("services: nftables table inet %s: %w", ServiceTable, err)
		}
	}()
	if err := s.look(ctx, check); err != nil {
		return false, err
	}
	tx := s.nft.NewTransaction()
	have := s.known
	if have == nil {
		s.rebuild(tx)
		have = new([NumFamilies][]content)
	}
	var now [NumFamilies][]content
	for f := range serviceFamilies {
		now[f] = serviceFamilies[f].content(state)
		for i, want := range now[f] {
			var old elements
			if have[f] != nil {
				old = have[f][i].elements
			}
			want.set.change(tx, old, want.elements)
			s.stale.note(Family(f), want.set, old, want.elements)
		}
	}
	if tx.NumOperations() == 0 {
		return false, nil
	}
	if err := s.nft.Run(ctx, tx); err != nil {
		return false, fmt.Errorf("write: %w", err)
	}
	s.known = &now
	return true, nil
}

// look leaves in known what the table holds, nil if it is not as rebuild makes it.
func (s *Services) look(ctx context.Context, check Check) error {
	if s.known == nil {
		check = CheckAll
	}
	if check == CheckNothing {
		return nil
	}
	have, err := s.nft.List(ctx, "chains")
	if err != nil && !knftables.IsNotFound(err) {
		return fmt.Errorf("list chains: %w", err)
	}
	var want []string
	for _, c := range serviceChains() {
		want = append(want, c.Name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		s.known = nil
		return nil
	}
	if check == CheckTable {
		return nil
	}
	s.known, err = s.read(ctx)
	if knftables.IsNotFound(err) {
		err = nil
	}
	return err
}

// read reads the table; it returns nil if its rules are not those of rebuild.
func (s *Services) read(ctx context.Context) (*[NumFamilies][]content, error) {
	rules, err := s.nft.ListRules(ctx, "") // of all chains
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	// By chains, which nft lists in an order of its own.
	byChain := func(rs []*knftables.Rule) []*knftables.Rule {
		slices.SortStableFunc(rs, func(a, b *knftables.Rule) int { return strings.Compare(a.Chain, b.Chain) })
		return rs
	}
	if !equalRules(byChain(rules), byChain(s.serviceRules())) {
		return nil, nil
	}
	var out [NumFamilies][]content
	for f := range serviceFamilies {
		for _, set := range serviceFamilies[f].all() {
			es, err := set.read(ctx, s.nft)
			if err != nil {
				return nil, fmt.Errorf("read %s %s: %w", set.kind, set.name, err)
			}
			out[f] = append(out[f], content{set, es})
		}
	}
	return &out, nil
}

// rebuild replaces the table, whatever it holds.
func (s *Services) rebuild(tx *knftables.Transaction) {
	remove(tx)
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("Services of the sluice-agent; changes are undone")})
	for _, f := range serviceFamilies {
		f.define(tx)
	}
	for _, c := range serviceChains() {
		tx.Add(c)
	}
	for _, r := range s.serviceRules() {
		tx.Add(r)
	}
}
