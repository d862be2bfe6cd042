package service

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// TestHistoriesAddUp draws histories of events and checks that what was told adds
// up to what the naive compiler makes of the cluster as it is in the end, with the
// same problems standing, and no frontend is of two balancers.
func TestHistoriesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{services: map[cluster.Key]*cluster.Service{}, slices: map[cluster.Key]*cluster.EndpointSlice{}}
		c := New("n0")
		told := map[flows.BalancerKey]*flows.Balancer{}
		for range rapid.IntRange(1, 12).Draw(t, "flushes") {
			for range rapid.IntRange(0, 5).Draw(t, "events") {
				c.Update(w.draw(t)...)
			}
			changes, _ := c.Flush()
			for i, ch := range changes {
				if i > 0 && changes[i-1].Key >= ch.Key {
					t.Fatalf("changes are not sorted, or name %s twice", ch.Key)
				}
				if same(told[ch.Key], ch.Balancer) {
					t.Fatalf("%s was told and has not changed: %s", ch.Key, text(ch.Balancer))
				}
				if told[ch.Key] = ch.Balancer; ch.Balancer == nil {
					delete(told, ch.Key)
				}
			}
			balancers, problems := w.naive()
			if diff := cmp.Diff(texts(balancers), texts(told)); diff != "" {
				t.Fatalf("balancers (-naive +told):\n%s", diff)
			}
			var stand []string
			for _, s := range c.Services() {
				for _, p := range s.Problems {
					stand = append(stand, p.Service.String()+" "+p.Field)
				}
			}
			slices.Sort(stand)
			slices.Sort(problems)
			if diff := cmp.Diff(problems, stand); diff != "" {
				t.Fatalf("problems (-naive +standing):\n%s", diff)
			}
			if _, more := c.Flush(); len(more) > 0 {
				t.Fatalf("a flush after nothing tells of %v", more)
			}
		}
	})
}

func texts(all map[flows.BalancerKey]*flows.Balancer) map[string]string {
	out := map[string]string{}
	for key, b := range all {
		out[string(key)] = text(b)
	}
	return out
}

// world is a cluster that events change at random. There is little of
// everything, so that things meet.
type world struct {
	zone     string
	services map[cluster.Key]*cluster.Service
	slices   map[cluster.Key]*cluster.EndpointSlice
}

func name(t *rapid.T, label string, n int) string {
	return fmt.Sprint(label, rapid.IntRange(0, n-1).Draw(t, label))
}

// some draws a few of the elements given.
func some[T any](t *rapid.T, label string, of ...T) (out []T) {
	for i, e := range of {
		if rapid.IntRange(0, 2).Draw(t, fmt.Sprint(label, i)) == 0 {
			out = append(out, e)
		}
	}
	return out
}

func (w *world) draw(t *rapid.T) []cluster.Event {
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		w.zone = name(t, "z", 2)
		return []cluster.Event{set(&cluster.Node{Name: "n0", Zone: w.zone})}
	case 1, 2:
		key := cluster.Key{Namespace: "x", Name: name(t, "svc", 3)}
		delete(w.services, key)
		return []cluster.Event{deleted(&cluster.Service{Key: key})}
	case 3:
		key := cluster.Key{Namespace: "x", Name: name(t, "slice", 4)}
		delete(w.slices, key)
		return []cluster.Event{deleted(&cluster.EndpointSlice{Key: key})}
	case 4, 5, 6:
		s := drawService(t)
		w.services[s.Key] = s
		return []cluster.Event{set(s)}
	}
	s := drawSlice(t)
	w.slices[s.Key] = s
	return []cluster.Event{set(s)}
}

func drawService(t *rapid.T) *cluster.Service {
	n := rapid.IntRange(0, 2).Draw(t, "svc")
	s := &cluster.Service{
		Key:     cluster.Key{Namespace: "x", Name: fmt.Sprint("svc", n)},
		Created: int64(rapid.IntRange(0, 1).Draw(t, "created")),
		// One that was deleted may leave its address to another.
		ClusterIPs:    some(t, "clusterIP", addrs(fmt.Sprint("10.96.0.", rapid.IntRange(0, n).Draw(t, "ip")), fmt.Sprint("fd00::", n))...),
		ExternalIPs:   some(t, "externalIP", addrs("203.0.113.1", "203.0.113.2", "10.96.0.0")...),
		SourceRanges:  some(t, "range", prefixes("198.51.100.0/24", "2001:db8::/32", "0.0.0.0/0")...),
		InternalLocal: rapid.Bool().Draw(t, "internal"), ExternalLocal: rapid.Bool().Draw(t, "external"),
	}
	s.LoadBalancerIPs = some(t, "lb", addrs("203.0.113.1", "2001:db8::1")...)
	for i, p := range []cluster.ServicePort{{Name: "a", Protocol: "TCP", Port: 80}, {Name: "b", Protocol: "TCP", Port: 81}, {Name: "a", Protocol: "UDP", Port: 80}} {
		if rapid.Bool().Draw(t, fmt.Sprint("port", i)) {
			if rapid.Bool().Draw(t, fmt.Sprint("nodeport", i)) {
				p.NodePort = 30000
			}
			s.Ports = append(s.Ports, p)
		}
	}
	return s
}

func drawSlice(t *rapid.T) *cluster.EndpointSlice {
	s := &cluster.EndpointSlice{
		Key:     cluster.Key{Namespace: "x", Name: name(t, "slice", 4)},
		Service: rapid.SampledFrom([]string{"", "svc0", "svc0", "svc1", "svc2"}).Draw(t, "of"),
		Ports: some(t, "slicePort", cluster.EndpointPort{Name: "a", Protocol: "TCP", Port: 8080}, cluster.EndpointPort{Name: "b", Protocol: "TCP", Port: 8080},
			cluster.EndpointPort{Name: "a", Protocol: "UDP", Port: 8080}, cluster.EndpointPort{Name: "a", Protocol: "TCP", Port: 8081}),
	}
	is6 := rapid.IntRange(0, 3).Draw(t, "is6") == 0
	for i := range rapid.IntRange(0, 3).Draw(t, "endpoints") {
		text := fmt.Sprint("10.1.0.", rapid.IntRange(0, 3).Draw(t, "ep"))
		if is6 {
			text = fmt.Sprint("fd00:1::", rapid.IntRange(0, 3).Draw(t, "ep"))
		}
		text += rapid.SampledFrom([]string{"", " node=n0", " node=n1"}).Draw(t, fmt.Sprint("node", i))
		text += rapid.SampledFrom([]string{"", "", "", " unready", " terminating", " draining"}).Draw(t, fmt.Sprint("condition", i))
		text += rapid.SampledFrom([]string{"", " zone=z0", " zone=z0 zone=z1", " zone=z1"}).Draw(t, fmt.Sprint("zone", i))
		text += rapid.SampledFrom([]string{"", "", " for-node=n0", " for-node=n1"}).Draw(t, fmt.Sprint("for", i))
		s.Endpoints = append(s.Endpoints, ep(text))
	}
	return s
}

// sortedKeys are the keys of Services or slices in order.
func sortedKeys[V any](m map[cluster.Key]V) []cluster.Key {
	return slices.SortedFunc(maps.Keys(m), compareKeys)
}
