package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/test/bed"
)

// associate sends an SCTP INIT and returns nil if it arrives at the other host in
// time, else an error that wraps bed.ErrNoAnswer. Packets are crafted: the kernel
// need not know SCTP.
func associate(ctx context.Context, from, to *bed.Host, target netip.AddrPort, wait time.Duration) error {
	network := "ip4:132"
	if target.Addr().Is6() {
		network = "ip6:132"
	}
	tag := rand.Uint32()
	packet, err := initChunk(1024+uint16(rand.Uint32N(60000)), target.Port(), tag)
	if err != nil {
		return err
	}
	var receiver *net.IPConn
	if err := to.Do(func() (err error) {
		receiver, err = net.ListenIP(network, ipAddr(target.Addr()))
		return err
	}); err != nil {
		return err
	}
	defer receiver.Close()
	var sender *net.IPConn
	if err := from.Do(func() (err error) {
		sender, err = net.DialIP(network, ipAddr(sourceOf(from, target.Addr())), ipAddr(target.Addr()))
		return err
	}); err != nil {
		return err
	}
	defer sender.Close()
	if _, err := sender.Write(packet); err != nil {
		return fmt.Errorf("send SCTP INIT to %s: %w", target, err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	end, _ := ctx.Deadline()
	if err := receiver.SetReadDeadline(end); err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	for {
		n, _, err := receiver.ReadFromIP(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("SCTP INIT to %s: %w in %v", target, bed.ErrNoAnswer, wait)
		}
		if err != nil {
			return err
		}
		if string(buffer[:n]) == string(packet) {
			return nil
		}
	}
}

// initChunk returns an SCTP packet with an INIT chunk (RFC 9260, section 3.3.2).
func initChunk(from, to uint16, tag uint32) ([]byte, error) {
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.SCTP{SrcPort: layers.SCTPPort(from), DstPort: layers.SCTPPort(to)},
		&layers.SCTPInit{
			SCTPChunk:   layers.SCTPChunk{Type: layers.SCTPChunkTypeInit},
			InitiateTag: max(tag, 1), AdvertisedReceiverWindowCredit: 1 << 16,
			OutboundStreams: 1, InboundStreams: 1, InitialTSN: 1,
		})
	if err != nil {
		return nil, fmt.Errorf("make an SCTP packet: %w", err)
	}
	return buffer.Bytes(), nil
}
