package verdict

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// names finds the names behind what a packet tells, from a view of the enforcer's
// state. It remembers what it has found: the packets of a flood have much in
// common, and the enforcer's loop waits meanwhile.
type names struct {
	view      enforce.View
	ports     map[uint32]policy.LocalPort
	pods      map[netip.Addr]string
	isolating map[subject][]string
}

type subject struct {
	pod       cluster.Key
	direction flows.Direction
}

func newNames(v enforce.View) *names {
	n := &names{view: v, ports: map[uint32]policy.LocalPort{}, pods: map[netip.Addr]string{}, isolating: map[subject][]string{}}
	for _, p := range v.Ports() {
		n.ports[p.OFPort] = p
	}
	return n
}

// event explains a packet that the bridge has told of.
func (n *names) event(told flows.Told, p packet) *api.Event {
	e := &api.Event{Protocol: p.protocol, SourcePort: p.srcPort, Port: p.dstPort}
	src, fromPod := n.ports[told.InPort]
	dst, toPod := n.ports[told.OutPort]
	e.From, e.To = n.end(p.src, src, fromPod), n.end(p.dst, dst, toPod)
	direction, denied := told.Direction()
	var sides [2]*api.Side
	if fromPod && (denied || told.Kind == flows.KindAllowed) {
		sides[flows.Egress] = n.side(flows.Egress, src.Pod, told)
	}
	if toPod && (denied && direction == flows.Ingress || told.Kind == flows.KindAllowed) {
		sides[flows.Ingress] = n.side(flows.Ingress, dst.Pod, told)
	}
	for d, rule := range map[flows.Direction]**api.Rule{flows.Egress: &e.Egress, flows.Ingress: &e.Ingress} {
		if s := sides[d]; s != nil {
			*rule = s.AllowedBy
		}
	}
	switch told.Kind {
	case flows.KindAllowed:
		e.Verdict = api.Allowed
		for _, s := range sides {
			if s != nil && s.AllowedBy != nil && !slices.Contains(e.Policies, s.AllowedBy.Policy) {
				e.Policies = append(e.Policies, s.AllowedBy.Policy)
			}
		}
	case flows.KindSpoof:
		e.Verdict = api.Spoofed
	case flows.KindInvalid:
		e.Verdict = api.Invalid
	default:
		e.Verdict = api.Denied
		if denied {
			e.Direction = direction.String()
			if s := sides[direction]; s != nil && !s.Pending {
				e.Policies = s.IsolatedBy
			}
		}
	}
	e.Reason = observe.Why(told.Kind, e.From, e.To, sides[flows.Egress], sides[flows.Ingress])
	return e
}

// end is an end of a connection: the pod behind the port that the packet crossed,
// else whose address it is.
func (n *names) end(a netip.Addr, port policy.LocalPort, known bool) api.Endpoint {
	e := api.Endpoint{}
	if a.IsValid() {
		e.Addr = a.String()
	}
	if known {
		e.Pod, e.Port, e.OFPort = port.Pod.String(), port.Name, port.OFPort
		return e
	}
	if !a.IsValid() {
		return e
	}
	if p, ok := n.view.Pipeline().PortByAddr(a); ok {
		e.Port, e.OFPort = p.Name, p.OFPort
	}
	pod, ok := n.pods[a]
	if !ok {
		if key, found := n.view.Compiler().PodByAddr(a); found {
			pod = key.String()
		}
		n.pods[a] = pod
	}
	e.Pod = pod
	return e
}

func (n *names) side(d flows.Direction, pod cluster.Key, told flows.Told) *api.Side {
	by, ok := n.isolating[subject{pod, d}]
	if !ok {
		for _, k := range n.view.Compiler().Isolating(pod, d) {
			by = append(by, k.String())
		}
		n.isolating[subject{pod, d}] = by
	}
	s := &api.Side{Direction: d.String(), Isolated: len(by) > 0, IsolatedBy: by}
	if key, ok := n.view.Pipeline().RuleByID(d, told.Rules[d]); ok && told.Rules[d] != 0 {
		s.AllowedBy = observe.RuleOf(n.view, key)
	}
	s.Pending = told.Kind == flows.KindEgressPending+flows.Kind(d)
	return s
}
