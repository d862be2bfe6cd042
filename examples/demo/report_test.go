package main

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/examples"
	"github.com/sluice-cni/sluice/test/bed"
)

var update = flag.Bool("update", false, "write the golden files anew")

// expected reads what an example expects.
func expected(t *testing.T, name string) []examples.Expectation {
	t.Helper()
	list, err := examples.ReadExpected(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// asExpected are the results of a run in which all is as it should be.
func asExpected(t *testing.T, name string) (out []result) {
	t.Helper()
	for _, x := range expected(t, name) {
		r := result{Expectation: x}
		for _, family := range []int{4, 6} {
			outside := x.From.Addr
			if x.To.Outside() {
				outside = x.To.Addr
			}
			if !outside.IsValid() || outside.Is4() == (family == 4) {
				r.seen = append(r.seen, outcome{family: family, allowed: x.Allow})
			}
		}
		out = append(out, r)
	}
	return out
}

func TestMatrixIsLaidOutAsInGoldenFiles(t *testing.T) {
	for _, tc := range []struct {
		golden, example string
		style           style
		spoil           func([]result)
	}{
		{"guarded-database", "guarded-database", style{symbols: true, width: 120}, nil},
		{"words", "guarded-database", style{width: 120}, nil},
		{"external-access", "external-access", style{symbols: true, width: 100}, nil},
		{"narrow", "three-tiers", style{symbols: true, width: 40}, nil},
		{"tenants", "tenants", style{symbols: true, width: 120}, nil},
		{"colour", "guarded-database", style{symbols: true, color: true, width: 120}, func(r []result) { r[0].seen[0].allowed = false }},
		{"mismatches", "guarded-database", style{symbols: true, width: 120}, func(r []result) {
			r[0].seen[0].allowed = false
			r[4].seen[0].allowed, r[4].seen[1].allowed = true, true
			r[7].seen[1] = outcome{family: 6, failed: errors.New("the datagram arrived, but no answer came back")}
		}},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			results := asExpected(t, tc.example)
			if tc.spoil != nil {
				tc.spoil(results)
			}
			var out bytes.Buffer
			if _, err := writeMatrix(&out, tc.style, results); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", tc.golden+".golden")
			if *update {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("-want +got (write anew with -update):\n%s", diff)
			}
		})
	}
}

func TestSummaryCountsEachProbeThatDiffers(t *testing.T) {
	results := asExpected(t, "guarded-database")
	results[0].seen[0].allowed = false
	results[4].seen[0].allowed = true
	results[4].seen[1].failed = errors.New("refused")
	n, err := writeMatrix(&bytes.Buffer{}, style{}, results)
	if err != nil || n != 3 {
		t.Errorf("%d mismatches (%v), want 3", n, err)
	}
	sum := tally{}
	sum.add(tally{examples: 1, connections: 13, probes: 26, mismatches: n, took: 2 * time.Second})
	sum.add(tally{examples: 1, connections: 2, probes: 2, took: 500 * time.Millisecond})
	want := "15 connections, 28 probes over IPv4 and IPv6, 3 MISMATCHES, 2.5 s"
	if got := sum.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConnectionThatNobodyTriedDoesNotHold(t *testing.T) {
	if (result{}).holds() {
		t.Error("holds without having been seen")
	}
}

func TestPlanHasAProbeForEachFamilyThatBothEndsHave(t *testing.T) {
	hosts := map[string]*bed.Host{}
	for _, x := range expected(t, "external-access") {
		for _, e := range []examples.End{x.From, x.To} {
			h := &bed.Host{Name: e.String(), Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}
			if e.Outside() {
				h.Addrs = []netip.Addr{e.Addr}
			}
			hosts[h.Name] = h
		}
	}
	list := expected(t, "external-access")
	probes, err := plan(list, hosts)
	if err != nil {
		t.Fatal(err)
	}
	families := make([]string, len(list))
	for _, p := range probes {
		families[p.row] += string(rune('0' + p.family))
	}
	for i, x := range list {
		want := "46"
		for _, e := range []examples.End{x.From, x.To} {
			if e.Outside() {
				want = "6"
				if e.Addr.Is4() {
					want = "4"
				}
			}
		}
		if families[i] != want {
			t.Errorf("%s is probed over %q, want %q", x, families[i], want)
		}
	}
}

func TestPlanRefusesWhatCantBeProbed(t *testing.T) {
	a := &bed.Host{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	b := &bed.Host{Addrs: []netip.Addr{netip.MustParseAddr("fd00::1")}}
	hosts := map[string]*bed.Host{"n/a": a, "n/b": b}
	for line, want := range map[string]string{
		"n/a n/c TCP 1 allow":  "n/a -> n/c TCP/1 allow: no manifest has a pod n/c",
		"n/c n/a TCP 1 allow":  "n/c -> n/a TCP/1 allow: no manifest has a pod n/c",
		"n/a n/b TCP 1 deny":   "n/a -> n/b TCP/1 deny: the ends have no address family in common",
		"n/a n/b SCTP 1 allow": "n/a -> n/b SCTP/1 allow: SCTP can't be probed, not every kernel has sockets for it",
	} {
		list, err := examples.ParseExpected(bytes.NewReader([]byte(line)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan(list, hosts); err == nil || err.Error() != want {
			t.Errorf("%s: got error %v, want %s", line, err, want)
		}
	}
}
