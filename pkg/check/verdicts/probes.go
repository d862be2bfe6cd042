package verdicts

import (
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// probe is a connection to ask about.
type probe struct {
	src, dst *end
	family   int
	service
}

// pair is two ends that have a family in common; at least one is a pod of this
// node.
type pair struct {
	src, dst int32 // of ends
	family   int8
}

// space is all connections there are to ask about. They are not listed: there are
// some for each pair of pods.
type space struct {
	ends  []end
	pairs []pair
	// egress and ingress are the ranges of ports in the rules about each end.
	egress, ingress [][]span
	named           [][]corev1.ContainerPort
}

// newSpace pairs the pods of this node with each other and with the ends outside.
func newSpace(s *snapshot, outside []end) *space {
	w := &space{ends: append(slices.Clone(s.local), outside...)}
	for i := range w.ends {
		e := &w.ends[i]
		w.egress = append(w.egress, s.spansOf(e.pod, networkingv1.PolicyTypeEgress))
		w.ingress = append(w.ingress, s.spansOf(e.pod, networkingv1.PolicyTypeIngress))
		var named []corev1.ContainerPort
		if object := s.pods[e.pod]; object != nil {
			named = object.Spec.Containers[0].Ports
		}
		w.named = append(w.named, named)
	}
	for src := range w.ends {
		for dst := range w.ends {
			// What a pod sends to itself does not leave it.
			if src == dst || src >= len(s.local) && dst >= len(s.local) {
				continue
			}
			for _, family := range []int{4, 6} {
				if w.ends[src].addr(family).IsValid() && w.ends[dst].addr(family).IsValid() {
					w.pairs = append(w.pairs, pair{int32(src), int32(dst), int8(family)})
				}
			}
		}
	}
	return w
}

// services are those to ask about between the ends of a pair.
func (w *space) services(p pair) []service {
	all := servicesOf(w.named[p.dst], w.egress[p.src], w.ingress[p.dst])
	if src := w.ends[p.src]; src.port != "" && w.ends[p.dst].pod.Name == "" {
		// Packets of tunnels never leave a pod for the outside, whatever policies say.
		all = slices.DeleteFunc(all, func(s service) bool {
			return s.protocol == corev1.ProtocolUDP && (s.port == 6081 || s.port == 4789)
		})
	}
	return all
}

// draw returns at most n connections and how many there are. If there are more,
// they are drawn in rounds, in each of which every pair gives one: no pair is
// asked about less than another because rules name more ports there.
func (w *space) draw(n int, seed uint64) (probes []probe, all int) {
	for _, p := range w.pairs {
		all += len(w.services(p))
	}
	order := rand.New(rand.NewPCG(seed, 0)).Perm(len(w.pairs))
	for round := 0; len(probes) < min(n, all); round++ {
		for _, i := range order {
			p := w.pairs[i]
			services := w.services(p)
			if round >= len(services) {
				continue
			}
			// The same permutation in every round.
			pick := rand.New(rand.NewPCG(seed, uint64(i)+1)).Perm(len(services))[round]
			probes = append(probes, probe{&w.ends[p.src], &w.ends[p.dst], int(p.family), services[pick]})
			if len(probes) == n {
				return probes, all
			}
		}
	}
	return probes, all
}
