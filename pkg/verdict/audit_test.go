package verdict_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/verdict"
)

// The audit log has each event once, in files that only their owner reads, and
// begins a new one when one is full.
func TestAuditLogHasEachEventAndBeginsNewFiles(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	dir := t.TempDir()
	path := filepath.Join(dir, "verdicts.log")
	// What is there is kept, and nobody else may read on.
	old := make([]byte, 1<<20-2000)
	for i := range old {
		old[i] = '\n'
	}
	if err := os.WriteFile(path, old, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.context())
	ended := make(chan error)
	go func() {
		ended <- b.Verdicts.Audit(ctx, verdict.AuditLog{Path: path, MaxSize: 1, MaxFiles: 2, Allowed: true})
	}()
	b.await(func(s api.WatchStatus) bool { return s.Allows })
	const denied = 20
	b.connect(podC, podB, 100, 80, denied)
	b.connect(podA, podB, 99, 80, 1)
	b.await(func(s api.WatchStatus) bool { return s.Sampled == denied+1 })
	var files []string
	seen := map[uint16]api.Event{}
	for len(seen) < denied+1 {
		var err error
		if files, err = filepath.Glob(filepath.Join(dir, "*")); err != nil || b.context().Err() != nil {
			t.Fatalf("%d of %d events in %v: %v", len(seen), denied+1, files, err)
		}
		clear(seen)
		for _, f := range files {
			readEvents(t, f, seen)
		}
	}
	if e := seen[99]; e.Verdict != api.Allowed || e.Time.IsZero() || e.Ingress == nil || e.Policies[0] != "shop/guard" {
		t.Errorf("allowed: %+v", e)
	}
	if len(files) != 2 {
		t.Errorf("files %v", files)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	b.await(func(s api.WatchStatus) bool { return !s.Allows })
	for _, path := range []string{dir, filepath.Join(dir, "none", "file"), "/dev/null"} {
		if err := b.Verdicts.Audit(b.context(), verdict.AuditLog{Path: path, MaxSize: 1, MaxFiles: 1}); err == nil {
			t.Errorf("%s is taken for an audit log", path)
		}
	}
}

func readEvents(t *testing.T, path string, into map[uint16]api.Event) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e api.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // being written
		}
		if _, twice := into[e.SourcePort]; twice {
			t.Fatalf("event %d stands twice", e.Seq)
		}
		into[e.SourcePort] = e
	}
}
