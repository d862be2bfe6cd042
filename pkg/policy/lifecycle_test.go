package policy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

const (
	denyAll  = `{podSelector: {}}`
	fromWeb  = `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}`
	fromTest = `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {env: test}}}]}]}`
)

func TestNothingIsConcludedBeforeTheFirstListingIsComplete(t *testing.T) {
	w := newWorld(t)
	w.namespace("shop", "")
	w.attach(pod("shop/db", 1, "app=db"))
	w.attach(pod("shop/web", 2, "app=web"))
	w.policy("shop/p", fromWeb)
	w.denied("shop/web > shop/db tcp/1", "shop/db > shop/web tcp/1", "203.0.113.5 > shop/db tcp/1")
	if len(w.model.rules)+len(w.model.peers) > 0 {
		t.Errorf("rules and peers before the listing is complete:\n%s", w.model.dump())
	}
	w.Update(cluster.Event{Synced: true})
	w.allowed("shop/web > shop/db tcp/1", "shop/db > shop/web tcp/1")
	w.denied("203.0.113.5 > shop/db tcp/1")
}

func TestPortIsPendingUntilItsPodIsKnown(t *testing.T) {
	w := shop(t)
	p := pod("shop/late", 9, "app=web")
	w.pods["shop/late"] = p
	w.SetPort(w.portOf(p))
	w.denied("shop/late > shop/db tcp/1", "shop/web > shop/late tcp/1")
	w.put(p)
	w.allowed("shop/late > shop/db tcp/1", "shop/web > shop/late tcp/1")
	w.remove("shop/late")
	w.denied("shop/late > shop/db tcp/1")
}

func TestPortOfAnEarlierPodOfTheSameNameIsPending(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	w.change("shop/web", func(p *cluster.Pod) { p.UID, p.Node, p.IPs = "reborn", "n2", podAddrs(20) })
	w.allowed("shop/web > shop/db tcp/1") // its new address
	w.denied("10.0.0.1 > shop/db tcp/1")  // the port that is still there
	if !w.model.ports["sl-shop/web"].Pending {
		t.Error("the port of the earlier pod is not pending")
	}
}

func TestPortWithoutUIDIsNotTakenForAPodOfAnotherNode(t *testing.T) {
	for _, c := range []struct {
		name, uid, podUID, node string
		pending                 bool
	}{
		{"uids agree", "u", "u", "n2", false},
		{"uids differ", "u", "v", "n1", true},
		{"the port's uid is not known", "", "u", "n1", false},
		{"the port's uid is not known and the pod is elsewhere", "", "u", "n2", true},
		{"the pod's uid is not known", "u", "", "n1", false},
		{"the pod has neither uid nor node", "u", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := shop(t)
			p := pod("shop/x", 9, "app=x")
			p.UID, p.Node = c.podUID, c.node
			w.put(p)
			port := w.portOf(p)
			port.UID = c.uid
			w.SetPort(port)
			w.flush()
			if got := w.model.ports[port.Name].Pending; got != c.pending {
				t.Errorf("pending is %v, want %v", got, c.pending)
			}
		})
	}
}

