package across

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// left is a packet that has left node a for node b, arrived what node b tells of one.
func left(mark string) *api.LivePacket {
	return &api.LivePacket{
		Node: "a", Mark: mark, Verdict: api.Allowed, Reason: "egress", From: api.Endpoint{Addr: "10.0.0.2"}, SourcePort: 1000, To: api.Endpoint{Addr: "10.96.0.1"}, Port: 80,
		Next: &api.LiveNext{Node: "b", By: api.ByTunnel, Via: "192.0.2.2", From: api.LiveEnd{Addr: "10.0.0.2", Port: 1000}, To: api.LiveEnd{Addr: "10.0.1.2", Port: 8080}},
	}
}

func arrived(mark, verdict string) *api.LivePacket {
	return &api.LivePacket{
		Node: "b", Mark: mark, Verdict: verdict, Reason: "ingress", From: api.Endpoint{Addr: "10.0.0.2"}, SourcePort: 1000, To: api.Endpoint{Addr: "10.0.1.2"}, Port: 8080,
	}
}

func TestPacketsOfTwoNodesAreJoined(t *testing.T) {
	packet := func(p *api.LivePacket) line { return line{node: p.Node, line: &api.LiveLine{Packet: p}} }
	count := func(node string, matched, told uint64) line {
		return line{node: node, line: &api.LiveLine{Count: &api.LiveCount{Matched: matched, Told: told}}}
	}
	translated := arrived("1", api.Allowed)
	translated.From.Addr = "192.0.2.1"
	further := arrived("1", api.Allowed)
	further.Next = &api.LiveNext{Node: "c"}
	denied := left("1")
	denied.Verdict = api.Denied
	outside := left("1")
	outside.Next = nil
	stray := left("1")
	stray.Next.Node = "c"
	for name, tc := range map[string]struct {
		lines           []line
		after           time.Duration
		verdict, reason string // no verdict: nothing is known yet
		problem         string
	}{
		"arrived":                  {[]line{packet(left("1")), packet(arrived("1", api.Allowed))}, 0, api.Allowed, "egress; ingress", ""},
		"told of earlier":          {[]line{packet(arrived("1", api.Allowed)), packet(left("1"))}, 0, api.Allowed, "egress; ingress", ""},
		"denied there":             {[]line{packet(left("1")), packet(arrived("1", api.Denied))}, 0, api.Denied, "on node b: ingress", ""},
		"denied here":              {[]line{packet(denied)}, 0, api.Denied, "egress", ""},
		"outside":                  {[]line{packet(outside)}, 0, api.Allowed, "egress", ""},
		"on its way":               {[]line{packet(left("1")), packet(arrived("2", api.Allowed))}, LostAfter - time.Millisecond, "", "", ""},
		"lost":                     {[]line{packet(left("1")), packet(arrived("2", api.Allowed)), count("b", 1, 1)}, LostAfter, api.Lost, "egress; left node a through the tunnel to 192.0.2.2, and has not come to the bridge of node b within 3 s", ""},
		"of an agent that is late": {[]line{packet(left("1"))}, LostAfter, "", "", ""},
		"of one that is gone":      {[]line{packet(left("1"))}, 2 * LostAfter, api.Incomplete, "egress; not known: the agent of node b has fallen silent", ""},
		"over the rate":            {[]line{packet(left("1")), count("b", 100, 70)}, LostAfter, api.Incomplete, "egress; not known: of 100 packets like it that have come to node b its agent was told of 70", ""},
		"translated":               {[]line{packet(left("1")), packet(translated)}, 0, api.Allowed, "egress; ingress; translated between the nodes: left as 10.0.0.2:1000 -> 10.0.1.2:8080, arrived as 192.0.2.1:1000 -> 10.0.1.2:8080", ""},
		"as it left":               {[]line{packet(left("1")), packet(translated), packet(arrived("1", api.Allowed))}, 0, api.Allowed, "egress; ingress", ""},
		"told of in part":          {[]line{packet(left("1")), packet(arrived("1", api.Incomplete))}, 0, api.Incomplete, "on node b: ingress", ""},
		"from node to node":        {[]line{packet(left("1")), packet(further)}, 0, api.Incomplete, "egress; not asked: the packet goes from node to node", ""},
		"not asked":                {[]line{{node: "c", ended: true, err: errors.New("busy")}, packet(stray)}, 0, api.Incomplete, "egress; not asked: busy", ""},
		"not expected":             {[]line{packet(stray)}, 0, api.Incomplete, "egress; not asked: nobody was known there whom such packets may go to", ""},
		"followed no longer":       {[]line{packet(left("1")), {node: "b", ended: true, err: errors.New("gone")}}, 0, api.Incomplete, "egress; not known: the agent of node b follows packets no longer: gone", ""},
		"the first is not asked":   {[]line{packet(outside)}, 0, api.Incomplete, "egress; not asked: no agent", "not asked: no agent"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoiner(&api.LivePlan{Node: "a", From: "a"}, api.LiveRequest{To: "10.96.0.1"}, tc.problem)
			j.take(count("a", 0, 0), time.Time{})
			j.take(count("b", 0, 0), time.Time{})
			begin := time.Now()
			for _, l := range tc.lines {
				if l.line != nil && l.line.Packet != nil {
					of := *l.line.Packet // packets are changed
					if n := of.Next; n != nil {
						copied := *n
						of.Next = &copied
					}
					l.line = &api.LiveLine{Packet: &of}
				}
				at := begin
				if l.line != nil && l.line.Count != nil {
					at = at.Add(tc.after)
				}
				j.take(l, at)
			}
			out := j.ready(begin.Add(tc.after))
			if tc.verdict == "" {
				if len(out) != 0 || len(j.pending) != 1 {
					t.Errorf("%+v is known already", out[0])
				}
				return
			}
			if len(out) != 1 || out[0].Verdict != tc.verdict || out[0].Reason != tc.reason || out[0].Problem != tc.problem {
				t.Fatalf("%d packets, the first %+v", len(out), out[0])
			}
			if n := out[0].Next; n != nil && out[0].Verdict != api.Denied && (n.Answer == nil) == (n.Problem == "") {
				t.Errorf("an answer %+v and a problem %q", n.Answer, n.Problem)
			}
		})
	}
}

