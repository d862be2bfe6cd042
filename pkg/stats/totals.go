package stats

import (
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Count is a total that only grows.
type Count struct {
	// Attempts is how many packets of new connections there were: the first of each
	// connection, and those sent again, or after it, until the other side answered.
	// On the userspace datapath each packet of SCTP and ICMPv6 from the side that
	// began is one.
	Attempts uint64 `json:"n"`
	// Since is when counting began.
	Since time.Time `json:"since"`
	// Gone is when what is counted went away; zero as long as it is there.
	Gone time.Time `json:"gone,omitzero"`
}

// PolicyCount are the totals of a policy, of each direction.
type PolicyCount struct {
	// Allowed is what its rules allowed, those that are gone as well.
	Allowed [2]uint64 `json:"allowed"`
	// Denied is what the default drops of the pods denied that it isolates. Each is
	// owed to all policies that isolate the pod in that direction, and counted at
	// each: the sum over policies may be more than what was denied. Which policies
	// those are is looked up when the counter is read: one that began or ceased to
	// isolate the pod since the reading before may have too many or too few.
	Denied [2]uint64 `json:"denied"`
	Since  time.Time `json:"since"`
	Gone   time.Time `json:"gone,omitzero"`
}

// PortCount are the totals of a pod's port, of each direction.
type PortCount struct {
	// Denied is what no rule allowed while the pod was isolated, Pending what was
	// denied while its policies were not known.
	Denied  [2]uint64 `json:"denied"`
	Pending [2]uint64 `json:"pending"`
	Since   time.Time `json:"since"`
	Gone    time.Time `json:"gone,omitzero"`
}

// Verdict is what the bridge decided of packets, as far as flows count it.
type Verdict struct {
	// Kind is the kind of flow that decided.
	Kind flows.Kind
	// Attempts are as in Count; for kinds that belong to no direction all packets.
	Attempts uint64
}

// totals are what a Collector keeps.
type totals struct {
	Since    time.Time
	rules    map[flows.RuleKey]*Count
	policies map[cluster.Key]*PolicyCount
	ports    map[string]*PortCount // by name
	verdicts map[flows.Kind]uint64
}

func newTotals(now time.Time) totals {
	return totals{
		Since: now, rules: map[flows.RuleKey]*Count{}, policies: map[cluster.Key]*PolicyCount{},
		ports: map[string]*PortCount{}, verdicts: map[flows.Kind]uint64{},
	}
}

// open has what a slot is for counted, from since on if it was not before.
func (t *totals) open(s *slot, since time.Time) {
	if s.Rule != "" {
		n := t.rules[s.Rule]
		if n == nil {
			n = &Count{Since: since}
			t.rules[s.Rule] = n
		}
		n.Gone = time.Time{}
		t.policy(s.Policy, since)
	}
	if s.Port != "" {
		n := t.ports[s.Port]
		if n == nil {
			n = &PortCount{Since: since}
			t.ports[s.Port] = n
		}
		n.Gone = time.Time{}
		for _, p := range s.By {
			t.policy(p, since)
		}
	}
}

func (t *totals) policy(key cluster.Key, since time.Time) *PolicyCount {
	if key == (cluster.Key{}) {
		return &PolicyCount{}
	}
	n := t.policies[key]
	if n == nil {
		n = &PolicyCount{Since: since}
		t.policies[key] = n
	}
	n.Gone = time.Time{}
	return n
}

// credit adds what the flow in a slot has counted anew.
func (t *totals) credit(s *slot, delta uint64, now time.Time) {
	if delta == 0 {
		return
	}
	t.verdicts[s.Kind] += delta
	d := directionOf(s.Kind)
	switch s.Kind {
	case flows.KindEgressRule, flows.KindIngressRule:
		if n := t.rules[s.Rule]; n != nil {
			n.Attempts += delta
		}
		t.policy(s.Policy, now).Allowed[d] += delta
	case flows.KindEgressIsolation, flows.KindIngressIsolation:
		if n := t.ports[s.Port]; n != nil {
			n.Denied[d] += delta
		}
		for _, p := range s.By {
			t.policy(p, now).Denied[d] += delta
		}
	case flows.KindEgressPending, flows.KindIngressPending:
		if n := t.ports[s.Port]; n != nil {
			n.Pending[d] += delta
		}
	}
}

// forgetAfter is how long totals stay of what is gone: a policy that is replaced
// by deleting and creating it goes on where it was.
const forgetAfter = 10 * time.Minute

// forget drops what has been gone for long enough.
func (t *totals) forget(now time.Time) {
	old := func(gone time.Time) bool { return !gone.IsZero() && now.Sub(gone) > forgetAfter }
	for k, n := range t.rules {
		if old(n.Gone) {
			delete(t.rules, k)
		}
	}
	for k, n := range t.policies {
		if old(n.Gone) {
			delete(t.policies, k)
		}
	}
	for k, n := range t.ports {
		if old(n.Gone) {
			delete(t.ports, k)
		}
	}
}