func TestHostNetworkPodIsNeitherSubjectNorPeer(t *testing.T) {
	w := shop(t)
	host := pod("shop/host", 30, "app=web")
	host.HostNetwork = true
	w.put(host)
	w.policy("shop/p", fromWeb)
	w.policy("shop/q", denyAll)
	w.denied("shop/host > shop/db tcp/1") // its address is the node's
	if len(w.Isolating(key("shop/host"), flows.Ingress)) > 0 {
		t.Error("a host network pod is isolated")
	}
	// By ipBlock the node's address is matched.
	w.policy("shop/r", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.30/32}}, {ipBlock: {cidr: "fd00::30/128"}}]}]}`)
	w.allowed("shop/host > shop/db tcp/1")
}

func TestFinishedPodLeavesEverySetAtOnce(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	w.policy("shop/q", `{podSelector: {matchLabels: {app: web}}, egress: [{}]}`)
	w.allowed("shop/web > shop/db tcp/1")
	w.change("shop/web", func(p *cluster.Pod) { p.Finished = true })
	w.denied("shop/web > shop/db tcp/1")
	if len(w.model.peers) > 0 {
		t.Errorf("the finished pod is still a peer:\n%s", w.model.dump())
	}
	for k := range w.model.rules {
		if k == "NetworkPolicy/shop/q/egress/0" {
			t.Error("the rule of the finished subject is still in force")
		}
	}
}

func TestAddressOfAFinishedPodGoesToItsNextOwner(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	old := pod("shop/old", 40, "app=web")
	old.Node, old.Finished = "n2", true
	next := pod("shop/next", 40, "app=other")
	next.Node = "n2"
	w.put(old)
	w.put(next)
	w.denied("shop/next > shop/db tcp/1")
	if got, ok := w.PodByAddr(next.IPs[0]); !ok || got != next.Key {
		t.Errorf("the address is %v's", got)
	}
	w.change("shop/next", func(p *cluster.Pod) { p.Labels = pairs("app=web") })
	w.allowed("shop/next > shop/db tcp/1")
}

func TestAddressOfTwoLivePodsIsAPeerOnlyWhereBothAre(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	for _, name := range []string{"shop/one", "shop/two"} {
		p := pod(name, 40, "app=web")
		p.Node = "n2"
		w.put(p)
	}
	w.allowed("shop/one > shop/db tcp/1")
	w.change("shop/two", func(p *cluster.Pod) { p.Labels = pairs("app=other") })
	w.denied("shop/one > shop/db tcp/1")
	w.remove("shop/two")
	w.allowed("shop/one > shop/db tcp/1")
}

func TestPortOfThisNodeOwnsItsAddress(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	stale := pod("shop/stale", 1, "app=other")
	stale.Node = "n2"
	w.put(stale)
	w.allowed("shop/web > shop/db tcp/1")
	stale.Labels = pairs("app=web")
	w.change("shop/web", func(p *cluster.Pod) { p.Labels = pairs("app=other") })
	w.denied("shop/web > shop/db tcp/1")
}

func TestPodWithoutAddressIsNoPeerButASubjectByItsPort(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	w.flush()
	far := pod("shop/far", 40, "app=web")
	far.Node, far.IPs = "n2", nil
	w.put(far)
	if d := w.flush(); !d.Empty() {
		t.Errorf("a pod without address tells %+v", d)
	}
	// On this node it is enforced by its port, and a peer no sooner than elsewhere.
	near := pod("shop/near", 41, "app=db")
	port := w.portOf(near)
	near.IPs = nil
	w.put(near)
	w.SetPort(port)
	w.denied("203.0.113.5 > 10.0.0.41 tcp/1", "shop/api > fd00::41 tcp/1")
	w.allowed("shop/web > 10.0.0.41 tcp/1")
	w.change("shop/near", func(p *cluster.Pod) { p.Labels = pairs("app=db,extra=1") })
	w.policy("shop/q", `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}`)
	w.denied("10.0.0.41 > shop/web tcp/1", "fd00::41 > shop/web tcp/1")
	w.change("shop/near", func(p *cluster.Pod) { p.IPs = port.Addrs })
	w.allowed("10.0.0.41 > shop/web tcp/1", "fd00::41 > shop/web tcp/1")
}

func TestEveryAddressOfAPeerCounts(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`)
	w.allowed("play/far > shop/db tcp/1") // asks in both families
	w.change("play/far", func(p *cluster.Pod) { p.IPs = p.IPs[:1] })
	w.allowed("10.0.0.6 > shop/db tcp/1")
	w.denied("fd00::6 > shop/db tcp/1")
}

func TestRulesAreInForceOnlyWhileAPodOfThisNodeIsTheirSubject(t *testing.T) {
	w := shop(t)
	w.policy("play/p", `{podSelector: {matchLabels: {app: far}}, ingress: [{from: [{podSelector: {}}]}]}`)
	if d := w.flush(); !d.Empty() {
		t.Fatalf("a policy without subjects here tells %+v", d)
	}
	near := pod("play/near", 50, "app=far")
	w.attach(near)
	w.allowed("play/web > play/near tcp/1")
	w.denied("shop/web > play/near tcp/1")
	w.DeletePort("sl-play/near")
	w.flush()
	if len(w.model.rules)+len(w.model.peers) > 0 {
		t.Errorf("rules stay without subjects:\n%s", w.model.dump())
	}
}

func TestNamespaceLabelsAreReevaluatedAtOnce(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromTest)
	w.allowed("play/web > shop/db tcp/1")
	w.namespace("play", "team=b")
	w.denied("play/web > shop/db tcp/1")
	w.namespace("shop", "env=test")
	w.allowed("shop/web > shop/db tcp/1")
	w.Update(cluster.Event{Deleted: true, Namespace: &cluster.Namespace{Name: "shop"}})
	w.denied("shop/web > shop/db tcp/1")
}

