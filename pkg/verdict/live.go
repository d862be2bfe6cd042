package verdict

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"math"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
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

// copied is a packet as it entered a table.
type copied struct {
	sample
	followed  flows.Followed
	registers [16]uint32
}

// Live follows the packets that match. It calls fn with a count when it does, then
// with each packet when it has left the bridge and with a count each second, until
// ctx or the time of the request ends or fn returns an error. What is done with a
// packet stays the same; others are not touched. There is one at a time.
func (s *Stream) Live(ctx context.Context, req api.LiveRequest, fn func(*api.LiveLine) error) error {
	if req.Seconds < 1 || time.Duration(req.Seconds)*time.Second > maxLive {
		return &observe.BadRequest{Message: fmt.Sprintf("seconds: %d is not in 1-%d", req.Seconds, int(maxLive.Seconds()))}
	}
	live := flows.Live{Rate: liveRate, Timeout: uint16(req.Seconds + int(settleTime/time.Second))}
	var bad error
	if err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { live.Matches, bad = observe.LiveMatches(v, req) }); err != nil || bad != nil {
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
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveEnd)
		defer cancel()
		_ = s.cfg.Enforcer.SetLive(end, flows.Live{}) // else the switch forgets them by itself
	}()
	if err := s.cfg.Enforcer.SetLive(ctx, live); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	// Until now there may have been copies of what was followed for somebody before.
	copies := make(chan copied, liveQueue)
	s.live.Store(&copies)
	defer s.live.Store(nil)
	before, err := s.countLive(ctx)
	if err != nil {
		return err
	}
	if err := fn(&api.LiveLine{Count: &api.LiveCount{}}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.Seconds)*time.Second)
	defer cancel()
	return s.follow(ctx, copies, before.Matched, fn)
}

const (
	// meterFills is how long a new meter is let fill: on the userspace datapath it
	// begins empty, and the first packet's copies would be over its rate.
	meterFills = 200 * time.Millisecond
	// settleTime bounds the wait until the datapath's cache holds what flows say.
	settleTime = 5 * time.Second
)

