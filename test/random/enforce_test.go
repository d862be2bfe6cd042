package random

import (
	"flag"
	"testing"
	"time"
)

var (
	firstSeed = flag.Uint64("seed", 0, "the seed of the first random cluster; zero draws one")
	atLeast   = flag.Int("probes", 10_000, "how many connections the random tests trace at least, together")
)

// seeds returns where a test's seeds begin, and says so.
func seeds(t *testing.T) uint64 {
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9
	}
	t.Logf("the first seed is %d; again: go test ./test/random -run %s -seed=%d", seed, t.Name(), seed)
	return seed
}

func TestScenariosAreEnforced(t *testing.T) {
	b := newBed(t)
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			for i, step := range s.Steps {
				act := b.edit
				if i == 0 {
					act = b.load
				}
				if err := act(step.Cluster); err != nil {
					t.Fatalf("%s: %v", step.What, err)
				}
				Compare(t, step.Cluster, step.Probes(), b.judge)
				must(t, b.verify())
				if t.Failed() {
					t.Fatalf("at %q", step.What)
				}
			}
		})
	}
}

// Clusters of their own, each from scratch, and one in twenty a large one.
func TestRandomClustersAreEnforced(t *testing.T) {
	b, agreed := newBed(t), 0
	for seed := seeds(t); agreed < *atLeast/2; seed++ {
		size := Small
		if seed%20 == 0 {
			size = Large
		}
		w := FromSeed(seed, size)
		must(t, b.load(w))
		agreed += b.check(t, w, Seed(seed), 100)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d connections traced as the oracle has them", agreed)
}

// Clusters that live: each edit is written as what changes, and the bridge then
// holds what the pipeline says.
func TestRandomEditsAreEnforced(t *testing.T) {
	b, agreed := newBed(t), 0
	for seed := seeds(t); agreed < *atLeast/2; seed++ {
		w, c := FromSeed(seed, Small), Seed(seed)
		must(t, b.load(w))
		var history []Edit
		for range 40 {
			var e Edit
			w, e = w.Edit(c, Small)
			history = append(history, e)
			must(t, b.edit(w))
			agreed += b.check(t, w, c, 25)
			if err := b.verify(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Fatalf("seed %d, after %v", seed, history)
			}
		}
	}
	t.Logf("%d connections traced as the oracle has them", agreed)
}

// check compares probes of a cluster that is in force. A difference is shown in
// the smallest cluster that has it, if it is there from scratch.
func (b *bed) check(t *testing.T, w *Cluster, c Choices, n int) int {
	t.Helper()
	agreed := 0
	for _, conn := range Probes(w, c, n) {
		got, detail, err := b.judge(conn)
		if err == nil && got == w.Judge(conn).AllowedOn(w.Node) {
			agreed++
			continue
		}
		t.Error(Difference(w, conn, got, detail, err))
		differs := func(w *Cluster) bool {
			if w.Judge(conn).Egress.Unknown || w.Judge(conn).Ingress.Unknown || b.load(w) != nil {
				return false
			}
			again, _, e := b.judge(conn)
			return (e != nil) == (err != nil) && (e != nil || again != w.Judge(conn).AllowedOn(w.Node))
		}
		if small := w.clone(); differs(small) {
			small = Minimize(small, differs)
			must(t, b.load(small))
			got, detail, err = b.judge(conn)
			t.Errorf("minimized:\n%s\n%s", Difference(small, conn, got, detail, err), Manifests(small))
		} else {
			t.Errorf("from scratch it is right; the cluster:\n%s", Manifests(w))
		}
		return agreed
	}
	return agreed
}
