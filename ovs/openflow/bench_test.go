package openflow

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

const many = 100_000

// manyFlows are flows as a large node has: most map an address to an identity.
func manyFlows() []*ovs.Flow {
	flows := make([]*ovs.Flow, 0, many)
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range many {
		addr = addr.Next()
		f := &ovs.Flow{Table: 4, Priority: 132, Cookie: uint64(i), Protocol: "ip", Matches: []ovs.Match{ovs.FieldMatch("nw_src", addr.String())},
			Actions: []ovs.Action{RawAction(fmt.Sprintf("set_field:%#x->reg3", i)), RawAction("goto_table:5")}}
		if i%4 == 0 {
			f.Table, f.Protocol, f.Matches = 6, "tcp", []ovs.Match{ovs.FieldMatch("reg3", fmt.Sprintf("%#x", i)), ovs.FieldMatch("tp_dst", fmt.Sprint(i%1000+1))}
			f.Actions = []ovs.Action{ovs.Conjunction(i+1, 1, 3), ovs.Conjunction(i+2, 2, 3)}
		}
		flows = append(flows, f)
	}
	return flows
}

func BenchmarkCommitOneFlow(b *testing.B) {
	bridge, _ := testBridge(b)
	flow := manyFlows()[0]
	for b.Loop() {
		if err := bridge.Commit(b.Context(), &Transaction{Add: []*ovs.Flow{flow}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommitManyFlows(b *testing.B) {
	bridge, s := testBridge(b)
	flows := manyFlows()
	for b.Loop() {
		b.StopTimer()
		sandboxtest.Run(b, s, "ovs-ofctl", "-O", "OpenFlow15", "del-flows", bridge.Target())
		b.StartTimer()
		if err := bridge.Commit(b.Context(), &Transaction{Add: flows}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(many*b.N)/b.Elapsed().Seconds(), "flows/s")
}

// BenchmarkOvsOfctlManyFlows is what BenchmarkCommitManyFlows is held against.
func BenchmarkOvsOfctlManyFlows(b *testing.B) {
	bridge, s := testBridge(b)
	var text strings.Builder
	for _, f := range manyFlows() {
		text.WriteString(Text(f) + "\n")
	}
	for b.Loop() {
		b.StopTimer()
		sandboxtest.Run(b, s, "ovs-ofctl", "-O", "OpenFlow15", "del-flows", bridge.Target())
		b.StartTimer()
		sandboxtest.RunInput(b, s, text.String(), "ovs-ofctl", "-O", "OpenFlow15", "--bundle", "add-flows", bridge.Target(), "-")
	}
	b.ReportMetric(float64(many*b.N)/b.Elapsed().Seconds(), "flows/s")
}

func BenchmarkDumpManyFlows(b *testing.B) {
	bridge, _ := testBridge(b)
	if err := bridge.Commit(b.Context(), &Transaction{Add: manyFlows()}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if flows, err := bridge.DumpFlows(b.Context()); err != nil || len(flows) != many {
			b.Fatal(len(flows), err)
		}
	}
}

func BenchmarkDiffManyFlows(b *testing.B) {
	desired := manyFlows()
	actual := make([]*ovs.Flow, 0, many)
	for _, f := range desired {
		actual = append(actual, parseFlow(b, Text(f)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if tr := Diff(slices.Values(desired), actual); !tr.Empty() {
			b.Fatal(tr.Len())
		}
	}
}
