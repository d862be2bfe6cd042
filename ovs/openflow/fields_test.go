package openflow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// prerequisites are matches that meet each prerequisite.
var prerequisites = map[prereq]string{
	none: "", onIPv4: "ip,", onIPv6: "ipv6,", onIP: "ipv6,", onARP: "arp,", onTCP: "tcp,", onUDP: "udp6,", onSCTP: "sctp,",
	onPorts: "udp,", onICMP: "icmp,", onICMPv6: "icmp6,", onND: "icmp6,icmpv6_type=135,",
	onNDSolicit: "icmp6,icmpv6_type=135,", onNDAdvert: "icmp6,icmpv6_type=136,", onMPLS: "mpls,", onCTPorts: "ip,ct_nw_proto=17,",
}

// Every field of the table is matched, set, loaded and moved, exactly and with
// masks. What the switch takes it dumps with the text it was given.
func TestEveryFieldIsDumpedAsItWasAdded(t *testing.T) {
	b, _ := testBridge(t)
	ctx := testContext(t)
	var all []*field
	for i := range fieldList {
		all = append(all, &fieldList[i])
	}
	for _, name := range []string{"reg7", "xreg3", "xxreg2"} {
		all = append(all, fields[name])
	}
	var taken []*ovs.Flow
	priority := 0
	try := func(match, actions string) {
		priority++
		f, err := ParseFlow(fmt.Sprintf("cookie=%d,table=9,priority=%d,%sactions=%s", priority, priority, match, actions))
		if err != nil {
			t.Error(err)
			return
		}
		err = b.Commit(ctx, &Transaction{Add: []*ovs.Flow{f}})
		if e, ok := errors.AsType[*BundleError](err); ok {
			if e.Index != 0 || e.Reason == "" {
				t.Errorf("%s: %v", Text(f), err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, f)
	}
	for _, f := range all {
		if f.format == opaque || strings.Contains(f.name, "vlan") {
			continue // no more than their spelling is normalised
		}
		before := prerequisites[f.needs]
		if strings.HasPrefix(f.name, "ct_") && f.name != "ct_state" && f.needs != none {
			before += "ct_state=+trk+est,"
		}
		valid := f.valid
		if valid == 0 {
			valid = ^uint64(0)
		}
		value := ones(f.bits).and(u128{0x8421000000000001, 0xf00d000021aa500f & valid})
		mask := ones(f.bits).and(u128{0, 8}.not())
		exact := string(f.append(nil, value, ones(f.bits)))
		masked := string(f.append(nil, value.and(mask), mask))
		for _, name := range slices.Compact(append([]string{f.name, f.match}, f.aliases...)) {
			try(before+name+"="+exact+",", "drop")
			try(before+name+"="+masked+",", "drop")
			try(before, "set_field:"+exact+"->"+name)
			try(before, "set_field:"+masked+"->"+name)
		}
		if f.nxm == "" {
			continue
		}
		try(before, fmt.Sprintf("load:0x1->%s[0..%d]", f.nxm, f.bits-1))
		try(before, fmt.Sprintf("load:0->%s[%d]", strings.ToLower(f.name), f.bits-1))
		if f.bits <= 64 {
			try(before, fmt.Sprintf("move:%s[]->NXM_NX_XXREG3[%d..%d]", f.nxm, 3, f.bits+2))
		}
		try(before, "move:NXM_NX_REG0[0]->"+f.nxm+"[0]")
		try(before, "output:"+f.nxm+"[0]")
	}
	dumped, err := b.DumpFlows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sameTexts(t, texts(dumped), texts(taken))
	// Not every field can be written or takes a mask; the rest is refused.
	if len(taken) < 400 {
		t.Errorf("the switch took only %d of %d flows", len(taken), priority)
	}
}
