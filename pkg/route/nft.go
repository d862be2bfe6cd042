package route

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

// rule returns a rule whose comment says what it is for, and with a hash what it
// does: the tool tells of a rule no more than its comment.
func rule(chain, what, text string) *knftables.Rule {
	h := fnv.New32a()
	h.Write([]byte(text))
	comment := fmt.Sprintf("%s (%08x)", what, h.Sum32())
	return &knftables.Rule{Chain: chain, Rule: text, Comment: &comment}
}

// equalRules reports whether rules that were listed are those wanted.
func equalRules(have, want []*knftables.Rule) bool {
	return slices.EqualFunc(have, want, func(have, want *knftables.Rule) bool {
		return have.Chain == want.Chain && have.Comment != nil && *have.Comment == *want.Comment
	})
}

func quote(s string) string { return `"` + s + `"` }

// remove has a transaction end without the table, whether it is there or not.
func remove(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
}

// removeTable removes a table of family inet. A machine without nft has none.
func removeTable(ctx context.Context, name string) error {
	nft, err := knftables.New(knftables.InetFamily, name)
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	tx := nft.NewTransaction()
	remove(tx)
	return nft.Run(ctx, tx)
}

// elements is what is in a set or a map, by key; in a set nothing has a value. The
// parts of keys and values are joined as nft joins them.
type elements map[string]string

// join is how nft joins the parts of a concatenation.
const join = " . "

// elementSet is a set or a map.
type elementSet struct {
	kind, name string // kind is "set" or "map"
	// protocol is which part of its keys is a protocol; negative if none.
	protocol int
}

// read lists what is in it.
func (s elementSet) read(ctx context.Context, nft knftables.Interface) (elements, error) {
	list, err := nft.ListElements(ctx, s.kind, s.name)
	if err != nil {
		return nil, err
	}
	out := make(elements, len(list))
	for _, e := range list {
		for i, part := range e.Key {
			if i == s.protocol {
				e.Key[i] = protocolName(part)
			} else {
				e.Key[i] = addrText(part)
			}
		}
		for i, part := range e.Value {
			e.Value[i] = addrText(part)
		}
		out[strings.Join(e.Key, join)] = strings.Join(e.Value, join)
	}
	return out, nil
}

// change brings it from one content to another. What goes is first: an interval
// that comes may overlap it.
func (s elementSet) change(tx *knftables.Transaction, from, to elements) {
	element := func(key, value string) *knftables.Element {
		e := &knftables.Element{Key: strings.Split(key, join)}
		if s.kind == "map" {
			e.Map, e.Value = s.name, strings.Split(value, join)
		} else {
			e.Set = s.name
		}
		return e
	}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if value, stays := to[key]; !stays || value != from[key] {
			tx.Delete(element(key, from[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		if value, there := from[key]; !there || value != to[key] {
			tx.Add(element(key, to[key]))
		}
	}
}

// protocolNames are nft's names of the protocols that have ports. It takes them
// always, but prints numbers where the machine has no /etc/protocols.
var protocolNames = map[string]string{"6": "tcp", "17": "udp", "132": "sctp"}

func protocolName(s string) string {
	if name, ok := protocolNames[s]; ok {
		return name
	}
	return s
}

// addrText writes an address as netip does: others print those that hold an IPv4
// address in another way.
func addrText(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String()
	}
	return s
}

// keys returns ranges of a family as nft prints them, without those that lie in
// another one: intervals of a set must not overlap.
func keys(ranges []netip.Prefix, of func(netip.Addr) bool) elements {
	out := elements{}
	for _, r := range outermost(ranges, of) {
		if r.IsSingleIP() {
			out[r.Addr().String()] = ""
		} else {
			out[r.String()] = ""
		}
	}
	return out
}

// outermost returns ranges of a family, in order, without those that lie in
// another one.
func outermost(ranges []netip.Prefix, of func(netip.Addr) bool) []netip.Prefix {
	var rs []netip.Prefix
	for _, r := range ranges {
		if of(r.Addr()) {
			rs = append(rs, r.Masked())
		}
	}
	// By address, and of those with the same the widest first.
	slices.SortFunc(rs, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	out := rs[:0]
	var last netip.Prefix
	for _, r := range rs {
		if last.IsValid() && last.Contains(r.Addr()) {
			continue
		}
		last = r
		out = append(out, r)
	}
	return out
}
