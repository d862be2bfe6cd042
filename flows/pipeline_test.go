package flows

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// bridge is a model of a bridge: it holds flows by what OpenFlow knows them by.
type bridge map[string]*Flow

func (b bridge) write(t interface{ Fatalf(string, ...any) }, c Changes) {
	seen := map[string]bool{}
	for _, f := range c.Delete {
		k := flow.Key(f)
		if b[k] == nil {
			t.Fatalf("deletes a flow that is not there: %s", k)
		}
		if seen[k] {
			t.Fatalf("deletes a flow twice: %s", k)
		}
		seen[k] = true
		delete(b, k)
	}
	for _, f := range c.Add {
		k := flow.Key(f)
		if seen[k] {
			t.Fatalf("names a flow twice: %s", k)
		}
		seen[k] = true
		if old := b[k]; old != nil && flow.Body(old) == flow.Body(f) {
			t.Fatalf("adds a flow that is there already: %s %s", k, flow.Body(f))
		}
		b[k] = f
	}
}

func texts(fs ...*Flow) []string {
	var out []string
	for _, f := range fs {
		out = append(out, flow.Key(f)+" = "+flow.Body(f))
	}
	slices.Sort(out)
	return out
}

func diffText(a, b []string) string {
	var out strings.Builder
	for _, s := range a {
		if !slices.Contains(b, s) {
			fmt.Fprintf(&out, "- %s\n", s)
		}
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			fmt.Fprintf(&out, "+ %s\n", s)
		}
	}
	return out.String()
}

// Whatever has changed in whatever order: the changes that were given out add
// up to the flows of the pipeline; these are what a pipeline started anew on the
// same bridge computes from all there is; no two have the same match; and the
// verdicts are those of the rules read one by one.
func TestChangesAddUpToACompileFromScratch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Small pages make chains of what fits on one otherwise.
		size := rapid.IntRange(1, 9).Draw(t, "page size")
		w, p, b, gs := newWorld(), newPipeline(size), bridge{}, groupTable{}
		first := w.whole()
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			d := first
			if step > 0 {
				d = w.drawDelta(t)
			}
			var live []Connection
			for range 10 {
				if c := drawConnection(t); step > 0 && w.allowed(c) && !p.Stale(c) {
					live = append(live, c)
				}
			}
			c, err := p.Apply(d)
			if err != nil {
				t.Fatalf("apply: %v", err)
			}
			w.apply(d)
			b.write(t, c)
			gs.write(t, c)
			gs.check(t, b)
			for _, conn := range live {
				if !w.allowed(conn) && !c.Narrows {
					t.Fatalf("%+v was allowed and is not now, but the change is not said to narrow", conn)
				}
			}
		}
		all := slices.Collect(p.Flows())
		keys := map[string]bool{}
		for _, f := range all {
			if keys[flow.Key(f)] {
				t.Fatalf("two flows with the same match: %s", flow.Key(f))
			}
			keys[flow.Key(f)] = true
		}
		want := texts(all...)
		if got := texts(slices.Collect(maps.Values(b))...); !slices.Equal(got, want) {
			t.Fatalf("changes and flows differ:\n%s", diffText(got, want))
		}
		if got := slices.SortedFunc(maps.Values(gs), byID); !reflect.DeepEqual(got, slices.SortedFunc(p.Groups(), byID)) {
			t.Fatalf("changes add up to groups %v", got)
		}
		scratch := newPipeline(size)
		scratch.Restore(p.Flows())
		scratch.RestoreGroups(p.Groups())
		if _, err := scratch.Apply(w.whole()); err != nil {
			t.Fatalf("apply all: %v", err)
		}
		if got := texts(slices.Collect(scratch.Flows())...); !slices.Equal(got, want) {
			t.Fatalf("from scratch (-) and incrementally (+) differ:\n%s", diffText(got, want))
		}
		if !reflect.DeepEqual(slices.SortedFunc(scratch.Groups(), byID), slices.SortedFunc(p.Groups(), byID)) {
			t.Fatalf("groups from scratch differ")
		}
		checkConjunctions(t, all)
		for range 20 {
			c := drawConnection(t)
			if got, want := p.Judge(c).Allowed, w.allowed(c); got != want {
				t.Fatalf("%+v: judged %v, the rules say %v", c, got, want)
			}
		}
	})
}

// checkConjunctions checks that each conjunction has its conj_id flow and all
// its dimensions' numbers in range.
func checkConjunctions(t *rapid.T, all []*Flow) {
	for _, table := range []Table{TableEgressPolicy, TableIngressPolicy} {
		named, has := map[uint32]bool{}, map[uint32]bool{}
		for _, f := range all {
			if Table(f.Table) != table {
				continue
			}
			if id := number(matchOf(f, "conj_id")); id != 0 {
				has[id] = true
			}
			for _, a := range f.Actions {
				text, _ := a.MarshalText()
				var id uint32
				var k, n int
				if _, err := fmt.Sscanf(string(text), "conjunction(%d,%d/%d)", &id, &k, &n); err == nil {
					named[id] = true
					if k < 1 || k > n || n < 2 {
						t.Fatalf("conjunction out of range: %s", text)
					}
				}
			}
		}
		for id := range named {
			if !has[id] {
				t.Fatalf("%s: conjunction %d has no conj_id flow", table, id)
			}
		}
	}
}