func TestUnknownNamespaceIsSelectedOnlyByWhatItsNameDecides(t *testing.T) {
	w := shop(t)
	w.attach(pod("new/web", 60, "app=web"))
	for name, c := range map[string]struct {
		selector string
		allow    bool
	}{
		"everything":    {`{}`, true},
		"its name":      {`{matchLabels: {kubernetes.io/metadata.name: new}}`, true},
		"another name":  {`{matchLabels: {kubernetes.io/metadata.name: old}}`, false},
		"a label":       {`{matchLabels: {env: test}}`, false},
		"a label's not": {`{matchExpressions: [{key: env, operator: DoesNotExist}]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			w.policy("shop/p", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: `+c.selector+`}]}]}`)
			w.expect(c.allow, "new/web > shop/db tcp/1")
		})
	}
	w.policy("shop/p", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}}]}]}`)
	w.denied("new/web > shop/db tcp/1")
	w.namespace("new", "")
	w.allowed("new/web > shop/db tcp/1")
}

func TestPodRelabelledMovesBetweenRulesAtOnce(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	w.denied("shop/api > shop/db tcp/1")
	w.change("shop/api", func(p *cluster.Pod) { p.Labels = pairs("app=web") })
	d := w.flush()
	if len(d.Peers) != 2 || len(d.Rules)+len(d.Ports)+len(d.Blocks) > 0 {
		t.Errorf("a peer that joins a set costs %+v, want its two addresses", d)
	}
	w.allowed("shop/api > shop/db tcp/1")
	w.change("shop/db", func(p *cluster.Pod) { p.Labels = pairs("app=free") })
	w.allowed("203.0.113.5 > shop/db tcp/1")
}

func TestPolicyUpdates(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 1}]}, {ports: [{port: 2}]}]}`)
	w.allowed("shop/web > shop/db tcp/1", "shop/web > shop/db tcp/2")

	w.policy("shop/p", `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 1}]}, {ports: [{port: 2}]}]}`)
	if d := w.flush(); !d.Empty() {
		t.Errorf("a repeated policy tells %+v", d)
	}
	w.policy("shop/p", `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 2}]}, {ports: [{port: 1}]}]}`)
	if d := w.flush(); len(d.Rules) != 2 || len(d.Ports)+len(d.Peers) > 0 {
		t.Errorf("rules that change places tell %+v, want two rules", d)
	}
	w.policy("shop/p", `{podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: 2}]}, {ports: [{port: 1}]}]}`)
	w.allowed("shop/web > shop/db tcp/9", "shop/web > shop/api tcp/1")
	w.denied("shop/web > shop/api tcp/9")

	w.policy("shop/p", `{podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: 1}]}]}`)
	w.flush()
	if got := w.ruleKeys(); !slices.Equal(got, []string{"NetworkPolicy/shop/p/ingress/0"}) {
		t.Errorf("rules are %v", got)
	}
	w.removePolicy("shop/p")
	w.allowed("shop/web > shop/api tcp/9")
	if len(w.model.rules) > 0 || len(w.Policies()) > 0 {
		t.Error("the policy is gone but not its rules")
	}
}

func TestPolicyRecreatedBetweenFlushesCostsWhatDiffers(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	w.flush()
	w.removePolicy("shop/p")
	w.policy("shop/p", fromWeb)
	if d := w.flush(); !d.Empty() {
		t.Errorf("the same policy made anew tells %+v", d)
	}
}

func TestEqualSelectorsShareOneTerm(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web, tier: x}}}]}]}`)
	w.policy("shop/q", `{podSelector: {matchExpressions: [{key: app, operator: In, values: [db]}]}, ingress: [{from: [{podSelector: {matchExpressions: [{key: tier, operator: In, values: [x, x]}], matchLabels: {app: web}}}], ports: [{port: 1}]}]}`)
	w.flush()
	p, q := w.model.rules["NetworkPolicy/shop/p/ingress/0"], w.model.rules["NetworkPolicy/shop/q/ingress/0"]
	if !slices.Equal(p.Subjects, q.Subjects) || !slices.Equal(p.Peers, q.Peers) {
		t.Errorf("terms differ: %+v, %+v", p, q)
	}
}

func TestTermKeepsItsHandleWhenItsPolicyIsReplaced(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	w.flush()
	w.removePolicy("shop/p")
	w.policy("shop/q", fromWeb)
	if d := w.flush(); len(d.Rules) != 2 || len(d.Peers)+len(d.Ports)+len(d.Blocks) > 0 {
		t.Errorf("a policy that takes another's place tells %+v, want the two rules", d)
	}
}

func TestPortChangesAreTold(t *testing.T) {
	w := shop(t)
	port := w.portOf(w.pods["shop/web"])
	port.OFPort = 77
	w.SetPort(port)
	if d := w.flush(); len(d.Ports) != 1 || d.Ports[0].Port.OFPort != 77 {
		t.Errorf("a new ofport tells %+v", d)
	}
	w.SetPort(port)
	if d := w.flush(); !d.Empty() {
		t.Errorf("the same port again tells %+v", d)
	}
	port.Pod, port.UID = key("shop/api"), "uid-shop/api"
	w.SetPort(port)
	w.flush()
	if p := w.model.ports[port.Name]; p.Pending {
		t.Error("the port of another pod is pending")
	}
	w.DeletePort(port.Name)
	w.DeletePort("no such port")
	if d := w.flush(); len(d.Ports) != 1 || d.Ports[0].Port != nil {
		t.Errorf("a port that is gone tells %+v", d)
	}
}

func TestAddressesAreTakenInTheirPlainForm(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", fromWeb)
	p := pod("shop/mapped", 70, "app=web")
	p.Node = "n2"
	p.IPs = []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.70"), netip.MustParseAddr("::ffff:10.0.0.70"), {}}
	w.put(p)
	w.allowed("10.0.0.70 > shop/db tcp/1")
}
