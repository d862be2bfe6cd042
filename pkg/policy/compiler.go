package policy

import (
	"net/netip"
	"reflect"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Compiler turns what is known of the cluster and of this node's ports into
// what the pipeline has to enforce. It's owned by one goroutine.
type Compiler struct {
	node      string
	portsTell bool
	synced    bool

	pods     map[cluster.Key]*cluster.Pod
	policies map[cluster.Key]*policyState
	// specs are the policies as heard, to tell a change from a repetition.
	specs map[cluster.Key]*networkingv1.NetworkPolicy

	ports map[string]*port
	// attached are the ports of each pod.
	attached map[cluster.Key]map[string]*port
	claims   map[cluster.Key]claim
	// claimants are the pods that claim an address, seldom more than one.
	claimants map[netip.Addr][]cluster.Key

	subjects *universe
	peers    *universe
	blocks   [2]*blocks

	// What may have to be told at the next flush.
	dirtyPolicies map[*policyState]struct{}
	dirtyPorts    map[string]struct{}
	dirtyAddrs    map[netip.Addr]struct{}

	// What has been told.
	toldPorts map[string]*flows.Port
	toldPeers map[netip.Addr]*flows.Peer
	toldRules map[flows.RuleKey]*rule
}

// New returns a compiler for the node of that name, which knows nothing yet.
func New(node string) *Compiler {
	c := &Compiler{
		node:          node,
		pods:          map[cluster.Key]*cluster.Pod{},
		policies:      map[cluster.Key]*policyState{},
		specs:         map[cluster.Key]*networkingv1.NetworkPolicy{},
		ports:         map[string]*port{},
		attached:      map[cluster.Key]map[string]*port{},
		claims:        map[cluster.Key]claim{},
		claimants:     map[netip.Addr][]cluster.Key{},
		dirtyPolicies: map[*policyState]struct{}{},
		dirtyPorts:    map[string]struct{}{},
		dirtyAddrs:    map[netip.Addr]struct{}{},
		toldPorts:     map[string]*flows.Port{},
		toldPeers:     map[netip.Addr]*flows.Peer{},
		toldRules:     map[flows.RuleKey]*rule{},
	}
	stirred := func(p *policyState) { c.dirtyPolicies[p] = struct{}{} }
	c.subjects = newUniverse(c.subjectChanged, stirred)
	c.peers = newUniverse(c.peerChanged, stirred)
	for _, dir := range flows.Directions {
		c.blocks[dir] = &blocks{direction: dir, byText: map[string]*block{}}
	}
	return c
}

// UsePortAddresses makes the addresses of a port its pod's also where the cluster
// tells none: for clusters of manifests, in which no kubelet reports them. It is
// called before all else.
func (c *Compiler) UsePortAddresses() { c.portsTell = true }

// Update takes note of changes of the cluster. The compiler keeps the objects of
// the events, which must not change any more. Nodes and problems are not its
// concern.
func (c *Compiler) Update(events ...cluster.Event) {
	for _, e := range events {
		switch {
		case e.Synced:
			c.sync()
		case e.Pod != nil:
			if e.Deleted {
				delete(c.pods, e.Pod.Key)
			} else {
				c.pods[e.Pod.Key] = e.Pod
			}
			c.refresh(e.Pod.Key)
		case e.Namespace != nil:
			// Subjects are selected within one namespace, by its name.
			c.peers.setNamespace(e.Namespace.Name, e.Namespace.Labels, !e.Deleted)
		case e.Policy != nil:
			c.setPolicy(e.Policy, e.Deleted)
		}
	}
}

// sync ends the time in which nothing may be concluded.
func (c *Compiler) sync() {
	if c.synced {
		return
	}
	c.synced = true
	for pod := range c.attached {
		c.refresh(pod)
	}
}

// setPolicy takes note of a policy, or of its end.
func (c *Compiler) setPolicy(np *networkingv1.NetworkPolicy, deleted bool) {
	key := cluster.Key{Namespace: np.Namespace, Name: np.Name}
	p := c.policies[key]
	if deleted {
		if p != nil {
			delete(c.specs, key)
			p.policy, p.unread = nil, false
			c.dirtyPolicies[p] = struct{}{}
		}
		return
	}
	if old := c.specs[key]; old != nil && old.UID == np.UID && reflect.DeepEqual(old.Spec, np.Spec) {
		return
	}
	if p == nil {
		p = &policyState{key: key}
		c.policies[key] = p
	}
	c.specs[key] = np
	p.policy, p.unread = parse(np), true
	c.dirtyPolicies[p] = struct{}{}
}

// subjectChanged notes that the terms of a local pod may have changed.
func (c *Compiler) subjectChanged(pod cluster.Key) {
	for name := range c.attached[pod] {
		c.dirtyPorts[name] = struct{}{}
	}
}

// peerChanged notes that the terms of a pod's addresses may have changed.
func (c *Compiler) peerChanged(pod cluster.Key) {
	for _, a := range c.claims[pod].addrs {
		c.dirtyAddrs[a] = struct{}{}
	}
}
