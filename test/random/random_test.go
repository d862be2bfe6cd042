package random

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/pkg/oracle"
)

// What follows an edit are the old objects with the changes applied to them, and
// nothing handed out before has changed.
func TestEditsAreTheChangesTheySay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := Clusters(Small).Draw(t, "cluster")
		for range 5 {
			before := render(w)
			var after *Cluster
			e := Draw(t, "edit", func(c Choices) (e Edit) {
				after, e = w.Edit(c, Small)
				return e
			})
			if !slices.Equal(render(w), before) {
				t.Fatalf("%s: the cluster before has changed", e)
			}
			replayed := replay(w, e.Changes)
			if got, want := render(replayed), render(after); !slices.Equal(got, want) {
				t.Fatalf("%s: the changes do not lead to the cluster after", e)
			}
			w = after
		}
	})
}

// replay applies changes as a watch would.
func replay(w *Cluster, changes []Change) *Cluster {
	n := w.clone()
	for _, g := range changes {
		switch {
		case g.Pod != nil:
			n.Pods = slices.DeleteFunc(n.Pods, func(p *corev1.Pod) bool { return p.Namespace == g.Pod.Namespace && p.Name == g.Pod.Name })
			if !g.Deleted {
				n.Pods = append(n.Pods, g.Pod)
			}
		case g.Namespace != nil:
			n.Namespaces = slices.DeleteFunc(n.Namespaces, func(o *corev1.Namespace) bool { return o.Name == g.Namespace.Name })
			n.Namespaces = append(n.Namespaces, g.Namespace)
		case g.Policy != nil:
			n.Policies = slices.DeleteFunc(n.Policies, func(p *networkingv1.NetworkPolicy) bool {
				return p.Namespace == g.Policy.Namespace && p.Name == g.Policy.Name
			})
			if !g.Deleted {
				n.Policies = append(n.Policies, g.Policy)
			}
		}
	}
	return n
}

// render returns the objects of a cluster as texts, in an order of their own.
func render(w *Cluster) (texts []string) {
	add := func(o any) {
		b, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		texts = append(texts, string(b))
	}
	for _, o := range w.Nodes {
		add(o)
	}
	for _, o := range w.Namespaces {
		add(o)
	}
	for _, o := range w.Pods {
		add(o)
	}
	for _, o := range w.Policies {
		add(o)
	}
	slices.Sort(texts)
	return texts
}

func TestNoTwoPodsShareAnAddressAtATime(t *testing.T) {
	for seed := range uint64(50) {
		w, c := FromSeed(seed, Small), Seed(seed)
		for range 30 {
			holder := map[netip.Addr]string{}
			for _, p := range w.Pods {
				for _, a := range PortAddrs(p) {
					if holder[a] != "" {
						t.Fatalf("seed %d: %s and %s share %s", seed, holder[a], p.Name, a)
					}
					holder[a] = p.Name
				}
			}
			w, _ = w.Edit(c, Small)
		}
	}
}

func TestProbesHaveAPortOfTheNodeAtOneEnd(t *testing.T) {
	for seed := range uint64(50) {
		w := FromSeed(seed, Small)
		ports := map[netip.Addr]bool{}
		for _, p := range w.Pods {
			for _, a := range PortAddrs(p) {
				ports[a] = p.Spec.NodeName == w.Node
			}
		}
		for _, conn := range Probes(w, Seed(seed), 100) {
			if !ports[conn.Src.Addr] && !ports[conn.Dst.Addr] {
				t.Errorf("seed %d: %s passes no port of %s", seed, conn, w.Node)
			}
			if conn.Src.Addr.Is4() != conn.Dst.Addr.Is4() {
				t.Errorf("seed %d: %s mixes families", seed, conn)
			}
			if conn.Port == 0 && conn.Protocol != oracle.ICMP {
				t.Errorf("seed %d: %s goes to no port", seed, conn)
			}
		}
	}
}