// settle returns when packets are followed that the datapath forwards by what it
// has cached before.
func (s *Stream) settle(ctx context.Context) error {
	fills := time.After(meterFills)
	if s.cfg.Vswitchd != nil {
		bounded, cancel := context.WithTimeout(ctx, settleTime)
		defer cancel()
		// A round may be under way that has begun before, and the flows' change be told
		// to the one after it.
		for range 2 {
			vswitchd, err := s.cfg.Vswitchd()
			if err == nil {
				_, err = vswitchd.Call(bounded, "revalidator/wait")
			}
			if err != nil {
				break // counts tell of what is missed
			}
		}
	}
	select {
	case <-fills:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// liveWait is how long to wait for another one's end.
const liveWait = time.Second

// liveEnd bounds the wait until packets are no longer followed.
const liveEnd = 5 * time.Second

// follow puts the copies of each packet together. As many as before have matched by
// the time that it begins.
func (s *Stream) follow(ctx context.Context, copies <-chan copied, before uint64, fn func(*api.LiveLine) error) error {
	d := newDecoder()
	type packetAt struct {
		mark   mark
		inPort uint32
	}
	ways := map[packetAt][]copied{}
	end := func(key packetAt) error {
		way := ways[key]
		delete(ways, key)
		var packet *api.LivePacket
		err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) {
			packet = s.cfg.live(newNames(v), way, d.read(way[0].packet.Packet), d.read(way[len(way)-1].packet.Packet))
		})
		if err != nil {
			return err
		}
		packet.Mark = key.mark.String()
		return fn(&api.LiveLine{Packet: packet})
	}
	tick, second := time.NewTicker(liveGap/3), time.NewTicker(time.Second)
	defer tick.Stop()
	defer second.Stop()
	var told uint64
	for {
		select {
		case c := <-copies:
			key := packetAt{d.mark(c.packet.Packet), c.packet.InPort()}
			if c.followed.Table == flows.TableClassifier {
				told++
				if len(ways[key]) > 0 { // the same packet once more
					if err := end(key); err != nil {
						return err
					}
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
		case <-second.C:
			count, err := s.countLive(ctx)
			if err != nil {
				return err
			}
			count.Matched -= min(before, count.Matched)
			count.Told = told
			if err := fn(&api.LiveLine{Count: count}); err != nil {
				return err
			}
		case <-s.done:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// countLive asks the bridge how many packets it has followed.
func (s *Stream) countLive(ctx context.Context) (*api.LiveCount, error) {
	var still bool
	if err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { still = len(v.Pipeline().Live().Matches) > 0 }); err != nil {
		return nil, err
	}
	if !still {
		return nil, errors.New("the bridge has refused to follow packets any longer")
	}
	out := &api.LiveCount{}
	query := openflow.CounterQuery{
		Table: uint8(flows.TableClassifier), Cookie: uint64(flows.NewCookie(flows.KindLive, uint64(flows.TableClassifier))), Mask: math.MaxUint64,
	}
	err := s.cfg.Bridge.EachCounter(ctx, []openflow.CounterQuery{query}, func(c openflow.Counter) { out.Matched += c.Packets })
	return out, err
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

// mark is a hash of what stays the same of a packet on its way through bridges and
// between them, which may write addresses, ports, checksums, and the time to live.
type mark uint64

// String is the mark in JSON.
func (m mark) String() string { return fmt.Sprintf("%016x", uint64(m)) }

// mark reads a frame, of which no more than its first bytes may be there.
func (d *decoder) mark(frame []byte) mark {
	d.ip4.Id, d.ip4.Length, d.ip6.FlowLabel, d.ip6.Length = 0, 0, 0, 0
	d.read(frame)
	sum := fnv.New64a()
	_, _ = fmt.Fprintln(sum, d.ip4.Id, d.ip4.Length, d.ip6.FlowLabel, d.ip6.Length)
	for _, layer := range d.seen {
		switch layer {
		case layers.LayerTypeTCP: // RFC 9293, 3.1: ports first, the checksum is at 16
			d.sum(sum, d.tcp.Contents, 4, 16, d.tcp.Payload)
		case layers.LayerTypeUDP:
			d.sum(sum, d.udp.Contents, 4, 6, d.udp.Payload)
		case layers.LayerTypeSCTP: // its checksum leaves addresses out, but not ports
			d.sum(sum, d.sctp.Contents, 4, 8, d.sctp.Payload)
		case layers.LayerTypeICMPv4:
			d.sum(sum, d.icmp.Contents, 0, 2, d.icmp.Payload)
		case layers.LayerTypeICMPv6:
			d.sum(sum, d.icm6.Contents, 0, 2, d.icm6.Payload)
		}
	}
	return mark(sum.Sum64())
}

// sum adds a header from a byte on, without the two of its checksum at another, and
// what it carries.
func (d *decoder) sum(h hash.Hash64, header []byte, from, checksum int, payload []byte) {
	_, _ = h.Write(header[min(from, len(header)):min(checksum, len(header))])
	_, _ = h.Write(header[min(checksum+2, len(header)):])
	_, _ = h.Write(payload)
}

// live explains a packet's way, from the packet as it came and as it was last told of.
func (c *Config) live(n *names, way []copied, came, left packet) *api.LivePacket {
	all, last := crossings(way), way[len(way)-1].followed
	told := last.Told
	switch {
	case last.Table == flows.TableOutput:
		told.Kind = flows.KindAllowed
	case last.Table == flows.TableRoute:
		told.Kind = flows.KindUnroutable
	}
	e := n.event(told, came)
	out := &api.LivePacket{
		Time: way[0].at, Node: c.Node, From: e.From, To: e.To, Protocol: e.Protocol, SourcePort: e.SourcePort, Port: e.Port,
		Verdict: e.Verdict, Reason: e.Reason, Service: observe.ServiceOf(n.view, e.Protocol, netip.AddrPortFrom(came.dst, came.dstPort), last.Endpoint),
	}
	if out.Service != nil {
		// The port it leaves by is that of who serves it.
		out.To = api.Endpoint{Addr: e.To.Addr, Service: out.Service.Name()}
	}
	switch {
	case way[0].followed.Table != flows.TableClassifier, told.Kind == 0:
		out.Verdict, out.Reason = api.Incomplete, fmt.Sprintf("told of up to table %s", last.Table)
	case refused(all):
		out.Verdict, out.Reason = api.Denied, "nobody serves the Service's port that it is for: the node's network stack refuses it"
	case told.Kind == flows.KindAllowed && last.Judged:
		out.Reason = "belongs to a connection that is allowed"
	}
	if last.Table == flows.TableOutput {
		out.Output = observe.PortName(n.view, told.OutPort)
	}
	if out.Verdict == api.Allowed && c.Network != nil {
		_, _, plan := c.Network()
		if out.Next = observe.Departs(n.view, plan, told.OutPort, left.dst); out.Next != nil {
			out.Next.From = api.LiveEnd{Addr: left.src.String(), Port: left.srcPort}
			out.Next.To = api.LiveEnd{Addr: left.dst.String(), Port: left.dstPort}
		}
	}
	out.Steps = n.steps(all)
	return out
}
