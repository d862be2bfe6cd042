package openflow

import (
	"slices"
	"strconv"
	"testing"

	"github.com/sluice-cni/sluice/ovs/openflow/channel"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

func TestTotalsAreThoseOfTheSwitch(t *testing.T) {
	b, _, _ := nativeBridge(t)
	ctx := testContext(t)
	tx := &Transaction{}
	for _, f := range []string{
		"table=0,cookie=0x1000000000000,priority=1 actions=goto_table:3",
		"table=3,cookie=0x2000000000001,priority=2,ip actions=drop",
		"table=3,cookie=0x2000000000002,priority=2,arp actions=drop",
		"table=3,cookie=0x3000000000001,priority=1 actions=drop",
	} {
		tx.Add = append(tx.Add, parseFlow(t, f))
	}
	if err := b.Commit(ctx, tx); err != nil {
		t.Fatal(err)
	}
	before, err := b.Totals(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, etherType := range []byte{0, 0, 0, 6} { // three packets of IPv4, one of ARP
		frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, etherType}, make([]byte, 46)...)
		frame[14] = 0x45
		out := &ofp.PacketOut{
			Packet: frame, Actions: []ofp.Action{ofp.Resubmit{Port: ofp.ResubmitInPort, Table: 0}},
			Match: ofp.Match{{Field: ofp.FieldNamed("OXM_OF_IN_PORT"), Value: ofp.Value{Lo: 1}}},
		}
		if err := b.asked.Use(ctx, func(c *channel.Conn) error { return c.Do(ctx, out) }); err != nil {
			t.Fatal(err)
		}
	}
	const kind = 0xffff << 48
	got, err := b.Totals(ctx, []CounterQuery{{3, 2 << 48, kind}, {3, 3 << 48, kind}, {3, 2<<48 | 2, ^uint64(0)}, {0, 9 << 48, kind}})
	if err != nil {
		t.Fatal(err)
	}
	packets := func(c *Totals, table uint8) uint64 {
		i := slices.IndexFunc(c.Tables, func(s ofp.TableStats) bool { return s.Table == table })
		return c.Tables[i].Matched
	}
	if n := packets(got, 3) - packets(before, 3); n != 4 || len(got.Tables) != 2 {
		t.Errorf("table 3 has counted %d of 4 packets; tables %+v", n, got.Tables)
	}
	want := []Sum{{Packets: 4, Flows: 2}, {Flows: 1}, {Packets: 1, Flows: 1}, {}}
	for i := range got.Sums {
		got.Sums[i].Bytes = 0
	}
	if !slices.Equal(got.Sums, want) {
		t.Errorf("sums %+v, want %+v", got.Sums, want)
	}
}

// BenchmarkTotals sums 20,000 flows of one table: what it costs the switch.
func BenchmarkTotals(b *testing.B) {
	br, _, _ := nativeBridge(b)
	ctx := testContext(b)
	tx := &Transaction{}
	for i := range 20000 {
		f := parseFlow(b, "table=3,priority=2,reg2="+strconv.Itoa(i)+" actions=drop")
		f.Cookie = uint64(i%7) << 48
		tx.Add = append(tx.Add, f)
	}
	if err := br.Commit(ctx, tx); err != nil {
		b.Fatal(err)
	}
	for name, queries := range map[string][]CounterQuery{"tables": nil, "sum": {{3, 2 << 48, 0xffff << 48}}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := br.Totals(ctx, queries); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
