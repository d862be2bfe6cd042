package observe

import (
	"fmt"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// Crossed says, in the words of a trace, what a table did with a real packet: from
// the packet as it entered the table and as it entered the next one, which is nil
// after the last. A trace knows the flow; here it follows from what was written.
func Crossed(v enforce.View, at flows.Followed, next *flows.Followed) string {
	if next != nil && next.Table == flows.TableDenied {
		c := flows.NewCookie(next.Kind, 0)
		if next.Kind == flows.KindSpoof {
			c = flows.NewCookie(next.Kind, uint64(at.InPort))
		}
		return meaning(v, at.Table, c, trace.Step{})
	}
	port := func(ofport uint32) flows.Cookie {
		kind := flows.KindPort
		if n := v.Pipeline().Node(); n != nil && ofport == n.GatewayOFPort {
			kind = flows.KindNode
		} else if n != nil && ofport != 0 && ofport == n.TunnelOFPort {
			kind = flows.KindRemote
		}
		return flows.NewCookie(kind, 0)
	}
	words := func(c flows.Cookie, s trace.Step) string { return meaning(v, at.Table, c, s) }
	d := flows.Egress
	switch at.Table {
	case flows.TableIngressPeer, flows.TableIngressBlock, flows.TableIngressPolicy, flows.TableIngressDefault:
		d = flows.Ingress
	}
	plain := flows.NewCookie(flows.KindPipeline, 0)
	switch at.Table {
	case flows.TableOutput, flows.TableDenied, flows.TableConntrack, flows.TableCommit:
		return words(plain, trace.Step{})
	}
	if next == nil {
		if at.Table == flows.TableRoute {
			return words(flows.NewCookie(flows.KindUnroutable, 0), trace.Step{})
		}
		return "goes no further"
	}
	switch at.Table {
	case flows.TableClassifier:
		return words(flows.NewCookie(next.Source, 0), trace.Step{})
	case flows.TableConntrackState:
		if next.Judged {
			return words(plain, trace.Step{})
		}
		return words(port(at.InPort), trace.Step{})
	case flows.TableServiceLB:
		if next.Endpoint != 0 {
			return "is for a Service, and goes to an endpoint of it"
		}
	case flows.TableServiceEndpoint, flows.TableServiceCommit:
		return "is translated to the endpoint"
	case flows.TableRoute:
		return words(port(next.OutPort), trace.Step{})
	case flows.TableEgressPeer, flows.TableIngressPeer:
		if next.Peer[d] != 0 {
			return words(flows.NewCookie(flows.KindEgressPeer+flows.Kind(d), uint64(next.Peer[d])), trace.Step{})
		}
		if next.Table != flows.TableEgressBlock && next.Table != flows.TableIngressBlock {
			return words(plain, trace.Step{Priority: 1})
		}
	case flows.TableEgressBlock, flows.TableIngressBlock:
		if next.Block[d] != 0 {
			return words(flows.NewCookie(flows.KindEgressBlock+flows.Kind(d), uint64(next.Block[d])), trace.Step{})
		}
	case flows.TableEgressPolicy, flows.TableIngressPolicy:
		if id := next.Rules[d]; id != 0 {
			s := trace.Step{Actions: []string{fmt.Sprintf("set_field:%#x->reg", id)}}
			return words(flows.NewCookie(flows.KindEgressRule+flows.Kind(d), 0), s)
		}
	}
	return words(plain, trace.Step{})
}
