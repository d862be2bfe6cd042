package verdict

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

const (
	// liveRate is how many copies a second the bridge makes of packets that are
	// followed; each makes one at every table.
	liveRate = 300
	// liveQueue is how many copies may wait.
	liveQueue = 1024
	// liveGap is how long after its last copy a packet is taken to have ended in a
	// table that tells of nothing.
	liveGap = 300 * time.Millisecond
	// maxLive bounds how long packets are followed.
	maxLive = 600 * time.Second
)

// ErrBusy says that packets are being followed already.
var ErrBusy = errors.New("packets are followed for somebody else already")

// BadLive is an error that lies in the request.
type BadLive struct{ error }

// Unwrap returns the error.
func (e BadLive) Unwrap() error { return e.error }

func badLive(format string, args ...any) error { return BadLive{fmt.Errorf(format, args...)} }

// copied is a packet as it entered a table.
type copied struct {
	sample
	followed  flows.Followed
	registers [16]uint32
}

// Live follows the packets that match. It calls begun when it does, and fn with each
// packet when it has left the bridge, until ctx or the time of the request ends or fn returns an error. What
// is done with a packet stays the same; others are not touched. There is one at a time.
func (s *Stream) Live(ctx context.Context, req api.LiveRequest, begun func() error, fn func(*api.LivePacket) error) error {
	if req.Seconds < 1 || time.Duration(req.Seconds)*time.Second > maxLive {
		return badLive("seconds: %d is not in 1-%d", req.Seconds, int(maxLive.Seconds()))
	}
	live := flows.Live{Rate: liveRate, Timeout: uint16(req.Seconds)}
	var bad error
	if err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { live.Matches, bad = liveMatches(v, req) }); err != nil || bad != nil {
		return errors.Join(bad, err)
	}
	select {
	case s.following <- struct{}{}:
	case <-time.After(liveWait): // who has just got what he wanted may not be done yet
		return ErrBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.following }()
	copies := make(chan copied, liveQueue)
	s.live.Store(&copies)
	defer s.live.Store(nil)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.Seconds)*time.Second)
	defer cancel()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveEnd)
		defer cancel()
		_ = s.cfg.Enforcer.SetLive(end, flows.Live{}) // else the switch forgets them by itself
	}()
	if err := s.cfg.Enforcer.SetLive(ctx, live); err != nil {
		return err
	}
	if err := begun(); err != nil {
		return err
	}
	return s.follow(ctx, copies, fn)
}

// liveWait is how long to wait for another one's end.
const liveWait = time.Second

// liveEnd bounds the wait until packets are no longer followed.
const liveEnd = 5 * time.Second

