package simulate

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/test/need"
)

// load simulates a folder; its problems are the test's, if it has no use for
// them.
func load(t *testing.T, dir string, problem func(error)) *Cluster {
	t.Helper()
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	need.Tool(t, "ovsdb-server", sandboxtest.Install)
	if problem == nil {
		problem = func(err error) { t.Error(err) }
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o := Options{Node: "node", PodCIDRs: DefaultPodCIDRs, OnProblem: problem}
	bed, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	events, err := cluster.ReadFolder(dir, cluster.FolderOptions{Node: "node"})
	if err != nil {
		t.Fatal(err)
	}
	c := NewCluster(bed, o)
	if err := c.Apply(ctx, events); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExamplesAllowWhatTheirExpectationsSay(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/expected.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range files {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			list, err := ParseExpectations(f)
			if err != nil {
				t.Fatal(err)
			}
			c := load(t, dir, nil)
			outcomes, err := c.Check(t.Context(), list, BothFamilies, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range outcomes {
				if !o.Holds {
					t.Errorf("%s should be %s: %s %+v", o.Connection, o.Wanted(), o.Problem, o.Seen)
				}
			}
		})
	}
}
