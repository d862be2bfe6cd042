package vsdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

func TestDatabaseRestartIsSurvived(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	before := add(t, db, pod(2))
	stopDB(t, s, db)

	for name, err := range map[string]error{
		"Ports":        second(db.Ports(within(t, 50*time.Millisecond))),
		"AddPort":      second(db.AddPort(within(t, 50*time.Millisecond), pod(3))),
		"DeletePort":   db.DeletePort(within(t, 50*time.Millisecond), before.Name),
		"EnsureBridge": db.EnsureBridge(within(t, 50*time.Millisecond), testBridge),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not connected to OVSDB at "+s.Endpoint()) {
			t.Errorf("%s without a database: error is %v", name, err)
		}
	}

	waiting := make(chan error, 1)
	ctx := within(t, timeout)
	go func() {
		_, err := db.AddPort(ctx, pod(3))
		waiting <- err
	}()
	startDB(t, s)
	if err := <-waiting; err != nil {
		t.Errorf("a call during the outage failed: %v", err)
	}
	list := ports(t, db)
	if len(list) != 2 || list[0].OFPort != before.OFPort || !list[0].Attachment.Equal(before.Attachment) {
		t.Errorf("ports are %+v", list)
	}
	if err := db.EnsureBridge(within(t, timeout), testBridge); err != nil {
		t.Error(err)
	}
}

func TestVswitchdRestartIsSurvived(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	before := add(t, db, pod(2))
	if err := s.StopVswitchd(within(t, timeout)); err != nil {
		t.Fatal(err)
	}
	if !db.Connected() {
		t.Error("the database is another process and should still be connected")
	}
	if err := s.StartVswitchd(within(t, timeout)); err != nil {
		t.Fatal(err)
	}
	if err := db.EnsureBridge(within(t, timeout), testBridge); err != nil {
		t.Fatal(err)
	}
	add(t, db, pod(3))
	if list := ports(t, db); len(list) != 2 || list[0].OFPort != before.OFPort {
		t.Errorf("ports are %+v", list)
	}
}

func TestSubscriberHearsOfEveryPort(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	first := add(t, db, pod(2))
	events := subscribe(t, db)
	events.expect(t, PortReady, first.Name)
	second := add(t, db, pod(3))
	events.expect(t, PortReady, second.Name)

	vsctl(t, s, "set", "interface", first.Name, "ofport_request=77")
	if e := events.expect(t, PortChanged, first.Name); e.Port.OFPort != 77 || e.OldOFPort != first.OFPort {
		t.Errorf("event is %+v", e)
	}
	vsctl(t, s, "set", "interface", second.Name, "type=nonesuch")
	if e := events.expect(t, PortLost, second.Name); e.OldOFPort != second.OFPort || e.Port.Error == "" {
		t.Errorf("event is %+v", e)
	}
	vsctl(t, s, "set", "interface", second.Name, "type=dummy")
	events.expect(t, PortReady, second.Name)
	if err := db.DeletePort(within(t, timeout), first.Name); err != nil {
		t.Fatal(err)
	}
	if e := events.expect(t, PortRemoved, first.Name); !e.Port.Attachment.Equal(first.Attachment) {
		t.Errorf("event is %+v", e)
	}
}

func TestSubscriberHearsWhatChangedDuringAnOutage(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	kept, removed := add(t, db, pod(2)), add(t, db, pod(3))
	events := subscribe(t, db)
	events.expect(t, PortReady, kept.Name)
	events.expect(t, PortReady, removed.Name)
	uuid := strings.TrimSpace(vsctl(t, s, "get", "port", removed.Name, "_uuid"))
	stopDB(t, s, db)
	sandboxtest.Run(t, s, "ovsdb-tool", "transact", filepath.Join(s.RunDir(), "conf.db"), fmt.Sprintf(
		`["Open_vSwitch", {"op": "mutate", "table": "Bridge", "where": [], "mutations": [["ports", "delete", ["uuid", %q]]]}]`, uuid))
	startDB(t, s)
	events.expect(t, PortRemoved, removed.Name)
}

func TestDifferentDatabaseIsNoticed(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	gone := add(t, db, pod(2))
	events := subscribe(t, db)
	events.expect(t, PortReady, gone.Name)
	stopDB(t, s, db)
	file := filepath.Join(s.RunDir(), "conf.db")
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Run(t, s, "ovsdb-tool", "create", file, "/usr/share/openvswitch/vswitch.ovsschema")
	sandboxtest.Run(t, s, "ovsdb-tool", "transact", file, `["Open_vSwitch", {"op": "insert", "table": "Open_vSwitch", "row": {}}]`)
	startDB(t, s)
	events.expect(t, PortRemoved, gone.Name)
	if list := ports(t, db); len(list) != 0 {
		t.Errorf("ports are %+v", list)
	}
	if err := db.EnsureBridge(within(t, timeout), testBridge); err != nil {
		t.Fatal(err)
	}
	add(t, db, pod(2))
	events.expect(t, PortReady, gone.Name)
}

func TestDialSaysWhyItCouldNot(t *testing.T) {
	_, err := Dial(within(t, 50*time.Millisecond), Config{Endpoint: "unix:" + filepath.Join(t.TempDir(), "db.sock")})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("error is %v", err)
	}
	silent, err := net.Listen("unix", filepath.Join(t.TempDir(), "silent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, err = Dial(within(t, 50*time.Millisecond), Config{Endpoint: "unix:" + silent.Addr().String()})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer yet") {
		t.Errorf("error is %v", err)
	}
	if _, err := Dial(within(t, timeout), Config{Endpoint: "/run/db.sock"}); err == nil || !strings.Contains(err.Error(), "Endpoint") {
		t.Errorf("error is %v", err)
	}
}

func TestCloseEndsWhatWaitsAlsoDuringAnOutage(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	subscribe(t, db)
	stopDB(t, s, db)
	waiting := make(chan error, 1)
	ctx := within(t, timeout)
	go func() { waiting <- db.WaitReady(ctx) }()
	db.Close()
	for _, err := range []error{<-waiting, second(db.Ports(ctx))} {
		if !errors.Is(err, errClosed) {
			t.Errorf("error is %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// stopDB ends the server and waits until the connection's loss is noticed.
func stopDB(t *testing.T, s *sandbox.Sandbox, db *DB) {
	t.Helper()
	if err := s.StopDB(within(t, timeout)); err != nil {
		t.Fatal(err)
	}
	for ctx := within(t, timeout); ; {
		now, moved := db.current()
		if now == nil {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			t.Fatal("the DB still counts as connected")
		}
	}
}

func startDB(t *testing.T, s *sandbox.Sandbox) {
	t.Helper()
	if err := s.StartDB(within(t, timeout)); err != nil {
		t.Fatal(err)
	}
}

type eventLog chan PortEvent

func subscribe(t *testing.T, db *DB) eventLog {
	t.Helper()
	log := make(eventLog, 100)
	t.Cleanup(db.Subscribe(func(e PortEvent) { log <- e }))
	return log
}

// expect waits for the event, over those of other ports.
func (l eventLog) expect(t *testing.T, kind PortEventKind, name string) PortEvent {
	t.Helper()
	var seen []string
	for ctx := within(t, timeout); ; {
		select {
		case e := <-l:
			if e.Kind == kind && e.Port.Name == name {
				return e
			}
			seen = append(seen, e.Kind.String()+" "+e.Port.Name)
		case <-ctx.Done():
			t.Fatalf("no event %s of %s, but %v", kind, name, seen)
		}
	}
}
