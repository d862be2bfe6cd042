package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/need"
	"github.com/sluice-cni/sluice/test/netns"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// spec returns a daemon that runs for longer than any test.
func spec(t *testing.T, name string) Spec {
	return Spec{Name: name, Args: []string{need.Tool(t, "sleep", "apt-get install coreutils"), "1000"}, Log: filepath.Join(t.TempDir(), "log")}
}

func begin(t *testing.T, dir string, s Spec) Record {
	t.Helper()
	if err := Start(dir, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := End(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	r, err := Find(dir, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestADaemonIsTheProgramOnceItHasStarted(t *testing.T) {
	s := spec(t, "one")
	r := begin(t, t.TempDir(), s)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.PID))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00"); strings.Join(got, " ") != strings.Join(s.Args, " ") {
		t.Errorf("process %d is %q, want %q", r.PID, got, s.Args)
	}
	if !r.Running() {
		t.Error("it is said not to run")
	}
}

func TestEndLeavesNoDaemon(t *testing.T) {
	dir := t.TempDir()
	records := []Record{begin(t, dir, spec(t, "one")), begin(t, dir, spec(t, "two"))}
	for range 2 { // the second finds nothing to do
		if err := End(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range records {
		if r.Running() {
			t.Errorf("%s still runs", r.Name)
		}
	}
	if left, err := List(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestAProcessThatHasTheOldPidIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	r := begin(t, dir, spec(t, "one"))
	other := r
	other.Start--
	others := t.TempDir()
	if err := writeRecord(recordPath(others, other.Name), other); err != nil {
		t.Fatal(err)
	}
	if err := End(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	if !r.Running() {
		t.Error("a process that started at another time was ended")
	}
}

func TestStartSaysWhatFailed(t *testing.T) {
	dir := t.TempDir()
	s := spec(t, "one")
	s.Args[0] = "/nowhere/program"
	if err := Start(dir, s); err == nil || !strings.Contains(err.Error(), "/nowhere/program") {
		t.Errorf("a program that is not there: %v", err)
	}
	s = spec(t, "two")
	s.Netns = "/nowhere/netns"
	if err := Start(dir, s); err == nil || !strings.Contains(err.Error(), "network namespace") {
		t.Errorf("a namespace that is not there: %v", err)
	}
	if left, err := List(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestADaemonRunsInItsNetworkNamespace(t *testing.T) {
	need.Root(t)
	n, err := netns.Create(filepath.Join(t.TempDir(), "ns"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Delete(); err != nil {
			t.Error(err)
		}
	})
	s := spec(t, "one")
	s.Netns = n.Path()
	r := begin(t, t.TempDir(), s)
	if got, want := inode(t, fmt.Sprintf("/proc/%d/ns/net", r.PID)), inode(t, n.Path()); got != want {
		t.Errorf("it runs in namespace %d, want %d", got, want)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Ino
}

func TestAFirstProcessIsFoundFromOutside(t *testing.T) {
	need.Root(t)
	s := spec(t, "one")
	s.Clone = syscall.CLONE_NEWPID
	r := begin(t, t.TempDir(), s)
	if r.PID == 1 || !r.Running() {
		t.Errorf("it has pid %d, running: %t", r.PID, r.Running())
	}
	if inode(t, fmt.Sprintf("/proc/%d/ns/pid", r.PID)) == inode(t, "/proc/self/ns/pid") {
		t.Error("it has no pid namespace of its own")
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	r := begin(t, t.TempDir(), spec(t, "one"))
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := waitEnd(ctx, fd); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestStatIsReadWhateverTheCommandIsCalled(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for _, name := range []string{"sleep", "a b", "x) R 1 (y"} {
		got, err := parseStat("12 (" + name + ")" + rest)
		if want := (stat{state: 'S', start: 4711}); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "12 (x) S 1 2", "12 x" + rest, "12 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 20"} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}
