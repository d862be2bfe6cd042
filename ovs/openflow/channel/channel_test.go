package channel

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// testBridge starts a switch with a bridge that has port 1, and returns where it
// is spoken to. The test fails if it leaves goroutines behind.
func testBridge(t testing.TB, versions string) (target string, s *sandbox.Sandbox) {
	t.Helper()
	noLeaks(t)
	s = sandboxtest.Start(t, sandbox.Dummy)
	sandboxtest.Run(t, s, "ovs-vsctl", "--db="+s.Endpoint(), "--", "add-br", "br0",
		"--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure", "protocols="+versions,
		"--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=1")
	return "unix:" + s.RunDir() + "/br0.mgmt", s
}

// noLeaks checks at the end of the test that all goroutines of this package have
// ended.
func noLeaks(t testing.TB) {
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			if !strings.Contains(string(stacks), "channel.(*Conn)") {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("goroutines are left:\n%s", stacks)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, target string) *Conn {
	t.Helper()
	c, err := Dial(testContext(t), Config{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// drop is a flow that drops what has a value in a register.
func drop(value int) *ofp.FlowMod {
	return &ofp.FlowMod{Table: 1, Priority: 5, Cookie: uint64(value), Match: ofp.Match{{Field: register(), Value: ofp.Value{Lo: uint64(value)}}}}
}

func register() *ofp.Field { return ofp.FieldNamed("NXM_NX_REG3") }

// refused is a flow that no switch takes: it goes back to its own table.
func refused() *ofp.FlowMod {
	return &ofp.FlowMod{Table: 1, Priority: 6, Instructions: ofp.Instructions{Goto: 1}}
}

func count(t testing.TB, c *Conn) int {
	t.Helper()
	n := 0
	err := c.Each(testContext(t), &ofp.FlowRequest{Table: ofp.AllTables}, func(m ofp.Message) error {
		n += len(m.(*ofp.FlowReply).Flows)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const allVersions = "OpenFlow10,OpenFlow13,OpenFlow15"

func TestConnectionSaysWhoTheBridgeIs(t *testing.T) {
	target, s := testBridge(t, allVersions)
	c := dial(t, target)
	id := strings.Trim(strings.TrimSpace(sandboxtest.Run(t, s, "ovs-vsctl", "--db="+s.Endpoint(), "get", "bridge", "br0", "datapath_id")), `"`)
	if got := fmt.Sprintf("%016x", c.Features().DatapathID); got != id || c.Features().Tables != 254 {
		t.Errorf("features %+v, datapath id %s", c.Features(), id)
	}
}

func TestBridgeWithoutOpenFlow15IsRefused(t *testing.T) {
	target, _ := testBridge(t, "OpenFlow10,OpenFlow13")
	if _, err := Dial(testContext(t), Config{Target: target}); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v", err)
	}
}

func TestBundleIsTakenAsAWhole(t *testing.T) {
	target, _ := testBridge(t, allVersions)
	c := dial(t, target)
	ctx := testContext(t)
	const many = 5000
	if err := c.Bundle(ctx, many, func(i int) (ofp.Message, error) { return drop(i), nil }); err != nil {
		t.Fatal(err)
	}
	if n := count(t, c); n != many {
		t.Errorf("%d flows of %d", n, many)
	}
	for _, bad := range []int{0, 17, many - 1} {
		err := c.Bundle(ctx, many, func(i int) (ofp.Message, error) {
			if i == bad {
				return refused(), nil
			}
			return drop(many + i), nil
		})
		r, ok := errors.AsType[*RefusedError](err)
		if !ok || r.Index != bad || r.Err.String() != "OFPBIC_BAD_TABLE_ID" {
			t.Errorf("message %d is bad: %v", bad, err)
		}
	}
	enough := errors.New("enough")
	if err := c.Bundle(ctx, 9, func(i int) (ofp.Message, error) {
		if i == 5 {
			return nil, enough
		}
		return drop(many + i), nil
	}); !errors.Is(err, enough) {
		t.Errorf("error of the caller: %v", err)
	}
	if n := count(t, c); n != many {
		t.Errorf("after refused bundles: %d flows of %d", n, many)
	}
	if err := c.Err(); err != nil {
		t.Errorf("the connection was lost: %v", err)
	}
}

// What only committing finds out, such as a full table, names its message too.
func TestRefusalAtCommitNamesTheMessage(t *testing.T) {
	target, s := testBridge(t, allVersions)
	sandboxtest.Run(t, s, "ovs-vsctl", "--db="+s.Endpoint(), "--", "--id=@t", "create", "Flow_Table", "flow_limit=2",
		"overflow_policy=refuse", "--", "set", "bridge", "br0", "flow_tables:1=@t")
	c := dial(t, target)
	err := c.Bundle(testContext(t), 5, func(i int) (ofp.Message, error) { return drop(i), nil })
	r, ok := errors.AsType[*RefusedError](err)
	if !ok || r.Index != 2 || r.Err.String() != "OFPFMFC_TABLE_FULL" {
		t.Fatalf("got %v", err)
	}
	if h, m, err := r.Err.Failed(); err != nil || h.XID == 0 || m.(*ofp.FlowMod).Cookie != 2 {
		t.Errorf("the failed message is %+v %+v, %v", h, m, err)
	}
	if n := count(t, c); n != 0 {
		t.Errorf("%d flows", n)
	}
}

func TestMessagesAreDoneOrRefusedOneByOne(t *testing.T) {
	target, _ := testBridge(t, allVersions)
	c := dial(t, target)
	err := c.Do(testContext(t), drop(1), refused(), drop(2), refused())
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Index != 1 {
		t.Errorf("got %v", err)
	}
	if n := count(t, c); n != 2 {
		t.Errorf("%d flows", n)
	}
	if err := c.Each(testContext(t), ofp.SetConfig{Flags: 0xffff}, nil); !strings.Contains(fmt.Sprint(err), "OFPSCFC_BAD_FLAGS") {
		t.Errorf("got %v", err)
	}
}

func TestManyAskOnOneConnection(t *testing.T) {
	target, _ := testBridge(t, allVersions)
	c := dial(t, target)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				first := 10_000*g + 10*i
				if err := c.Bundle(ctx, 10, func(i int) (ofp.Message, error) { return drop(first + i), nil }); err != nil {
					t.Error(err)
				}
				if err := c.Each(ctx, &ofp.FlowRequest{Table: 2}, func(ofp.Message) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, c); n != 8*20*10 {
		t.Errorf("%d flows", n)
	}
}

func TestEndedContextEndsARequestNotTheConnection(t *testing.T) {
	target, _ := testBridge(t, allVersions)
	c := dial(t, target)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Barrier(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.Barrier(testContext(t)); err != nil {
		t.Errorf("a request after it: %v", err)
	}
	// In the middle of a bundle it does, so that nothing of the bundle is left.
	middle, cancel := context.WithCancel(context.Background())
	err := c.Bundle(middle, 10, func(i int) (ofp.Message, error) {
		if i == 5 {
			cancel()
		}
		return drop(i), nil
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(c.Err(), ErrLost) {
		t.Errorf("got %v, connection %v", err, c.Err())
	}
	if n := count(t, dial(t, target)); n != 0 {
		t.Errorf("%d flows", n)
	}
}

func TestPacketGoesOutAndComesInAgain(t *testing.T) {
	target, s := testBridge(t, allVersions)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	packets := make(chan *ofp.PacketIn, 10)
	connected := make(chan error, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- Listen(ctx, Config{Target: target}, func(p *ofp.PacketIn) { packets <- p }, func(err error) { connected <- err })
	}()
	send := func() {
		c := dial(t, target)
		frame, _ := hex.DecodeString("000000000001" + "000000000002" + "0806" + "00010800060400010a580a0000020a0000020000000000000a000001")
		out := &ofp.PacketOut{Packet: frame, Match: ofp.Match{{Field: ofp.FieldNamed("OXM_OF_IN_PORT"), Value: ofp.Value{Lo: 1}}}, Actions: []ofp.Action{
			ofp.SetField{OXM: ofp.OXM{Field: register(), Value: ofp.Value{Lo: 7}}},
			ofp.Controller{MaxLen: 65535, Reason: ofp.ReasonApplyAction, UserData: []byte{1, 2, 3}},
		}}
		if err := c.Do(ctx, out); err != nil {
			t.Fatal(err)
		}
		select {
		case p := <-packets:
			if string(p.Packet) != string(frame) || string(p.UserData) != "\x01\x02\x03" || int(p.TotalLen) != len(frame) {
				t.Errorf("got %+v", p)
			}
			if reg, port := p.Metadata.Value(register()), p.Metadata.Value(ofp.FieldNamed("OXM_OF_IN_PORT")); reg.Lo != 7 || port.Lo != 1 {
				t.Errorf("metadata %+v", p.Metadata)
			}
		case <-ctx.Done():
			t.Fatal("no packet came in")
		}
	}
	wait := func(want bool) {
		t.Helper()
		for {
			select {
			case err := <-connected:
				if (err == nil) == want {
					return
				}
			case <-ctx.Done():
				t.Fatalf("connected: never %v", want)
			}
		}
	}
	wait(true)
	send()
	// A switch that is started again is listened to again.
	if err := s.StopVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	wait(false)
	if err := s.StartVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	wait(true)
	send()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v", err)
	}
}

func TestChannelDialsAgainAndHangsUp(t *testing.T) {
	target, s := testBridge(t, allVersions)
	ctx := testContext(t)
	ch := New(Config{Target: target}, 20*time.Millisecond)
	defer ch.Close()
	var first *Conn
	use := func() (c *Conn, err error) {
		err = ch.Use(ctx, func(got *Conn) error { c = got; return got.Barrier(ctx) })
		return c, err
	}
	first, err := use()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.Done():
	case <-ctx.Done():
		t.Fatal("a connection that is not used is kept")
	}
	second, err := use()
	if err != nil || second == first {
		t.Fatalf("after hanging up: %v", err)
	}
	if err := s.StopVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := use(); err == nil {
		t.Error("without a switch: no error")
	}
	if err := s.StartVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := use(); err != nil {
		t.Errorf("after the switch came back: %v", err)
	}
}