// Packets that are the same twice are joined in their order.
func TestAPacketIsJoinedOnce(t *testing.T) {
	j := newJoiner(&api.LivePlan{Node: "a"}, api.LiveRequest{To: "x"}, "")
	j.take(line{node: "b", line: &api.LiveLine{Count: &api.LiveCount{}}}, time.Time{})
	now := time.Now()
	for range 2 {
		j.take(line{node: "a", line: &api.LiveLine{Packet: left("1")}}, now)
	}
	j.take(line{node: "b", line: &api.LiveLine{Packet: arrived("1", api.Denied)}}, now)
	if out := j.ready(now); len(out) != 1 || out[0].Verdict != api.Denied {
		t.Errorf("joined %+v", out)
	}
	j.take(line{node: "b", line: &api.LiveLine{Count: &api.LiveCount{Matched: 1, Told: 1}}}, now.Add(LostAfter))
	if out := j.ready(now.Add(LostAfter)); len(out) != 1 || out[0].Verdict != api.Lost {
		t.Errorf("then %+v", out)
	}
	if s := j.seen(); s.Others["b"] != 0 {
		t.Errorf("others %v", s.Others)
	}
}

// fake is an agent that follows packets until its test ends, or can't.
type fake struct {
	node   string
	fails  error
	packet *api.LivePacket
	asked  chan string
	// plansNot and silent are of one that does not answer, asked for a plan, and that
	// tells of nothing, once its first line is told.
	plansNot, silent bool
}

func (f *fake) Trace(context.Context, api.TraceRequest) (*api.Explanation, error) {
	return nil, f.fails
}

func (f *fake) LivePlan(ctx context.Context, _ api.LiveRequest) (*api.LivePlan, error) {
	if f.plansNot {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	plan := &api.LivePlan{Node: f.node, From: "a", To: "b"}
	if f.node == "a" {
		plan.Onward = []api.LiveOnward{{Node: "b"}}
	}
	return plan, nil
}

func (f *fake) Live(ctx context.Context, req api.LiveRequest, fn func(*api.LiveLine) error) error {
	f.asked <- f.node
	if f.fails != nil {
		return f.fails
	}
	if err := fn(&api.LiveLine{Count: &api.LiveCount{}}); err != nil {
		return err
	}
	if f.silent {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := fn(&api.LiveLine{Packet: f.packet}); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

type fakes map[string]*fake

func (f fakes) Agent(_ context.Context, node string) (Agent, error) {
	if node == "" {
		node = "c"
	}
	if a := f[node]; a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("no agent of node %s is reachable", node)
}

func TestOtherNodesFollowBeforeTheFirstLetsGo(t *testing.T) {
	enough := errors.New("enough")
	for name, tc := range map[string]struct {
		without, verdict, reason, asked string
		fails                           error
	}{
		"both":              {"", api.Allowed, "egress; ingress", "b a", nil},
		"the second fails":  {"", api.Incomplete, "egress; not asked: it is busy", "b a", errors.New("it is busy")},
		"without a second":  {"b", api.Incomplete, "egress; not asked: no agent of node b is reachable", "a", nil},
		"without the first": {"a", api.Incomplete, "ingress; not asked: no agent of node a is reachable", "b", nil},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 10)
			agents := fakes{
				"a": {node: "a", packet: left("1"), asked: asked}, "b": {node: "b", packet: arrived("1", api.Allowed), asked: asked, fails: tc.fails},
				"c": {node: "c", asked: asked},
			}
			delete(agents, tc.without)
			var got *api.LivePacket
			_, err := Live(t.Context(), agents, "", api.LiveRequest{To: "x", Seconds: 5}, func(*Seen) {}, func(p *api.LivePacket) error {
				got = p
				return enough
			})
			if !errors.Is(err, enough) || got.Verdict != tc.verdict || got.Reason != tc.reason {
				t.Errorf("%v, %+v", err, got)
			}
			close(asked)
			var order []string
			for node := range asked {
				order = append(order, node)
			}
			if strings.Join(order, " ") != tc.asked {
				t.Errorf("asked %v, want %s", order, tc.asked)
			}
		})
	}
}

// An agent whose node has gone is asked through a connection that tells of nothing.
func TestNobodyWaitsForAnAgentThatSaysNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		first, last *fake
		want        string
	}{
		"of packets":    {&fake{node: "a", silent: true}, &fake{node: "b", silent: true}, "the agent of node a has said nothing for"},
		"of where":      {&fake{node: "a", plansNot: true}, &fake{node: "b", plansNot: true}, "the agent of node a can't tell"},
		"of the source": {&fake{node: "a", plansNot: true}, &fake{node: "b", silent: true}, "the agent of node b has said nothing for"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				tc.first.asked, tc.last.asked = make(chan string, 1), make(chan string, 1)
				agents := fakes{"a": tc.first, "b": tc.last, "c": {node: "c"}}
				begun := time.Now()
				_, err := Live(ctx, agents, "", api.LiveRequest{To: "x", Seconds: 5}, func(*Seen) {}, func(*api.LivePacket) error { return nil })
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("ended with %v, want %q", err, tc.want)
				}
				if took := time.Since(begun); took > 2*time.Minute {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}
