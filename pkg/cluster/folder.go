package cluster

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

// FolderOptions change how a folder is read. The zero value is fine.
type FolderOptions struct {
	// Node is the node of pods whose manifests name none.
	Node string
	// MaxFileBytes is the size of the largest file that is read, 8 MiB if zero.
	MaxFileBytes int64
	// MaxFiles is the largest number of manifest files that is read, 10,000 if
	// zero. A folder with more is not read at all.
	MaxFiles int
	// Quiet is how long the folder must have been left alone before it is read
	// again, 100 ms if zero. An editor replaces a file in several steps.
	Quiet time.Duration
	// Rescan is how often the folder is read even if no change was noticed, as on
	// file systems that tell of none; one minute if zero.
	Rescan time.Duration
}

// maxQuiet bounds how long a folder that is never left alone goes unread.
const maxQuiet = 2 * time.Second

// lostRescan is how often a folder that could not be read is tried again.
const lostRescan = time.Second

func (o FolderOptions) withDefaults() FolderOptions {
	if o.MaxFileBytes == 0 {
		o.MaxFileBytes = 8 << 20
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = 10_000
	}
	if o.Quiet == 0 {
		o.Quiet = 100 * time.Millisecond
	}
	if o.Rescan == 0 {
		o.Rescan = time.Minute
	}
	return o
}

// FolderSource is a folder of manifests as a Source.
//
// Files that end in .yaml, .yml or .json are read, also in subfolders; package
// manifest says how. What can't be read is a Problem event that names file,
// document, object and field, and the last good version of the object stays in
// force until it is mended or taken out. A pod has the addresses its manifest's
// status gives it. A workload stands for its pods. A namespace that is used and
// not declared is there all the same.
type FolderSource struct {
	state *folderState
}

// NewFolderSource returns a source that reads dir, which may also be a single
// file.
func NewFolderSource(dir string, o FolderOptions) *FolderSource {
	return &FolderSource{state: newFolderState(dir, o)}
}

// ReadFolder reads a folder once, as a FolderSource does before it follows
// changes. The last event is Synced.
func ReadFolder(dir string, o FolderOptions) ([]Event, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	unwatched := func(string) error { return nil }
	return append(newFolderState(dir, o).scan(unwatched), Event{Synced: true}), nil
}

// Run implements Source. It fails if the folder does not exist.
func (s *FolderSource) Run(ctx context.Context, emit func([]Event)) error {
	if _, err := os.Stat(s.state.root); err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("follow manifests in %s: %w", s.state.root, err)
	}
	defer watcher.Close()

	emit(append(s.state.scan(watcher.Add), Event{Synced: true}))
	next := newSchedule(s.state.options)
	for {
		next.settle(s.state.lost)
		if !next.wait(ctx, watcher) {
			return nil
		}
		if events := s.state.scan(watcher.Add); len(events) > 0 {
			klog.FromContext(ctx).V(2).Info("Manifests changed", "folder", s.state.root, "events", len(events))
			emit(events)
		}
	}
}

// schedule decides when to read the folder again.
type schedule struct {
	quiet, rescan time.Duration
	timer         *time.Timer
}

func newSchedule(o FolderOptions) *schedule {
	return &schedule{quiet: o.Quiet, rescan: o.Rescan, timer: time.NewTimer(o.Rescan)}
}

// settle starts the wait for the next change.
func (s *schedule) settle(lost bool) {
	if lost {
		s.timer.Reset(min(s.rescan, lostRescan))
	} else {
		s.timer.Reset(s.rescan)
	}
}

// wait returns true when the folder is to be read, false when ctx is done. What
// the watcher says is no more than a hint that something has changed; an error
// is one that it has missed something.
func (s *schedule) wait(ctx context.Context, watcher *fsnotify.Watcher) bool {
	var latest time.Time // by which to read at all events, once a change is known
	for {
		select {
		case <-ctx.Done():
			s.timer.Stop()
			return false
		case <-s.timer.C:
			return true
		case <-watcher.Events:
		case <-watcher.Errors:
		}
		if latest.IsZero() {
			latest = time.Now().Add(max(maxQuiet, s.quiet))
		}
		s.timer.Reset(min(s.quiet, time.Until(latest)))
	}
}
