package across

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

const (
	// LostAfter is how long a packet may take from one node to the next: much longer
	// than any network needs, and than counters and the agents' words are late.
	LostAfter = 3 * time.Second
	// armTime is how long agents may take until they follow packets.
	armTime = 15 * time.Second
	// maxFollowing is at how many other nodes packets are followed at once.
	maxFollowing = 32
	// settle is how often packets are looked at that have not come yet.
	settle = 100 * time.Millisecond
	// planTime is how long an agent may take to say where packets come by.
	planTime = 15 * time.Second
	// silence is how long the first agent may say nothing. Once it has begun it counts
	// each second; until then it has flows to write.
	silence = 60 * time.Second
)

// Seen is what was seen of packets that were to be followed.
type Seen struct {
	// Nodes are those that follow, the first of them the one where packets are
	// expected first.
	Nodes []string
	// Count is that of the first node, Others how many packets have come to each other
	// node that the first one has not told of.
	Count  api.LiveCount
	Others map[string]int
}

// Live follows real packets through all nodes that they cross, and calls fn with each
// when all is known of it. It begins at a node as Trace does. All other nodes that
// packets may go on to follow them before the first one does: none can arrive unseen.
// It calls begun when all do, and returns when fn returns an error, which it returns,
// or when the time of the request is over. No agent follows any longer then.
func Live(ctx context.Context, agents Agents, node string, req api.LiveRequest, begun func(*Seen), fn func(*api.LivePacket) error) (*Seen, error) {
	first, plan, problem, err := firstOf(ctx, agents, node, req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &followers{ctx: ctx, lines: make(chan line)}
	defer f.group.Wait()
	defer cancel()
	j := newJoiner(plan, req, problem)
	f.arm(agents, plan.Onward, j)
	f.start(plan.Node, func() (Agent, error) { return first, nil }, req)
	tick := time.NewTicker(settle)
	defer tick.Stop()
	quiet := 0 // in ticks: what is not taken, while fn takes its time, is none
	for began := false; ; {
		select {
		case l := <-f.lines:
			if l.node == plan.Node {
				quiet = 0
			}
			if l.node == plan.Node && l.err != nil {
				return j.seen(), l.err
			}
			j.take(l, time.Now())
			if l.node == plan.Node && !began {
				began = true
				begun(j.seen())
			}
		case <-tick.C:
			if quiet++; !j.ended && quiet > int(silence/settle) {
				return j.seen(), fmt.Errorf("the agent of node %s has said nothing for %s", plan.Node, silence)
			}
		case <-ctx.Done():
			return j.seen(), context.Cause(ctx)
		}
		for _, p := range j.ready(time.Now()) {
			if err := fn(p); err != nil {
				return j.seen(), err
			}
		}
		if j.ended && len(j.pending) == 0 {
			return j.seen(), nil
		}
	}
}

// firstOf finds the node where packets come first, and what to follow where. The
// problem is why that node is not asked; then the agent is that of the node they are
// sent to.
func firstOf(ctx context.Context, agents Agents, node string, req api.LiveRequest) (Agent, *api.LivePlan, string, error) {
	agent, err := agents.Agent(ctx, node)
	if err != nil {
		return nil, nil, "", err
	}
	plan, err := planWithin(ctx, agent, req)
	if err != nil {
		return nil, nil, "", err
	}
	home := plan.From
	if home == "" && node == "" && !plan.Service {
		home = plan.To
	}
	if home == "" || home == plan.Node {
		return agent, plan, "", nil
	}
	other, of, problem := planOf(ctx, agents, home, req)
	switch {
	case other != nil:
		return other, of, "", nil
	case plan.From == "": // they may begin anywhere
		return agent, plan, "", nil
	case plan.To == plan.Node:
		return agent, plan, problem, nil
	}
	if plan.To != "" {
		if other, of, _ := planOf(ctx, agents, plan.To, req); other != nil {
			return other, of, problem, nil
		}
	}
	return nil, nil, "", errors.New(problem)
}

func planOf(ctx context.Context, agents Agents, node string, req api.LiveRequest) (Agent, *api.LivePlan, string) {
	agent, err := agents.Agent(ctx, node)
	if err != nil {
		return nil, nil, "not asked: " + err.Error()
	}
	plan, err := planWithin(ctx, agent, req)
	if err != nil {
		return nil, nil, fmt.Sprintf("the agent of node %s can't tell: %v", node, err)
	}
	return agent, plan, ""
}

// planWithin asks an agent for its plan, and does not wait for it long.
func planWithin(ctx context.Context, agent Agent, req api.LiveRequest) (*api.LivePlan, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, planTime, fmt.Errorf("it has said nothing for %s", planTime))
	defer cancel()
	plan, err := agent.LivePlan(ctx, req)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return plan, err
}

// line is what comes from a node that follows: a line of its stream, or its end with
// why.
type line struct {
	node  string
	line  *api.LiveLine
	ended bool
	err   error
}

