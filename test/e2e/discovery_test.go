package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/ovs/sandbox"
)

// nonce is an option that neighbour discovery carries along (RFC 3971 section 5.3.2).
const nonce layers.ICMPv6Opt = 14

// discoveryRounds is how often what is honest and what is forged take turns.
const discoveryRounds = 20

// What a pod advertises and asks is checked in each frame: that the one before was
// right, and the datapath has cached what becomes of it, opens nothing.
func TestNeighbourDiscoveryIsCheckedInEachFrame(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "discovery", nil)
	attacker, victim := n.pod(t, "discovery", "attacker", nil), n.pod(t, "discovery", "victim", nil)
	n.apply(t, fmt.Sprintf(friendsOnly, "discovery"))
	both := hosts(attacker, victim)
	n.check(t, between(both, both)...)
	wire := openLink(t, &attacker.Host, "eth0")
	node, target := openLink(t, n.Node, "sluice0"), openLink(t, &victim.Host, "eth0")
	mac, gatewayMAC := macOf(t, &attacker.Host, "eth0"), macOf(t, n.Node, "sluice0")
	own := end{mac, attacker.Addr(6)}
	gateway, beyond := end{gatewayMAC, n.gateways[1]}, end{gatewayMAC, victim.Addr(6)}

	options := func(kind layers.ICMPv6Opt, link []byte, mark string) layers.ICMPv6Options {
		return layers.ICMPv6Options{{Type: kind, Data: link}, {Type: nonce, Data: []byte(fmt.Sprintf("%-22s", mark))}}
	}
	advertise := func(to, whom end, mark string) []gopacket.SerializableLayer {
		return discovery(layers.ICMPv6TypeNeighborAdvertisement, own, to, &layers.ICMPv6NeighborAdvertisement{
			Flags: 0x60, TargetAddress: whom.addr.AsSlice(), Options: options(layers.ICMPv6OptTargetAddress, whom.mac, mark)})
	}
	solicit := func(to, whom, of end, mark string) []gopacket.SerializableLayer {
		return discovery(layers.ICMPv6TypeNeighborSolicitation, own, to, &layers.ICMPv6NeighborSolicitation{
			TargetAddress: of.addr.AsSlice(), Options: options(layers.ICMPv6OptSourceAddress, whom.mac, mark)})
	}
	code := func(ls []gopacket.SerializableLayer) []gopacket.SerializableLayer {
		icmp := ls[2].(*layers.ICMPv6)
		icmp.TypeCode = layers.CreateICMPv6TypeCode(icmp.TypeCode.Type(), 1)
		return ls
	}
	far := func(ls []gopacket.SerializableLayer) []gopacket.SerializableLayer {
		ls[1].(*layers.IPv6).HopLimit = 254
		return ls
	}
	honest := map[string][]gopacket.SerializableLayer{
		"honest advert":   advertise(gateway, own, "honest advert"),
		"honest question": solicit(gateway, own, gateway, "honest question"),
	}
	forged := map[string][]gopacket.SerializableLayer{
		"advert other":     advertise(gateway, end{mac, victim.Addr(6)}, "advert other"),
		"advert gateway":   advertise(gateway, end{mac, gateway.addr}, "advert gateway"),
		"advert mac":       advertise(gateway, end{forged, own.addr}, "advert mac"),
		"advert code":      code(advertise(gateway, own, "advert code")),
		"advert far":       far(advertise(gateway, own, "advert far")),
		"question mac":     solicit(gateway, end{forged, own.addr}, gateway, "question mac"),
		"question code":    code(solicit(gateway, own, gateway, "question code")),
		"question far":     far(solicit(gateway, own, gateway, "question far")),
		"advert beyond":    advertise(beyond, own, "advert beyond"),
		"question beyond":  solicit(beyond, own, beyond, "question beyond"),
		"question beyond2": solicit(beyond, own, gateway, "question beyond2"),
	}
	for round := range discoveryRounds {
		for what, ls := range honest {
			if err := wire.send(ls...); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if *datapathFlag == sandbox.System && round == 0 { // elsewhere the bridge answers
			for what := range honest {
				eventually(t, what+" arrives", func(context.Context) error {
					if node.saw([]byte(what)) {
						return nil
					}
					return errors.Join(errors.New("it has not"), wire.send(honest[what]...))
				})
			}
		}
		for what, ls := range forged {
			if err := wire.send(ls...); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	n.check(t, between(both, both)...)
	time.Sleep(silence())
	for what, ls := range forged {
		mark := []byte(fmt.Sprintf("%-22s", what))
		// What is addressed to the victim may come to the node, which is a router.
		if ls[1].(*layers.IPv6).DstIP.Equal(gateway.addr.AsSlice()) && node.saw(mark) {
			t.Errorf("%s: the node has got it", what)
		}
		if target.saw(mark) {
			t.Errorf("%s: the victim has got it", what)
		}
	}
}
