package conntrack

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// The tests in this file hold what docs/sctp.md says of the connection tracker
// in ovs-vswitchd. When one fails, ovs-vswitchd has learned something.

func sctpPacket(src, dst netip.Addr, sport, dport uint16, chunk gopacket.SerializableLayer) []byte {
	return frame(src, dst, &layers.SCTP{SrcPort: layers.SCTPPort(sport), DstPort: layers.SCTPPort(dport), VerificationTag: 1}, chunk)
}

func sctpInit() gopacket.SerializableLayer {
	return &layers.SCTPInit{SCTPChunk: layers.SCTPChunk{Type: layers.SCTPChunkTypeInit}, InitiateTag: 1,
		AdvertisedReceiverWindowCredit: 65535, OutboundStreams: 1, InboundStreams: 1, InitialTSN: 1}
}

func sctpInitAck() gopacket.SerializableLayer {
	ack := sctpInit().(*layers.SCTPInit)
	ack.Type = layers.SCTPChunkTypeInitAck
	return ack
}

func TestUserspaceTrackerKnowsNoPortsOfSCTP(t *testing.T) {
	b := startBed(t)
	for _, tc := range []struct {
		src, dst netip.Addr
		zone     uint16
	}{{v4a, v4b, zone4}, {v6a, v6b, zone6}} {
		b.send("a", newConn, sctpPacket(tc.src, tc.dst, 1000, 99, sctpInit()))
		got := b.dump(tc.zone)
		if len(got) != 1 || got[0].Orig != ports(sctp, tc.src, tc.dst, 0, 0) || got[0].State != "" {
			t.Fatalf("zone %d: %v", tc.zone, got)
		}
		b.send("b", reply, sctpPacket(tc.dst, tc.src, 99, 1000, sctpInitAck()))

		// So an association to another port belongs to the same connection, whichever
		// side begins it.
		b.send("a", established, sctpPacket(tc.src, tc.dst, 1001, 100, sctpInit()))
		b.send("b", reply, sctpPacket(tc.dst, tc.src, 5000, 22, sctpInit()))

		if err := b.flush(tc.zone, got[0].Orig); err != nil {
			t.Fatal(err)
		}
		if got := b.dump(tc.zone); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	}
}

func TestUserspaceTrackerTakesAnyChecksumOfSCTP(t *testing.T) {
	b := startBed(t)
	packet := sctpPacket(v4a, v4b, 1000, 99, sctpInit())
	const checksum = 14 + 20 + 8 // behind Ethernet, IPv4, ports and tag
	packet[checksum] ^= 0xff
	b.send("a", newConn, packet)
}
