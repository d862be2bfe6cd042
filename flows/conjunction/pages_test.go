package conjunction

import (
	"fmt"
	"testing"
)

// Rules of many subjects that come by turns must not spread each subject over
// all pages: a packet is asked every page of its subject's chain, and a switch
// follows no more than 64 (ovs-actions(7), "resubmit").
func TestSubjectsWhoseRulesComeByTurnsStayOnFewPages(t *testing.T) {
	const subjects, rulesEach, pageSize = 50, 200, 16
	table := New(Layout{PageSize: pageSize, ClauseCookie: func(uint32) uint64 { return 0 }})
	for s := range uint32(subjects) {
		table.SetClass(Subject, s+1, []uint32{s + 1})
	}
	for i := range rulesEach {
		for s := range uint32(subjects) {
			table.SetRule(fmt.Sprintf("%d/%d", s, i), uint64(i), Rule{Subjects: []uint32{s + 1}, AnyPeer: true})
		}
	}
	most := maxShared + (rulesEach+pageSize-1)/pageSize
	pages := map[uint32]bool{}
	for s := range uint32(subjects) {
		chain := table.Chain(s + 1)
		if len(chain) > most {
			t.Errorf("subject %d with %d rules is on %d pages of %d, want at most %d", s+1, rulesEach, len(chain), pageSize, most)
		}
		for _, p := range chain {
			pages[p] = true
		}
	}
	// Each subject may leave one page of its own half full.
	if room := subjects + subjects*rulesEach/pageSize; len(pages) > room {
		t.Errorf("%d rules are on %d pages, want at most %d", subjects*rulesEach, len(pages), room)
	}
}

// A page of one's own is everybody's again once it has been empty.
func TestAPageThatHasBecomeEmptyIsUsedAgain(t *testing.T) {
	p := pages{}
	p.init(1)
	for range maxShared {
		p.take(nil)
	}
	own := p.take([]uint32{1, 2, 3, 4})
	if own != maxShared+1 {
		t.Fatalf("took page %d, want a new one", own)
	}
	p.give(own)
	if got := p.take(nil); got != own {
		t.Errorf("took page %d, want %d", got, own)
	}
	if len(p.own) != 0 {
		t.Errorf("pages of their own are still %v", p.own)
	}
}
