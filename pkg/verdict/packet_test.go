package verdict

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

const ends = "000000000001" + "000000000002"

// packets are beginnings of frames, and what is read of them.
var packets = []struct {
	name, frame string
	want        packet
}{
	{"TCP", ends + "0800" + "4500002c000000004006" + "0000" + "0a000002" + "0a000003" + "04d2" + "0050" + "0000000000000000" + "50020000" + "00000000",
		packet{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), "tcp", 1234, 80}},
	{"TCP cut off in its header", ends + "0800" + "4500002c000000004006" + "0000" + "0a000002" + "0a000003" + "04d2" + "0050",
		packet{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), "tcp", 0, 0}},
	{"UDP behind a destination header", ends + "86dd" + "60000000" + "0010" + "3c" + "40" + "fd000000000000000000000000000002" + "fd000000000000000000000000000003" +
		"1100000000000000" + "04d2" + "0035" + "0008" + "0000",
		packet{netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::3"), "udp", 1234, 53}},
	{"ARP", ends + "0806" + "0001080006040001" + "000000000002" + "0a000002" + "000000000000" + "0a000001",
		packet{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1"), "arp", 0, 0}},
	{"a protocol without a name", ends + "0800" + "45000014000000004059" + "0000" + "0a000002" + "0a000003",
		packet{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), "89", 0, 0}},
	{"LLDP", ends + "88cc" + "0207", packet{protocol: "ethertype 0x88cc"}},
	{"no frame", "00", packet{}},
}

func TestPacketsAreReadAsFarAsTheyMakeSense(t *testing.T) {
	d := newDecoder()
	for _, c := range packets {
		frame, err := hex.DecodeString(c.frame)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.read(frame); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Whatever a pod sends, reading it neither panics nor depends on what was read
// before.
func FuzzPacket(f *testing.F) {
	for _, c := range packets {
		frame, err := hex.DecodeString(c.frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	used := newDecoder()
	f.Fuzz(func(t *testing.T, frame []byte) {
		if got, want := used.read(frame), newDecoder().read(frame); got != want {
			t.Errorf("%x: %+v, afresh %+v", frame, got, want)
		}
	})
}
