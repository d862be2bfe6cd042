package enforce_test

import (
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// egress is a policy that isolates the pods of some apps for egress, and lets them
// reach a range if one is given.
func egress(name, to string, apps ...string) cluster.Event {
	spec := networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: apps},
		}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
	}
	if to != "" {
		spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: to}}}}}
	}
	return cluster.Event{Policy: &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: spec}}
}

// A connection to a Service is looked at twice, before and after the datapath has
// its hash. What the first look noted may be from before a change of policies, as
// long as it is cached; the verdict must not be by it.
func TestConnectionToAServiceIsJudgedByOneStateOfThePolicies(t *testing.T) {
	s := newSpread(t, layers.IPProtocolTCP, 0)
	s.serve(8)
	s.e.Emit([]cluster.Event{egress("closed", "", "a", "b"), egress("grant", "192.0.2.0/24", "a")})
	s.sync(s.e)
	call := func(method string, args ...string) string {
		t.Helper()
		out, err := s.sandbox.Vswitchd().Call(s.context(), method, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	receive := func(first, last int) {
		t.Helper()
		var frames [][]byte
		for i := first; i < last; i++ {
			frames = append(frames, s.opening(i))
		}
		if err := s.sandbox.Receive(s.context(), s.ports["a"].Name, frames...); err != nil {
			t.Fatal(err)
		}
	}
	call("revalidator/pause") // what is cached stays
	receive(0, 1)
	eventually(t, func() bool { return strings.Contains(call("dpctl/dump-flows"), "dp_hash(") })
	s.e.Emit([]cluster.Event{egress("grant", "10.1.0.0/16", "b")})
	s.sync(s.e)
	const more = 20
	receive(1, 1+more)
	call("revalidator/resume")

	// Neither before nor after the change may a reach an endpoint.
	var tracked []conntrack.Entry
	eventually(t, func() bool {
		var err error
		if tracked, err = conntrack.Dump(s.context(), s.sandbox.Vswitchd(), sandbox.Dummy, flows.ZoneIPv4); err != nil {
			t.Fatal(err)
		}
		return len(tracked) > 0 || s.denied("a") == 1+more
	})
	if len(tracked) > 0 {
		t.Errorf("%d connections are allowed by a rule for another pod, such as %v", len(tracked), tracked[0].Orig)
	}
}

// denied returns how many packets the egress default of a pod has dropped.
func (b *bed) denied(pod string) (packets uint64) {
	b.t.Helper()
	cookie := uint64(flows.NewCookie(flows.KindEgressIsolation, uint64(b.ports[pod].OFPort)))
	err := b.bridge.EachCounter(b.context(), []openflow.CounterQuery{{Table: openflow.AllTables, Cookie: cookie, Mask: ^uint64(0)}},
		func(n openflow.Counter) { packets += n.Packets })
	if err != nil {
		b.t.Fatal(err)
	}
	return packets
}
