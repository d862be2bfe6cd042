package random

import (
	"slices"
	"testing"
)

func TestScenariosAreRight(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			for _, step := range s.Steps {
				for _, want := range step.Want {
					if v := step.Cluster.Judge(want.Conn); v.AllowedOn(step.Cluster.Node) != want.Allowed {
						t.Errorf("%s: %s", step.What, Difference(step.Cluster, want.Conn, want.Allowed, "", nil))
					}
				}
				if len(step.Want) == 0 {
					t.Errorf("%s: nothing is asked", step.What)
				}
			}
		})
	}
}

func TestDiffLeadsFromOneClusterToTheOther(t *testing.T) {
	for seed := range uint64(30) {
		w, c := FromSeed(seed, Small), Seed(seed)
		if n := len(Diff(nil, w)); n != len(w.Namespaces)+len(w.Pods)+len(w.Policies) {
			t.Errorf("seed %d: %d changes lead to the whole cluster", seed, n)
		}
		after, said := w, []Change(nil)
		for range 6 {
			var e Edit
			after, e = after.Edit(c, Small)
			said = append(said, e.Changes...)
		}
		changes := Diff(w, after)
		if len(changes) > len(said) {
			t.Errorf("seed %d: %d edited objects make %d changes", seed, len(said), len(changes))
		}
		if !slices.Equal(render(replay(w, changes)), render(after)) {
			t.Errorf("seed %d: the changes do not lead to the cluster after", seed)
		}
	}
}