func TestManifestsHoldTheWholeCluster(t *testing.T) {
	w := FromSeed(3, Small)
	var back oracle.Cluster
	for doc := range strings.SplitSeq(string(Manifests(w)), "---\n") {
		var kind struct{ Kind string }
		must(t, yaml.Unmarshal([]byte(doc), &kind))
		switch kind.Kind {
		case "Node":
			back.Nodes = append(back.Nodes, read[corev1.Node](t, doc))
		case "Namespace":
			back.Namespaces = append(back.Namespaces, read[corev1.Namespace](t, doc))
		case "Pod":
			back.Pods = append(back.Pods, read[corev1.Pod](t, doc))
		case "NetworkPolicy":
			back.Policies = append(back.Policies, read[networkingv1.NetworkPolicy](t, doc))
		}
	}
	if again := (&Cluster{Cluster: back}); !bytes.Equal(Manifests(again), Manifests(w)) {
		t.Error("the manifests read back are another cluster")
	}
	for _, conn := range Probes(w, Seed(3), 200) {
		got, want := toJSON(t, back.Judge(conn)), toJSON(t, w.Judge(conn))
		if got != want {
			t.Errorf("%s: judged %s of the manifests, want %s", conn, got, want)
		}
	}
}

func read[T any](t *testing.T, doc string) *T {
	t.Helper()
	o := new(T)
	must(t, yaml.Unmarshal([]byte(doc), o))
	return o
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// log is a test that only notes its errors.
type log []string

func (l *log) Helper() {}

func (l *log) Errorf(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func TestCompareFindsEachFeatureThatIsMissed(t *testing.T) {
	for name, weaken := range map[string]func(*Cluster) *Cluster{
		"excepts": withoutExcepts, "ranges": withoutRanges, "names": withoutNames,
		"blocks": withoutBlocks, "selectors": withoutSelectors,
	} {
		t.Run(name, func(t *testing.T) {
			var errors log
			probes := 0
			for seed := uint64(0); len(errors) == 0 && seed < 100; seed++ {
				w := FromSeed(seed, Small)
				conns := Probes(w, Seed(seed), 40)
				probes += len(conns)
				Compare(&errors, w, conns, blind(w, weaken))
			}
			if len(errors) == 0 {
				t.Fatalf("a judge that knows no %s goes unnoticed in %d probes", name, probes)
			}
			t.Logf("found after at most %d probes: %s", probes, errors[0])
			for _, part := range []string{"seed ", "want ", "egress: ", "blindly"} {
				if !strings.Contains(errors[0], part) {
					t.Errorf("the message has no %q", part)
				}
			}
			if last := errors[len(errors)-1]; !strings.Contains(last, "kind: NetworkPolicy") {
				t.Error("the manifests are not in the messages")
			}
		})
	}
}

// blind is a judge that misses something.
func blind(w *Cluster, weaken func(*Cluster) *Cluster) Judge {
	weak := weaken(w)
	return func(conn oracle.Conn) (bool, string, error) {
		return weak.Judge(conn).AllowedOn(w.Node), "judged blindly", nil
	}
}

func TestCompareCountsWhatAgreesAndReportsAJudgeThatFails(t *testing.T) {
	w := FromSeed(1, Small)
	conns := Probes(w, Seed(1), 20)
	var errors log
	if n := Compare(&errors, w, conns, blind(w, func(w *Cluster) *Cluster { return w })); n != 20 || len(errors) != 0 {
		t.Errorf("%d of 20 agree, errors %q", n, errors)
	}
	Compare(&errors, w, conns[:1], func(oracle.Conn) (bool, string, error) { return false, "", fmt.Errorf("no bridge") })
	if len(errors) != 2 || !strings.Contains(errors[0], "not judged: no bridge") {
		t.Errorf("errors %q", errors)
	}
}

func TestMinimizeLeavesASmallCase(t *testing.T) {
	for seed := uint64(0); ; seed++ {
		w := FromSeed(seed, Small)
		for _, conn := range Probes(w, Seed(seed), 40) {
			fails := func(w *Cluster) bool {
				got, _, _ := blind(w, withoutExcepts)(conn)
				return got != w.Judge(conn).AllowedOn(w.Node)
			}
			if !fails(w) {
				continue
			}
			m := Minimize(w, fails)
			if !fails(m) || len(m.Policies) != 1 || len(m.Pods) > 2 {
				t.Errorf("seed %d: %s is left as\n%s", seed, conn, Manifests(m))
			}
			return
		}
	}
}
