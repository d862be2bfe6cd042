package conntrack

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	v4a, v4b = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	v6a, v6b = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
)

var equalAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func ports(protocol uint8, src, dst netip.Addr, sport, dport uint16) Tuple {
	return Tuple{Protocol: protocol, Src: src, Dst: dst, SrcPort: sport, DstPort: dport}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		want       Entry
	}{
		{"tcp of the userspace tracker",
			`tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=1000),zone=65520,mark=7,labels=0x900000005,protoinfo=(state=SYN_SENT)`,
			Entry{Orig: ports(tcp, v4a, v4b, 1000, 80), Reply: ports(tcp, v4b, v4a, 80, 1000), Zone: 65520, Mark: 7, Labels: Labels{Lo: 0x900000005}, State: "SYN_SENT"}},
		{"tcp of the userspace tracker, with --more",
			`tcp,orig=(src=fd00::1,dst=fd00::2,sport=1000,dport=80),reply=(src=fd00::2,dst=fd00::1,sport=80,dport=1000),id=0,zone=65521,status=0,mark=7,labels=0x5,protoinfo=(state_orig=ESTABLISHED,state_reply=ESTABLISHED,flags_orig=0,flags_reply=0)`,
			Entry{Orig: ports(tcp, v6a, v6b, 1000, 80), Reply: ports(tcp, v6b, v6a, 80, 1000), Zone: 65521, Mark: 7, Labels: Labels{Lo: 5}, State: "ESTABLISHED"}},
		{"udp of the kernel's tracker, with --more --statistics and NAT",
			`udp,orig=(src=10.0.0.1,dst=10.96.0.10,sport=40000,dport=53,packets=1,bytes=70),reply=(src=10.0.0.2,dst=10.0.0.1,sport=5353,dport=40000,packets=1,bytes=90),start=2026-11-24T22:01:31.123,id=3085193352,zone=65520,status=SEEN_REPLY|CONFIRMED|DST_NAT|DST_NAT_DONE,timeout=27`,
			Entry{Orig: ports(udp, v4a, netip.MustParseAddr("10.96.0.10"), 40000, 53), Reply: ports(udp, v4b, v4a, 5353, 40000), Zone: 65520}},
		{"no zone is zone zero", `udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=(src=10.0.0.2,dst=10.0.0.1,sport=2,dport=1)`,
			Entry{Orig: ports(udp, v4a, v4b, 1, 2), Reply: ports(udp, v4b, v4a, 2, 1)}},
		{"icmp", `icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=77,type=8,code=0),reply=(src=10.0.0.2,dst=10.0.0.1,id=77,type=0,code=0),zone=65520`,
			Entry{Orig: Tuple{Protocol: icmp, Src: v4a, Dst: v4b, ICMPID: 77, ICMPType: 8}, Reply: Tuple{Protocol: icmp, Src: v4b, Dst: v4a, ICMPID: 77}, Zone: 65520}},
		{"icmpv6", `icmpv6,orig=(src=fd00::1,dst=fd00::2,id=9,type=128,code=0),reply=(src=fd00::2,dst=fd00::1,id=9,type=129,code=0),zone=65521`,
			Entry{Orig: Tuple{Protocol: icmpv6, Src: v6a, Dst: v6b, ICMPID: 9, ICMPType: 128}, Reply: Tuple{Protocol: icmpv6, Src: v6b, Dst: v6a, ICMPID: 9, ICMPType: 129}, Zone: 65521}},
		{"sctp of the kernel's tracker", `sctp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=99),reply=(src=10.0.0.2,dst=10.0.0.1,sport=99,dport=1000),zone=65520`,
			Entry{Orig: ports(sctp, v4a, v4b, 1000, 99), Reply: ports(sctp, v4b, v4a, 99, 1000), Zone: 65520}},
		{"a protocol without a name, and all bits of the label", `47,orig=(src=10.0.0.1,dst=10.0.0.2,sport=0,dport=0),reply=(src=10.0.0.2,dst=10.0.0.1,sport=0,dport=0),labels=0xfedcba98765432100123456789abcdef`,
			Entry{Orig: ports(47, v4a, v4b, 0, 0), Reply: ports(47, v4b, v4a, 0, 0), Labels: Labels{Hi: 0xfedcba9876543210, Lo: 0x0123456789abcdef}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse("\n" + tc.line + "\n")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]Entry{tc.want}, got, equalAddrs); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestParseNamesTheFieldThatIsWrong(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"tcpp,orig=()", "protocol"},
		{"tcp,orig=(src=10.0.0.300,dst=10.0.0.2)", "orig: src"},
		{"tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=65536)", "orig: sport: 65536 is out of range"},
		{"tcp,orig=(src=10.0.0.1,dst=10.0.0.2", "orig: parenthesis is not closed"},
		{"tcp,zone=1", "orig has no addresses"},
		{"tcp,orig=(src=10.0.0.1,dst=10.0.0.2),labels=0x" + strings.Repeat("f", 33), "labels"},
	} {
		if _, err := Parse(tc.line); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q in it", tc.line, err, tc.want)
		}
	}
}

func TestWordsOfALabel(t *testing.T) {
	l := Labels{Hi: 0x4444444433333333, Lo: 0x2222222211111111}
	for i, want := range []uint32{0x11111111, 0x22222222, 0x33333333, 0x44444444} {
		if got := l.Word(i); got != want {
			t.Errorf("word %d is %#x, want %#x", i, got, want)
		}
	}
}

func TestTupleReadsAsOneLine(t *testing.T) {
	for want, tuple := range map[string]Tuple{
		"tcp 10.0.0.1:1000->10.0.0.2:80":               ports(tcp, v4a, v4b, 1000, 80),
		"udp [fd00::1]:1->[fd00::2]:53":                ports(udp, v6a, v6b, 1, 53),
		"sctp 10.0.0.1->10.0.0.2":                      ports(sctp, v4a, v4b, 0, 0),
		"icmpv6 fd00::1->fd00::2 id 9 type 128 code 0": {Protocol: icmpv6, Src: v6a, Dst: v6b, ICMPID: 9, ICMPType: 128},
		"47 10.0.0.1->10.0.0.2":                        ports(47, v4a, v4b, 0, 0),
	} {
		if got := tuple.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=1000),zone=65520,mark=7,labels=0x900000005,protoinfo=(state=SYN_SENT)\n")
	f.Add("icmpv6,orig=(src=fd00::1,dst=fd00::2,id=0,type=128,code=0),reply=(src=fd00::2,dst=fd00::1,id=0,type=129,code=0),zone=65521")
	f.Add("47,orig=(src=10.0.0.1,dst=10.0.0.2,sport=0,dport=0),reply=()")
	f.Add("tcp,orig=((,)=)")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := Parse(text)
		if err != nil {
			return
		}
		for _, e := range entries {
			if !e.Orig.Src.IsValid() || !e.Orig.Dst.IsValid() {
				t.Errorf("entry without addresses: %+v", e)
			}
		}
	})
}
