package openflow

import (
	"bufio"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
	"github.com/sluice-cni/sluice/ovs/sandbox"
)

// nativeBridge is a bridge with both ways to speak to it.
func nativeBridge(t testing.TB) (byNative, byOfctl *Bridge, s *sandbox.Sandbox) {
	t.Helper()
	b, s := testBridge(t)
	byNative, err := Open(Config{Target: b.target, RunDir: s.RunDir(), Native: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { byNative.native.channel.Close() })
	return byNative, &Bridge{target: b.target, ofctl: b.ofctl}, s
}

// foreign are the actions and fields that are left to ovs-ofctl.
var foreign = []string{"limit=", "tun_flags", "output(", "bundle(", "dec_ttl("}

func isForeign(text string) bool {
	return slices.ContainsFunc(foreign, func(s string) bool { return strings.Contains(text, s) })
}

// pipelineFlows are the corpus and all flows that the pipeline's golden file
// has: what the native channel must know.
func pipelineFlows(t testing.TB) []*ovs.Flow {
	t.Helper()
	var flows []*ovs.Flow
	for _, c := range flowCorpus {
		if !isForeign(c.in) {
			flows = append(flows, parseFlow(t, c.in))
		}
	}
	for _, s := range ndResponder[:2] {
		flows = append(flows, parseFlow(t, s))
	}
	file, err := os.Open("../../flows/testdata/sample.flows")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// The tables are in the order of their numbers, which begin at 20 here to keep
	// off those of the corpus.
	var tables []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		table, rest, _ := strings.Cut(lines.Text(), " ")
		if !slices.Contains(tables, table) {
			tables = append(tables, table)
		}
		_, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
		f := parseFlow(t, text)
		f.Table, f.Cookie = 20+slices.Index(tables, table), uint64(len(flows))
		for i, a := range f.Actions {
			if n, ok := strings.CutPrefix(string(a.(RawAction)), "goto_table:"); ok {
				f.Actions[i] = RawAction("goto_table:" + string(appendPort(nil, 20+number64(n))))
			}
		}
		flows = append(flows, f)
	}
	return flows
}

// groupsOf returns an empty group for each that flows lead to.
func groupsOf(flows []*ovs.Flow) []*Group {
	var groups []*Group
	for _, f := range flows {
		for _, a := range f.Actions {
			n, ok := strings.CutPrefix(string(a.(RawAction)), "group:")
			if id := uint32(number64(n)); ok && !slices.ContainsFunc(groups, func(g *Group) bool { return g.ID == id }) {
				groups = append(groups, &Group{ID: id, Type: Select})
			}
		}
	}
	return groups
}

func number64(s string) uint64 { v, _ := parseInt(s); return v.lo }

// encodeFlow encodes a flow that must be known.
func encodeFlow(t testing.TB, f *ovs.Flow) *ofp.FlowMod {
	t.Helper()
	mod, err := (&encoder{}).flow(f, false)
	if err != nil {
		t.Errorf("%s: %v", Text(f), err)
		return nil
	}
	return mod
}

// decodedText is the text of a flow that was sent as a message and read again.
func decodedText(t testing.TB, mod *ofp.FlowMod) string {
	t.Helper()
	wire, err := ofp.Append(nil, 7, mod)
	if err != nil {
		t.Fatal(err)
	}
	_, m, err := ofp.Parse(wire)
	if err != nil {
		t.Fatalf("%x: %v", wire, err)
	}
	got := m.(*ofp.FlowMod)
	text, err := appendFlowDesc(nil, &ofp.FlowDesc{
		Table: got.Table, Priority: got.Priority, IdleTimeout: got.IdleTimeout, HardTimeout: got.HardTimeout, Flags: got.Flags,
		Importance: got.Importance, Cookie: got.Cookie, Match: got.Match, Instructions: got.Instructions,
	}, false)
	if err != nil {
		t.Fatalf("%x: %v", wire, err)
	}
	return Text(parseFlow(t, string(text)))
}

func TestEncodedFlowHasItsTextAgain(t *testing.T) {
	for _, f := range pipelineFlows(t) {
		mod := encodeFlow(t, f)
		if mod == nil {
			continue
		}
		if got, want := decodedText(t, mod), Text(f); got != want {
			t.Errorf("decoded\n got %s\nwant %s", got, want)
		}
	}
}