// follow puts the copies of each packet together.
func (s *Stream) follow(ctx context.Context, copies <-chan copied, fn func(*api.LivePacket) error) error {
	d := newDecoder()
	ways := map[identity][]copied{}
	end := func(key identity) error {
		way := ways[key]
		delete(ways, key)
		var packet *api.LivePacket
		err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { packet = newNames(v).live(way, d.read(way[0].packet.Packet)) })
		if err != nil {
			return err
		}
		return fn(packet)
	}
	tick := time.NewTicker(liveGap / 3)
	defer tick.Stop()
	for {
		select {
		case c := <-copies:
			key := d.identity(c.packet.Packet)
			if c.followed.Table == flows.TableClassifier && len(ways[key]) > 0 {
				if err := end(key); err != nil { // the same packet once more
					return err
				}
			}
			ways[key] = append(ways[key], c)
			if t := c.followed.Table; t != flows.TableOutput && t != flows.TableDenied {
				continue
			}
			if err := end(key); err != nil {
				return err
			}
		case <-tick.C:
			for key, way := range ways {
				if time.Since(way[len(way)-1].at) > liveGap {
					if err := end(key); err != nil {
						return err
					}
				}
			}
		case <-s.done:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// arriveLive takes a copy for who follows packets, if it is one.
func (s *Stream) arriveLive(p *openflow.PacketIn) bool {
	registers := p.Registers()
	f, ok := flows.ReadFollowed(flows.Cookie(p.Cookie), p.InPort(), registers)
	if !ok {
		return false
	}
	if copies := s.live.Load(); copies != nil {
		select {
		case *copies <- copied{sample{time.Now(), p}, f, registers}:
		default:
		}
	}
	return true
}

// identity is what stays the same of a packet on its way through the bridge, which
// may write addresses and a destination port.
type identity struct {
	id, length uint32
	protocol   string
	srcPort    uint16
	seq        uint32
}

func (d *decoder) identity(frame []byte) identity {
	d.ip4.Id, d.ip4.Length, d.ip6.FlowLabel, d.ip6.Length, d.tcp.Seq, d.icmp.Id, d.icmp.Seq = 0, 0, 0, 0, 0, 0, 0
	p := d.read(frame)
	return identity{
		id: uint32(d.ip4.Id) ^ d.ip6.FlowLabel, length: uint32(d.ip4.Length) + uint32(d.ip6.Length),
		protocol: p.protocol, srcPort: p.srcPort, seq: d.tcp.Seq ^ uint32(d.icmp.Id)<<16 ^ uint32(d.icmp.Seq),
	}
}

// live explains a packet's way.
func (n *names) live(way []copied, p packet) *api.LivePacket {
	last := way[len(way)-1].followed
	told := last.Told
	switch {
	case last.Table == flows.TableOutput:
		told.Kind = flows.KindAllowed
	case last.Table == flows.TableRoute:
		told.Kind = flows.KindUnroutable
	}
	e := n.event(told, p)
	out := &api.LivePacket{
		Time: way[0].at, From: e.From, To: e.To, Protocol: e.Protocol, SourcePort: e.SourcePort, Port: e.Port,
		Verdict: e.Verdict, Reason: e.Reason,
	}
	switch {
	case way[0].followed.Table != flows.TableClassifier, told.Kind == 0:
		out.Verdict, out.Reason = api.Incomplete, fmt.Sprintf("told of up to table %s", last.Table)
	case told.Kind == flows.KindAllowed && last.Judged:
		out.Reason = "belongs to a connection that is allowed"
	}
	for i, c := range way {
		step := api.LiveStep{Table: c.followed.Table.String()}
		var next *flows.Followed
		if i+1 < len(way) {
			next = &way[i+1].followed
			for r, now := range way[i+1].registers {
				if now != c.registers[r] && !slices.Contains(flows.LiveRegisters, r) {
					if step.Registers == nil {
						step.Registers = map[string]uint32{}
					}
					step.Registers[fmt.Sprintf("reg%d", r)] = now
				}
			}
		}
		step.Meaning = observe.Crossed(n.view, c.followed, next)
		out.Steps = append(out.Steps, step)
	}
	return out
}

// liveMatches are the packets that a request means.
func liveMatches(v enforce.View, req api.LiveRequest) ([]flows.LiveMatch, error) {
	protocol, ok := map[string]uint8{"": 0, "tcp": flows.TCP, "udp": flows.UDP, "sctp": flows.SCTP, "icmp": 1}[strings.ToLower(req.Protocol)]
	switch {
	case !ok:
		return nil, badLive("protocol: %q is not tcp, udp, sctp or icmp", req.Protocol)
	case req.Port != 0 && (protocol == 0 || protocol == 1):
		return nil, badLive("port: only tcp, udp and sctp have ports")
	case req.From == "" && req.To == "":
		return nil, badLive("from: one end must be said")
	}
	inPort, sources, err := liveEnds(v, "from", req.From)
	if err != nil {
		return nil, err
	}
	_, targets, err := liveEnds(v, "to", req.To)
	if err != nil {
		return nil, err
	}
	var out []flows.LiveMatch
	for _, src := range sources {
		for _, dst := range targets {
			if src.IsValid() && dst.IsValid() && src.Is4() != dst.Is4() {
				continue
			}
			m := flows.LiveMatch{InPort: inPort, Src: src, Dst: dst, Protocol: protocol, Port: req.Port}
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, badLive("from %s to %s: the two have no address family in common", req.From, req.To)
	}
	return out, nil
}

// liveEnds are the addresses of an end, one that is not valid for any. What a pod
// of this node sends is known by its port too.
func liveEnds(v enforce.View, field, text string) (inPort uint32, addrs []netip.Addr, err error) {
	if text == "" {
		return 0, []netip.Addr{{}}, nil
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return 0, []netip.Addr{a.Unmap()}, nil
	}
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" {
		return 0, nil, badLive("%s: %q is neither namespace/pod nor an address", field, text)
	}
	pod := cluster.Key{Namespace: namespace, Name: name}
	if p, ok := v.PortOf(pod); ok {
		return p.OFPort, p.Addrs, nil
	}
	if addrs = v.Compiler().AddrsOf(pod); len(addrs) == 0 {
		return 0, nil, badLive("%s: no pod %s with an address is known", field, text)
	}
	return 0, addrs, nil
}
