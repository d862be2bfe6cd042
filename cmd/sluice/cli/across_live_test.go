package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// underlay is two nodes and what is between them, which is the test: it decides which of
// the packets that leave arrive, and as what.
type underlay struct {
	t       *testing.T
	sockets []string
	beds    []*simulate.Bed
	mode    nodes.Mode
}

func newWire(t *testing.T, mode nodes.Mode) *underlay {
	w := &underlay{t: t, mode: mode}
	w.sockets, w.beds = twoBeds(t, mode, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	for _, b := range w.beds {
		until(t, "the bridge tells of packets", func() bool {
			s, err := b.Verdicts.Status(t.Context())
			return err == nil && s.Problem == ""
		})
	}
	return w
}

func (w *underlay) agents() []string {
	return []string{"--agent", "node-a=" + w.sockets[0], "--agent", "node-b=" + w.sockets[1]}
}

// armed reports whether a node's bridge follows packets, gone whether it does not.
func (w *underlay) armed(node int) bool { is, ready := w.live(node); return is && ready }
func (w *underlay) gone(node int) bool  { is, ready := w.live(node); return !is && ready }

func (w *underlay) live(node int) (is, ready bool) {
	err := w.beds[node].Look(w.t.Context(), func(v enforce.View) { is, ready = len(v.Pipeline().Live().Matches) > 0, v.Ready() })
	return is, ready && err == nil
}

// frame is the first packet of a connection. The number is its own, as IP's and TCP's
// are: the same packet has it everywhere.
func frame(t *testing.T, src, dst string, port uint16, number uint32, ttl uint8) []byte {
	t.Helper()
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	tcp := &layers.TCP{SrcPort: 1001, DstPort: layers.TCPPort(port), SYN: true, Seq: number, Window: 1000}
	var ip gopacket.SerializableLayer
	ether := layers.EthernetTypeIPv4
	if from.Is4() {
		l := &layers.IPv4{Version: 4, TTL: ttl, Id: uint16(number), Protocol: layers.IPProtocolTCP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		ip = l
		if err := tcp.SetNetworkLayerForChecksum(l); err != nil {
			t.Fatal(err)
		}
	} else {
		ether = layers.EthernetTypeIPv6
		l := &layers.IPv6{Version: 6, HopLimit: ttl, FlowLabel: number, NextHeader: layers.IPProtocolTCP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		ip = l
		if err := tcp.SetNetworkLayerForChecksum(l); err != nil {
			t.Fatal(err)
		}
	}
	buf := gopacket.NewSerializeBuffer()
	mac := simulate.PortMAC(cluster.Key{Namespace: "shop", Name: podAt[src]})
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: ether}, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// podAt are the pods of node-a.
var podAt = map[string]string{"10.244.0.5": "frontend", "fd00:10:244::5": "frontend", "10.244.0.6": "locked", "10.244.0.7": "visitor"}

// leave sends a packet from a pod of node-a.
func (w *underlay) leave(src, dst string, port uint16, number uint32) {
	w.t.Helper()
	from := cluster.Key{Namespace: "shop", Name: podAt[src]}
	if err := w.beds[0].Receive(w.t.Context(), from, frame(w.t, src, dst, port, number, 64)); err != nil {
		w.t.Fatal(err)
	}
}

// arrive has a packet come to node-b from node-a.
func (w *underlay) arrive(src, dst string, port uint16, number uint32) {
	w.t.Helper()
	var err error
	if f := frame(w.t, src, dst, port, number, 63); w.mode == nodes.NoEncap {
		err = w.beds[1].Receive(w.t.Context(), cluster.Key{}, f)
	} else {
		err = w.beds[1].Arrive(w.t.Context(), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), f)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// follow runs trace --live and lets packets come once it follows them.
func (w *underlay) follow(packets func(), args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var out, stderr buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, append([]string{"sluice", "trace", "--live"}, args...), Streams{Out: &out, Err: &stderr})
	}()
	until(w.t, "packets are followed: "+strings.Join(args, " "), func() bool {
		return len(code) > 0 || strings.Contains(stderr.String(), "Following packets")
	})
	packets()
	r := result{<-code, out.String(), stderr.String()}
	for node := range w.beds {
		until(w.t, "nothing is left on the bridge", func() bool { return w.gone(node) })
	}
	return r
}

func plain(out string) string {
	return numbers.ReplaceAllString(clock.ReplaceAllString(out, "01:02:03.456"), "0xabc")
}

func TestARealPacketIsFollowedThroughBothNodes(t *testing.T) {
	w := newWire(t, nodes.Encap)
	for _, tc := range []struct {
		file, args string
		code       int
		packets    func()
	}{
		{"live-across-allowed.txt", "shop/frontend shop/db 5432", exitDone, func() {
			w.leave("10.244.0.7", "10.244.1.5", 5432, 1) // another's
			w.arrive("10.244.0.7", "10.244.1.5", 5432, 1)
			w.leave("10.244.0.5", "10.244.1.5", 5432, 2)
			w.arrive("10.244.0.5", "10.244.1.5", 5432, 2)
		}},
		{"live-across-denied-ingress.txt", "shop/visitor shop/db 5432", exitDenied, func() {
			w.leave("10.244.0.7", "10.244.1.5", 5432, 3)
			w.arrive("10.244.0.7", "10.244.1.5", 5432, 3)
		}},
		{"live-across-denied-egress.txt", "shop/locked shop/db 5432", exitDenied, func() { w.leave("10.244.0.6", "10.244.1.5", 5432, 4) }},
		{"live-across-service.txt", "shop/frontend svc:shop/web:http", exitDone, func() {
			w.leave("10.244.0.5", "10.96.0.1", 80, 5)
			w.arrive("10.244.0.5", "10.244.1.6", 8080, 5)
		}},
		{"live-across-ipv6.txt", "shop/frontend shop/web tcp/80", exitDone, func() {
			// It may be told of there before it is told of here.
			w.arrive("fd00:10:244::5", "fd00:10:244:1::6", 80, 6)
			w.leave("fd00:10:244::5", "fd00:10:244:1::6", 80, 6)
		}},
		{"live-across-outside.txt", "shop/frontend 203.0.113.7", exitDone, func() { w.leave("10.244.0.5", "203.0.113.7", 443, 7) }},
		{"live-across-lost.txt", "shop/frontend shop/db 5432", exitLost, func() {
			w.arrive("10.244.0.5", "10.244.1.5", 5432, 8) // an earlier one
			w.leave("10.244.0.5", "10.244.1.5", 5432, 9)
		}},
		{"live-across-translated.txt", "shop/frontend shop/db 5432", exitDenied, func() {
			w.leave("10.244.0.5", "10.244.1.5", 5432, 10)
			w.arrive("192.0.2.1", "10.244.1.5", 5432, 10)
		}},
		{"live-across-anybody.txt", "shop/frontend -", exitIncomplete, func() { w.leave("10.244.0.5", "10.244.1.5", 5432, 11) }},
	} {
		t.Run(tc.file, func(t *testing.T) {
			r := w.follow(tc.packets, append(strings.Fields(tc.args), w.agents()...)...)
			r.want(t, tc.code, "Following packets for 30 s on node-a")
			golden(t, tc.file, plain(r.out))
		})
	}
	t.Run("json", func(t *testing.T) {
		r := w.follow(func() {
			for n := uint32(20); n < 22; n++ {
				w.leave("10.244.0.5", "10.244.1.5", 5432, n)
				w.arrive("10.244.0.5", "10.244.1.5", 5432, n)
			}
		}, append(strings.Fields("shop/frontend shop/db 5432 -o json --count 2 --timeout 5m"), w.agents()...)...)
		if r.code != exitDone {
			t.Errorf("exit code %d: %s", r.code, r.err)
		}
		in := json.NewDecoder(strings.NewReader(r.out))
		for n := range 2 {
			var p api.LivePacket
			if err := in.Decode(&p); err != nil {
				t.Fatalf("packet %d of %q: %v", n, r.out, err)
			}
			if p.Node != "node-a" || p.Verdict != api.Allowed || p.Next == nil || p.Next.Answer == nil || p.Next.Answer.Mark != p.Mark ||
				p.Next.Answer.Node != "node-b" || p.Next.Answer.To.Pod != "shop/db" || p.Next.Answer.Output != p.Next.Answer.To.Port || p.Output != "tunnel" {
				t.Errorf("packet %d: %+v", n, p)
			}
		}
	})
	t.Run("no packet", func(t *testing.T) {
		r := w.follow(func() {}, append(strings.Fields("shop/frontend shop/db 5432 --timeout 1s"), w.agents()...)...)
		r.want(t, exitError, "no such packet has come to the bridge of node node-a in 1 s\n")
		r = w.follow(func() { w.arrive("10.244.0.5", "10.244.1.5", 5432, 30) }, append(strings.Fields("shop/frontend shop/db 5432 --timeout 1s"), w.agents()...)...)
		r.want(t, exitError, "no such packet has come to the bridge of node node-a in 1 s; but node node-b has seen 1\n")
	})
	t.Run("a node that is not asked", func(t *testing.T) {
		r := w.follow(func() { w.leave("10.244.0.5", "10.244.1.5", 5432, 40) }, "shop/frontend", "shop/db", "5432", "--socket", w.sockets[0])
		r.want(t, exitIncomplete, "--agent node-b=SOCKET")
		golden(t, "live-across-not-asked.txt", plain(r.out))
		r = w.follow(func() { w.arrive("10.244.0.5", "10.244.1.5", 5432, 41) }, "shop/frontend", "shop/db", "5432", "--socket", w.sockets[1])
		r.want(t, exitIncomplete, "--agent node-a=SOCKET")
		golden(t, "live-across-not-asked-first.txt", plain(r.out))
		run(t, "trace", "--live", "shop/frontend", "203.0.113.7", "--socket", w.sockets[1]).want(t, exitError, "no agent of node node-a is reachable")
	})
	t.Run("a node that follows others", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, ended := make(chan struct{}), make(chan error)
		go func() {
			ended <- w.beds[1].Verdicts.Live(ctx, api.LiveRequest{To: "shop/web", Seconds: 60}, func(l *api.LiveLine) error {
				if l.Count != nil {
					select {
					case <-began:
					default:
						close(began)
					}
				}
				return nil
			})
		}()
		<-began
		r := w.follow(func() {
			w.leave("10.244.0.5", "10.244.1.5", 5432, 42)
			cancel()
			<-ended
		}, append(strings.Fields("shop/frontend shop/db 5432"), w.agents()...)...)
		if r.code != exitIncomplete || !strings.Contains(r.out, "not asked: packets are followed for somebody else already") {
			t.Errorf("exit code %d, stderr %q:\n%s", r.code, r.err, r.out)
		}
	})
	t.Run("answer", func(t *testing.T) {
		in, ask := io.Pipe()
		var out, errs buffer
		code := make(chan int, 1)
		go func() {
			code <- Run(t.Context(), []string{"sluice", "answer", "live", "--socket", w.sockets[1]}, Streams{In: in, Out: &out, Err: &errs})
		}()
		if _, err := io.WriteString(ask, `{"arrivals": [{"by": "encap", "from": "10.244.0.5"}], "seconds": 60}`); err != nil {
			t.Fatal(err)
		}
		until(t, "a count", func() bool { return strings.Contains(out.String(), `{"count":{"matched":0,"told":0}}`) })
		w.arrive("10.244.0.5", "10.244.1.5", 5432, 50)
		until(t, "a packet", func() bool { return strings.Contains(out.String(), `{"packet":{`) })
		// Who has asked is gone, in whatever way.
		ask.Close()
		if c := <-code; c != exitDone || errs.String() != "" {
			t.Errorf("exit code %d, stderr %q", c, errs.String())
		}
		until(t, "nothing is left on the bridge", func() bool { return w.gone(1) })
		for question, want := range map[string]string{
			``:                              `"ended":"read the question`,
			`{"to": "shop/db"}`:             `"ended":"seconds: 0 is not in 1-600"`,
			`{"arrivals": [{"by": "mail"}]`: `"ended":"read the question`,
			`{"arrivals": [{"by": "mail"}], "seconds": 1}`:                `"ended":"arrivals.by: \"mail\" is neither encap nor noEncap"`,
			`{"arrivals": [{"by": "encap"}], "seconds": 1}`:               `"ended":"arrivals: one end must be said"`,
			`{"arrivals": [{"by": "encap", "to": "shop"}], "seconds": 1}`: `"ended":"arrivals.to: `,
		} {
			var out, errs buffer
			var in io.Reader = strings.NewReader(question)
			if json.Valid([]byte(question)) { // who has asked waits
				waits, end := io.Pipe()
				defer end.Close()
				in = io.MultiReader(in, waits)
			}
			if c := Run(t.Context(), []string{"sluice", "answer", "live", "--socket", w.sockets[1]}, Streams{In: in, Out: &out, Err: &errs}); c != exitError || !strings.Contains(out.String(), want) {
				t.Errorf("%s: exit code %d, %s%s", question, c, out.String(), errs.String())
			}
		}
	})
	t.Run("killed", func(t *testing.T) {
		ctx, kill := context.WithCancel(t.Context())
		var out, stderr buffer
		code := make(chan int, 1)
		go func() {
			code <- Run(ctx, append([]string{"sluice", "trace", "--live", "shop/frontend", "shop/db", "5432"}, w.agents()...), Streams{Out: &out, Err: &stderr})
		}()
		until(t, "both nodes follow", func() bool {
			return w.armed(0) && w.armed(1) && strings.Contains(stderr.String(), "on node-a, node-b")
		})
		kill()
		if c := <-code; c != exitInterrupt {
			t.Errorf("exit code %d: %s", c, stderr.String())
		}
		for node := range w.beds {
			until(t, "nothing is left on the bridge", func() bool { return w.gone(node) })
		}
	})
}

func TestARealPacketIsFollowedThroughBothNodesWithoutATunnel(t *testing.T) {
	w := newWire(t, nodes.NoEncap)
	r := w.follow(func() {
		w.leave("10.244.0.5", "10.244.1.5", 5432, 1)
		w.arrive("10.244.0.5", "10.244.1.5", 5432, 1)
	}, append(strings.Fields("shop/frontend shop/db 5432"), w.agents()...)...)
	r.want(t, exitDone, "Following packets for 30 s on node-a, node-b")
	golden(t, "live-across-routed.txt", plain(r.out))
	// A firewall of node-a gives what it forwards the node's address.
	r = w.follow(func() {
		w.leave("10.244.0.5", "10.244.1.5", 5432, 2)
		w.arrive("192.0.2.1", "10.244.1.5", 5432, 2)
	}, append(strings.Fields("shop/frontend shop/db 5432"), w.agents()...)...)
	r.want(t, exitDenied, "Following")
	golden(t, "live-across-masqueraded.txt", plain(r.out))
}
