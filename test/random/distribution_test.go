package random

import (
	"fmt"
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// without returns the cluster after a change to every rule's peers and ports: a
// verdict that changes with it was decided by what is no longer there.
func without(w *Cluster, edit func([]networkingv1.NetworkPolicyPeer, []networkingv1.NetworkPolicyPort)) *Cluster {
	n := w.clone()
	for _, p := range n.Policies {
		for _, r := range p.Spec.Ingress {
			edit(r.From, r.Ports)
		}
		for _, r := range p.Spec.Egress {
			edit(r.To, r.Ports)
		}
	}
	return n
}

func withoutExcepts(w *Cluster) *Cluster {
	return without(w, func(peers []networkingv1.NetworkPolicyPeer, _ []networkingv1.NetworkPolicyPort) {
		for _, p := range peers {
			if p.IPBlock != nil {
				p.IPBlock.Except = nil
			}
		}
	})
}

func withoutRanges(w *Cluster) *Cluster {
	return without(w, func(_ []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
		for i := range ports {
			ports[i].EndPort = nil
		}
	})
}

func withoutNames(w *Cluster) *Cluster {
	return without(w, func(_ []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
		for i := range ports {
			if p := ports[i].Port; p != nil && p.Type == intstr.String {
				ports[i].Port = ptr.To(intstr.FromString("nobody"))
			}
		}
	})
}

func withoutBlocks(w *Cluster) *Cluster {
	return without(w, func(peers []networkingv1.NetworkPolicyPeer, _ []networkingv1.NetworkPolicyPort) {
		for i := range peers {
			if peers[i].IPBlock != nil {
				peers[i].IPBlock = &networkingv1.IPBlock{CIDR: "255.255.255.255/32"}
			}
		}
	})
}

func withoutSelectors(w *Cluster) *Cluster {
	return without(w, func(peers []networkingv1.NetworkPolicyPeer, _ []networkingv1.NetworkPolicyPort) {
		for i := range peers {
			if peers[i].IPBlock == nil {
				peers[i] = networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "255.255.255.255/32"}}
			}
		}
	})
}

// A random test that nearly always sees one verdict, or never meets a feature,
// proves little. This measures what the clusters and probes are like.
func TestVerdictsAndWhatDecidesThemAreVaried(t *testing.T) {
	for _, tt := range []struct {
		name             string
		size             Size
		clusters, probes int
	}{
		{"small", Small, 150, 60},
		{"large", Large, 4, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			count := map[string]int{}
			total := 0
			for seed := range tt.clusters {
				w := FromSeed(uint64(seed), tt.size)
				variants := map[string]*Cluster{
					"decided by an except": withoutExcepts(w), "decided by an endPort": withoutRanges(w),
					"decided by a named port": withoutNames(w), "decided by an ipBlock": withoutBlocks(w),
					"decided by selectors": withoutSelectors(w),
				}
				for _, conn := range Probes(w, Seed(uint64(seed)), tt.probes) {
					total++
					v := w.Judge(conn)
					allowed := v.AllowedOn(w.Node)
					count["allowed"] += one(allowed)
					count["egress isolated here"] += one(v.Egress.Isolated && v.Egress.Node == w.Node)
					count["ingress isolated here"] += one(v.Ingress.Isolated && v.Ingress.Node == w.Node)
					count["exempt"] += one(v.Ingress.Exempt != "")
					count["IPv6"] += one(conn.Src.Addr.Is6())
					count[string(conn.Protocol)]++
					count["both ends here"] += one(v.Egress.Node == w.Node && v.Ingress.Node == w.Node)
					for what, x := range variants {
						count[what] += one(x.Judge(conn).AllowedOn(w.Node) != allowed)
					}
				}
			}
			share := func(what string) float64 { return 100 * float64(count[what]) / float64(total) }
			names := make([]string, 0, len(count))
			for what := range count {
				names = append(names, what)
			}
			slices.Sort(names)
			for _, what := range names {
				t.Logf("%-24s %5.1f%% of %d probes", what, share(what), total)
			}
			for _, limit := range []struct {
				what        string
				least, most float64
			}{
				{"allowed", 25, 75},
				{"egress isolated here", 20, 80},
				{"ingress isolated here", 20, 80},
				{"IPv6", 20, 60},
				{"decided by an except", 1, 100},
				{"decided by an endPort", 1, 100},
				{"decided by a named port", 1, 100},
				{"decided by an ipBlock", 4, 100},
				{"decided by selectors", 5, 100},
				{"SCTP", 5, 40},
				{"ICMP", 5, 40},
			} {
				if s := share(limit.what); s < limit.least || s > limit.most {
					t.Errorf("%s: %.1f%% of the probes, want %v%% to %v%%", limit.what, s, limit.least, limit.most)
				}
			}
		})
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSameSeedMakesTheSameCase(t *testing.T) {
	make := func() string {
		w := FromSeed(7, Small)
		c := Seed(8)
		text := string(Manifests(w))
		for range 20 {
			var e Edit
			w, e = w.Edit(c, Small)
			text += e.String() + "\n"
		}
		return text + string(Manifests(w)) + fmt.Sprint(Probes(w, c, 50))
	}
	if first, second := make(), make(); first != second {
		t.Error("two runs of one seed differ")
	}
}