// followers are the agents that follow packets.
type followers struct {
	ctx   context.Context
	lines chan line
	group sync.WaitGroup
}

// start lets an agent follow packets.
func (f *followers) start(node string, find func() (Agent, error), req api.LiveRequest) {
	say := func(l line) error {
		select {
		case f.lines <- l:
			return nil
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
	f.group.Go(func() {
		agent, err := find()
		if err == nil {
			err = agent.Live(f.ctx, req, func(l *api.LiveLine) error { return say(line{node: node, line: l}) })
		}
		_ = say(line{node: node, ended: true, err: err})
	})
}

// arm lets the agents of other nodes follow what may come to them, and waits until
// they do or can't.
func (f *followers) arm(agents Agents, onward []api.LiveOnward, j *joiner) {
	waiting := map[string]bool{}
	for i, o := range onward {
		if i >= maxFollowing {
			j.problems[o.Node] = fmt.Sprintf("not asked: packets may go to more than %d nodes", maxFollowing)
			continue
		}
		// They have to be there a while longer than the first.
		o.Ask.Seconds = min(o.Ask.Seconds+int((armTime+LostAfter)/time.Second), maxSeconds)
		waiting[o.Node] = true
		f.start(o.Node, func() (Agent, error) { return agents.Agent(f.ctx, o.Node) }, o.Ask)
	}
	late := time.NewTimer(armTime)
	defer late.Stop()
	for len(waiting) > 0 {
		select {
		case l := <-f.lines:
			j.take(l, time.Now())
			delete(waiting, l.node)
		case <-late.C:
			for node := range waiting {
				j.problems[node] = fmt.Sprintf("not asked: the agent of node %s has not begun to follow packets within %s", node, armTime)
			}
			return
		case <-f.ctx.Done():
			return
		}
	}
}

// maxSeconds is how long an agent follows at most.
const maxSeconds = 600

// joiner puts packets together from what nodes have seen of them.
type joiner struct {
	first string
	// problem is why home, the node that packets come from, is not asked.
	problem, home string
	// unexpected is why a node is not asked that no packet was expected at.
	unexpected string
	// problems are why nothing is known of a node, counts how complete is what others
	// tell.
	problems map[string]string
	counts   map[string]api.LiveCount
	counted  map[string]time.Time // when they came
	// pending left the first node, arrived came to others: both in their order.
	pending []*waiting
	arrived map[string][]*api.LivePacket
	others  map[string]int // how many have come that have not left
	done    []*api.LivePacket
	ended   bool
}

// maxArrived bounds the packets of a node that are kept for one that left.
const maxArrived = 1024

// waiting is a packet that another node has to tell of.
type waiting struct {
	packet *api.LivePacket
	since  time.Time
}

func newJoiner(plan *api.LivePlan, req api.LiveRequest, problem string) *joiner {
	unexpected := "not asked: nobody was known there whom such packets may go to"
	if req.To == "" {
		unexpected = "not asked: packets are followed to another node if it is said whom they are sent to"
	}
	return &joiner{
		unexpected: unexpected,
		first:      plan.Node, home: plan.From, problem: problem, problems: map[string]string{}, counts: map[string]api.LiveCount{}, counted: map[string]time.Time{},
		arrived: map[string][]*api.LivePacket{}, others: map[string]int{},
	}
}

func (j *joiner) seen() *Seen {
	s := &Seen{Nodes: []string{j.first}, Count: j.counts[j.first], Others: map[string]int{}}
	for node := range j.counts {
		if node != j.first && j.problems[node] == "" {
			s.Nodes = append(s.Nodes, node)
		}
	}
	maps.Copy(s.Others, j.others)
	slices.Sort(s.Nodes[1:])
	return s
}

// take takes in what comes from a node.
func (j *joiner) take(l line, now time.Time) {
	switch {
	case l.ended && l.node == j.first:
		j.ended = true
	case l.ended:
		why := "has ended"
		if l.err != nil {
			why = l.err.Error()
		}
		j.problems[l.node] = j.whyNot(l.node, why)
	case l.line.Count != nil:
		j.counts[l.node], j.counted[l.node] = *l.line.Count, now
	case l.line.Packet == nil:
	case l.node != j.first:
		j.others[l.node]++
		all := append(j.arrived[l.node], l.line.Packet)
		j.arrived[l.node] = all[max(0, len(all)-maxArrived):]
	case l.line.Packet.Next != nil && l.line.Packet.Verdict == api.Allowed:
		j.pending = append(j.pending, &waiting{l.line.Packet, now})
	default:
		j.finish(l.line.Packet)
	}
}

// whyNot words why nothing more is known of a node.
func (j *joiner) whyNot(node, why string) string {
	if _, began := j.counts[node]; began {
		return fmt.Sprintf("not known: the agent of node %s follows packets no longer: %s", node, why)
	}
	return "not asked: " + why
}

// ready returns the packets of which all is known by now.
func (j *joiner) ready(now time.Time) []*api.LivePacket {
	var left []*waiting
	for _, w := range j.pending {
		n := w.packet.Next
		switch at := j.find(w.packet); {
		case at >= 0:
			j.join(n, at)
		case j.problems[n.Node] != "":
			n.Problem = j.problems[n.Node]
		case !j.follows(n.Node):
			n.Problem = j.unexpected
		case now.Sub(w.since) < LostAfter, now.Sub(w.since) < 2*LostAfter && !j.told(w):
			left = append(left, w)
			continue
		case !j.told(w):
			n.Problem = fmt.Sprintf("not known: the agent of node %s has fallen silent", n.Node)
		default:
			j.lose(w.packet)
		}
		j.finish(w.packet)
	}
	j.pending = left
	out := j.done
	j.done = nil
	return out
}

func (j *joiner) follows(node string) bool {
	_, ok := j.counts[node]
	return ok
}

// told reports whether a node would have told of a packet by now: its agent has counted
// since. One that says nothing has not said that the packet is lost.
func (j *joiner) told(w *waiting) bool {
	return !j.counted[w.packet.Next.Node].Before(w.since.Add(LostAfter - time.Second))
}

// find returns which of the packets that have come to a node is one that left for it,
// -1 if none is yet. Rather than one that somebody has translated it is the one that
// came as it left.
func (j *joiner) find(left *api.LivePacket) int {
	n, translated := left.Next, -1
	for i, p := range j.arrived[n.Node] {
		if p.Mark != left.Mark {
			continue
		}
		if from, to := ends(p); from == n.From && to == n.To {
			return i
		}
		if translated < 0 {
			translated = i
		}
	}
	return translated
}

func ends(p *api.LivePacket) (from, to api.LiveEnd) {
	return api.LiveEnd{Addr: p.From.Addr, Port: p.SourcePort}, api.LiveEnd{Addr: p.To.Addr, Port: p.Port}
}

// join takes one of the packets that have come to a node for the one that left.
func (j *joiner) join(n *api.LiveNext, at int) {
	all := j.arrived[n.Node]
	n.Answer = all[at]
	j.others[n.Node]--
	j.arrived[n.Node] = append(all[:at:at], all[at+1:]...)
	if from, to := ends(n.Answer); from != n.From || to != n.To {
		n.Arrived = &[2]api.LiveEnd{from, to}
	}
	if further := n.Answer.Next; further != nil {
		further.Problem = "not asked: the packet goes from node to node"
	}
}

// lose says of a packet that it has not come to the next node, if that would be known.
func (j *joiner) lose(p *api.LivePacket) {
	n := p.Next
	if c := j.counts[n.Node]; c.Told < c.Matched {
		n.Problem = fmt.Sprintf("not known: of %d packets like it that have come to node %s its agent was told of %d", c.Matched, n.Node, c.Told)
		return
	}
	n.Problem = fmt.Sprintf("has not come to the bridge of node %s within %d s", n.Node, LostAfter/time.Second)
	p.Verdict = api.Lost
}

// finish makes the verdict of a packet that of all nodes.
func (j *joiner) finish(p *api.LivePacket) {
	n := p.Next
	switch {
	case p.Verdict == api.Lost:
		p.Reason = join(p.Reason, fmt.Sprintf("left node %s %s, and %s", p.Node, Way(n), n.Problem))
	case p.Verdict != api.Allowed || n == nil:
	case n.Answer == nil:
		p.Verdict, p.Reason = api.Incomplete, join(p.Reason, n.Problem)
	case n.Answer.Verdict != api.Allowed:
		p.Verdict, p.Reason = n.Answer.Verdict, fmt.Sprintf("on node %s: %s", n.Node, n.Answer.Reason)
	case n.Answer.Next != nil:
		p.Verdict, p.Reason = api.Incomplete, join(p.Reason, n.Answer.Next.Problem)
	case n.Answer.Reason != p.Reason:
		p.Reason = join(p.Reason, n.Answer.Reason)
	}
	if n != nil && n.Arrived != nil {
		p.Reason = join(p.Reason, fmt.Sprintf("translated between the nodes: left as %s -> %s, arrived as %s -> %s", n.From, n.To, n.Arrived[0], n.Arrived[1]))
	}
	if j.problem != "" {
		p.Problem, p.From.Node = j.problem, j.home
		if p.Verdict == api.Allowed {
			p.Verdict, p.Reason = api.Incomplete, join(p.Reason, j.problem)
		}
	}
	j.done = append(j.done, p)
}

// Way says in words how a packet gets to the next node.
func Way(n *api.LiveNext) string {
	switch {
	case n.By == api.ByTunnel && n.TunnelSource != "":
		return "through the tunnel from " + n.TunnelSource + " to " + n.Via
	case n.By == api.ByTunnel:
		return "through the tunnel to " + n.Via
	case n.Via != "":
		return "as it is, by the route via " + n.Via
	}
	return "as it is, by the underlay"
}