// What is sent natively is dumped by ovs-ofctl as it was given, and natively as
// by ovs-ofctl.
func TestBothChannelsDumpWhatWasCommittedNatively(t *testing.T) {
	b, ofctl, _ := nativeBridge(t)
	ctx := testContext(t)
	flows := pipelineFlows(t)
	if err := b.native.commit(ctx, &Transaction{SetGroups: groupsOf(flows), Add: flows}); err != nil {
		t.Fatal(err)
	}
	sameDumps(t, b, ofctl, flows)
	if err := b.native.commit(ctx, &Transaction{Delete: flows[1:]}); err != nil {
		t.Fatal(err)
	}
	sameDumps(t, b, ofctl, flows[:1])
	// A single change takes a shorter way.
	for _, f := range flows {
		if err := b.native.commit(ctx, &Transaction{Add: []*ovs.Flow{f}}); err != nil {
			t.Fatal(err)
		}
	}
	sameDumps(t, b, ofctl, flows)
	if err := b.native.commit(ctx, &Transaction{Delete: flows[:1]}); err != nil {
		t.Fatal(err)
	}
	sameDumps(t, b, ofctl, flows[1:])
}

// sameDumps compares native dumps with those of ovs-ofctl, of all flows and with
// several matches.
func sameDumps(t *testing.T, b, ofctl *Bridge, want []*ovs.Flow) {
	t.Helper()
	dump := func(b *Bridge, match string) []string {
		var flows []*ovs.Flow
		add := func(f *ovs.Flow) error { flows = append(flows, f); return nil }
		var err error
		if o := (DumpOptions{Match: match, Stats: true}); b.native != nil {
			err = b.native.eachFlow(testContext(t), o, add)
		} else {
			err = b.EachFlow(testContext(t), o, add)
		}
		if err != nil {
			t.Fatal(err)
		}
		return texts(flows)
	}
	sameTexts(t, dump(ofctl, ""), texts(want))
	for _, match := range []string{"", "table=1", "table=24,ip", "cookie=0x5/0xf", "cookie=31/-1", "tcp,tp_dst=80", "icmp6,icmp_type=135"} {
		sameTexts(t, dump(b, match), dump(ofctl, match))
	}
}

func TestWhatTheNativeChannelDoesNotKnowGoesToOvsOfctl(t *testing.T) {
	b, ofctl, _ := nativeBridge(t)
	ctx := testContext(t)
	tr := &Transaction{Add: []*ovs.Flow{parseFlow(t, "table=1,priority=1,actions=learn(table=4,priority=5,limit=9,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])")}}
	if err := b.native.commit(ctx, tr); !errors.Is(err, errUnencodable) {
		t.Fatalf("got %v", err)
	}
	// In a transaction the switch has already begun to take, too.
	tr.Add = append(manyFlows()[:2000:2000], tr.Add...)
	if err := b.Commit(ctx, tr); err != nil {
		t.Fatal(err)
	}
	want, err := ofctl.DumpFlows(ctx)
	if err != nil || len(want) != 2001 {
		t.Fatalf("%d flows, error %v", len(want), err)
	}
	got, err := b.DumpFlows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sameTexts(t, texts(got), texts(want))
	if err := b.native.eachFlow(ctx, DumpOptions{}, func(*ovs.Flow) error { return nil }); !leave(err) {
		t.Errorf("native dump: %v", err)
	}
}

func TestNativeChannelOutlivesTheSwitch(t *testing.T) {
	b, ofctl, s := nativeBridge(t)
	ctx := testContext(t)
	f := manyFlows()[0]
	if err := b.Commit(ctx, &Transaction{Add: []*ovs.Flow{f}}); err != nil {
		t.Fatal(err)
	}
	if err := s.StopVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(ctx, &Transaction{Add: []*ovs.Flow{f}}); err == nil {
		t.Error("commit without a switch: no error")
	}
	if err := s.StartVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	unchanged(t, b)
	if err := b.Commit(ctx, &Transaction{Add: []*ovs.Flow{f}}); err != nil {
		t.Fatal(err)
	}
	unchanged(t, ofctl, f)
}

func TestEndedContextEndsNativeCommit(t *testing.T) {
	b, _, _ := nativeBridge(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Commit(ctx, &Transaction{Add: manyFlows()[:5]}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unchanged(t, b)
}
