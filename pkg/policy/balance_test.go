package policy

import (
	"fmt"

	"github.com/sluice-cni/sluice/flows"
)

// balance checks that every set, watch, term and block a compiler holds is held
// by a policy, as often as is counted.
func balance(c *Compiler) error {
	refs, watches := map[*set]int{}, map[watch]int{}
	terms, blocks := [2]map[*group]int{{}, {}}, map[*block]int{}
	for _, p := range c.policies {
		if p.subject != nil {
			refs[p.subject]++
		}
		for _, s := range p.peers {
			refs[s]++
		}
		for _, w := range p.watches {
			watches[w]++
		}
		for _, r := range p.rules {
			dir := r.source.direction
			terms[dir][r.subject]++
			for _, g := range r.peers {
				terms[dir][g]++
			}
			for _, b := range r.blocks {
				blocks[b]++
			}
		}
	}
	for _, u := range []*universe{c.subjects, c.peers} {
		for _, sc := range u.scopes {
			if len(sc.sets) == 0 {
				return fmt.Errorf("scope %+v has no sets", sc.key)
			}
			for _, s := range sc.sets {
				if s.refs != refs[s] {
					return fmt.Errorf("%s has %d references, %d are held", s.selection, s.refs, refs[s])
				}
				if err := balanceGroup(&s.group, terms); err != nil {
					return fmt.Errorf("%s: %v", s.selection, err)
				}
				for name, r := range s.named {
					users := 0
					for _, n := range r.users {
						users += n
					}
					if users == 0 || users != watches[watch{s, name}] {
						return fmt.Errorf("%s port %s has %d watches, %d are held", s.selection, name.name, users, watches[watch{s, name}])
					}
					for n, g := range r.byNumber {
						if err := balanceGroup(g, terms); err != nil {
							return fmt.Errorf("%s port %s=%d: %v", s.selection, name.name, n, err)
						}
					}
				}
			}
		}
	}
	for _, dir := range flows.Directions {
		for text, b := range c.blocks[dir].byText {
			if b.refs == 0 || b.refs != blocks[b] {
				return fmt.Errorf("block %s has %d references, %d are held", text, b.refs, blocks[b])
			}
		}
	}
	return nil
}

func balanceGroup(g *group, held [2]map[*group]int) error {
	for _, dir := range flows.Directions {
		if t := g.terms[dir]; t.refs != held[dir][g] || (t.handle != 0) != (t.refs > 0) {
			return fmt.Errorf("%s term %d has %d references, %d are held", dir, t.handle, t.refs, held[dir][g])
		}
	}
	return nil
}
