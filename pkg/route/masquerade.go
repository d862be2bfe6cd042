package route

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"sigs.k8s.io/knftables"
)

// Table is the name of the nftables table of family inet that holds all of this
// node's rules. Nothing in it jumps to another table, and none is needed.
const Table = "sluice"

// chain is where the rules are: the hook that a packet passes last, at the
// priority of source NAT.
const chain = "postrouting"

// family names what the rules of an address family are made of.
type family struct {
	proto    string // as nft calls it
	own, all string // the sets of the node's own and of all pod ranges
	of       func(netip.Addr) bool
}

var families = [...]family{
	{"ip", "node-pods-4", "cluster-pods-4", netip.Addr.Is4},
	{"ip6", "node-pods-6", "cluster-pods-6", netip.Addr.Is6},
}

// Masquerade gives traffic from this node's pods to outside of the cluster the
// node's address as its source (RFC 3022), since nobody outside knows a way to
// pods. Traffic between pods keeps its addresses, on this node and to any other,
// and so does what the node itself sends: only what came in by the gateway
// interface and leaves by another one is looked at.
//
// It needs the nft command and Linux 5.7, the first that knows at this hook where
// a packet has come from.
type Masquerade struct {
	nft     knftables.Interface
	gateway string
}

// OpenMasquerade returns what keeps the rules of a node whose pods are behind the
// interface gateway. It changes nothing yet.
func OpenMasquerade(gateway string) (*Masquerade, error) {
	nft, err := knftables.New(knftables.InetFamily, Table)
	if err != nil {
		return nil, fmt.Errorf("masquerading: %w", err)
	}
	return &Masquerade{nft: nft, gateway: gateway}, nil
}

// Ensure compares what the kernel holds with the rules for the node's own pod
// ranges and those of all nodes, and writes the difference in one transaction. It
// reports whether there was one. Where there is none, counters go on; where a
// range comes or goes, those of the rules do too.
func (m *Masquerade) Ensure(ctx context.Context, own, all []netip.Prefix) (changed bool, err error) {
	tx := m.nft.NewTransaction()
	whole, err := m.whole(ctx)
	if err != nil {
		return false, fmt.Errorf("masquerading: read table inet %s: %w", Table, err)
	}
	if !whole {
		m.rebuild(tx)
	}
	for _, f := range families {
		for _, s := range []struct {
			set  string
			want []netip.Prefix
		}{{f.own, own}, {f.all, append(slices.Clone(own), all...)}} {
			set := elementSet{kind: "set", name: s.set, protocol: -1}
			var have elements
			if whole {
				if have, err = set.read(ctx, m.nft); err != nil {
					return false, fmt.Errorf("masquerading: read set %s: %w", s.set, err)
				}
			}
			set.change(tx, have, keys(s.want, f.of))
		}
	}
	if tx.NumOperations() == 0 {
		return false, nil
	}
	if err := m.nft.Run(ctx, tx); err != nil {
		return false, fmt.Errorf("masquerading: write table inet %s: %w", Table, err)
	}
	return true, nil
}

// whole reports whether sets, chain and rules are there as rebuild makes them.
// What is in the sets is another question.
func (m *Masquerade) whole(ctx context.Context) (bool, error) {
	chains, err := m.nft.List(ctx, "chains")
	if knftables.IsNotFound(err) || err == nil && !slices.Contains(chains, chain) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	sets, err := m.nft.List(ctx, "sets")
	if err != nil {
		return false, err
	}
	for _, f := range families {
		if !slices.Contains(sets, f.own) || !slices.Contains(sets, f.all) {
			return false, nil
		}
	}
	rules, err := m.nft.ListRules(ctx, chain)
	if knftables.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return equalRules(rules, m.rules()), nil
}

// rebuild replaces the table, whatever it holds.
func (m *Masquerade) rebuild(tx *knftables.Transaction) {
	remove(tx)
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("rules of the sluice-agent; changes are undone")})
	for i, f := range families {
		typ := []string{"ipv4_addr", "ipv6_addr"}[i]
		for _, s := range [][2]string{{f.own, "pod ranges of this node"}, {f.all, "pod ranges of the cluster"}} {
			tx.Add(&knftables.Set{Name: s[0], Type: typ, Flags: []knftables.SetFlag{knftables.IntervalFlag}, Comment: &s[1]})
		}
	}
	tx.Add(&knftables.Chain{
		Name: chain, Type: knftables.PtrTo(knftables.NATType), Hook: knftables.PtrTo(knftables.PostroutingHook),
		Priority: knftables.PtrTo(knftables.SNATPriority),
	})
	for _, r := range m.rules() {
		tx.Add(r)
	}
}

// rules are the rules in their order. Ports are drawn at random: two connections
// that begin at once on two processors must not be given the same one.
func (m *Masquerade) rules() []*knftables.Rule {
	var out []*knftables.Rule
	for _, f := range families {
		out = append(out, rule(chain, "pods to outside the cluster", knftables.Concat(
			"iifname", quote(m.gateway), "oifname !=", quote(m.gateway),
			f.proto, "saddr", "@", f.own, f.proto, "daddr !=", "@", f.all,
			"counter masquerade fully-random",
		)))
	}
	return out
}
