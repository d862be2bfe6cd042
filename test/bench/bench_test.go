package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/flows"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	var took times
	for i := 100; i > 0; i-- {
		took = append(took, time.Duration(i))
	}
	for p, want := range map[int]time.Duration{0: 1, 1: 1, 50: 50, 99: 99, 100: 100} {
		if got := took.percentile(p); got != want {
			t.Errorf("p%d of 1 to 100 is %d, want %d", p, got, want)
		}
	}
	if got := (times{7}).percentile(99); got != 7 {
		t.Errorf("p99 of one time is %d, want 7", got)
	}
	if got := (times)(nil).percentile(50); got != 0 {
		t.Errorf("p50 of nothing is %d, want 0", got)
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	for want, all := range map[float64][]float64{7: {7}, 2: {3, 1, 2}, 5: {9, 5, 1, 4}} {
		if got := median(all); got != want {
			t.Errorf("the median of %v is %v, want %v", all, got, want)
		}
	}
}

func TestQuantitiesAreReadable(t *testing.T) {
	for want, q := range map[string]quantity{
		"1.5 ms":       seconds(1500 * time.Microsecond),
		"250 ms":       seconds(250 * time.Millisecond),
		"12.3 s":       seconds(12345 * time.Millisecond),
		"0 ns":         seconds(0),
		"42":           count(42),
		"100686":       count(100686),
		"999 B":        size(999),
		"540 kB":       size(540_000),
		"21 MB":        size(21_000_000),
		"0.424 Gbit/s": {0.42412, "Gbit/s"},
	} {
		if got := q.String(); got != want {
			t.Errorf("%v reads %q, want %q", q.n, got, want)
		}
	}
}

// The reference of the sharing benchmark must be what it says: as many actions in
// each shared flow as there are rules.
func TestTheClassicalCompileRepeatsEveryAddressInEveryRule(t *testing.T) {
	c := &classical{subjects: []uint32{2}, rules: 3}
	for i := range 4 {
		c.peers = append(c.peers, peerAddr(i))
	}
	all := c.all()
	if got, want := len(all.Add), 1+4+3*3; got != want {
		t.Errorf("3 rules over 1 subject and 4 peers are %d flows, want %d", got, want)
	}
	for _, f := range all.Add[:5] {
		if len(f.Actions) != 3 {
			t.Errorf("flow %v has %d actions, want one for each rule", f.Matches, len(f.Actions))
		}
	}
	if got := len(c.addRule().Add); got != 1+4+3 {
		t.Errorf("a rule more changes %d flows, want all shared ones and its own", got)
	}
	if got := strings.Count(c.addPeer(peerAddr(4)).String(), "conjunction("); got != 4 {
		t.Errorf("a peer more is in %d clauses, want 4", got)
	}
}

func TestTheLargeNodeHasAHundredThousandFlows(t *testing.T) {
	p := flows.New()
	if _, err := p.Apply(largeNode()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range p.Flows() {
		n++
	}
	if n < 100_000 {
		t.Errorf("the large node has %d flows", n)
	}
}
