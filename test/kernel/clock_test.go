package main

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/openflow/channel"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// Whether the switch is alive has nothing to do with the time of day, which may be
// set at any moment, as at boot.
func TestAClockThatIsSetCostsNoConnection(t *testing.T) {
	if !inMachine() {
		t.Skip("sets the clock, so it runs in the emulated machine only")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "switch")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan struct{})
	go answerEchoes(l, asked)
	c, err := channel.Dial(ctx, channel.Config{Target: "unix:" + path, Probe: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		to := unix.NsecToTimeval(time.Now().Add(step).UnixNano())
		if err := unix.Settimeofday(&to); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			select {
			case <-asked:
			case <-c.Done():
				t.Fatalf("after the clock was set by %v: %v", step, c.Err())
			case <-ctx.Done():
				t.Fatalf("after the clock was set by %v the switch is not asked any more", step)
			}
		}
	}
}

// answerEchoes is a switch that does nothing but say that it is alive, and tells of
// each time that it is asked.
func answerEchoes(l net.Listener, asked chan<- struct{}) {
	nc, err := l.Accept()
	if err != nil {
		return
	}
	defer nc.Close()
	send := func(xid uint32, m ofp.Message) {
		if b, err := ofp.Append(nil, xid, m); err == nil {
			_, _ = nc.Write(b) // the other end sees it
		}
	}
	send(1, ofp.Hello{Versions: 1 << ofp.Version})
	for {
		b, err := ofp.Read(nc, nil)
		if err != nil {
			return
		}
		h, m, err := ofp.Parse(b)
		if err != nil {
			return
		}
		switch m.Type() {
		case ofp.TypeFeaturesRequest:
			send(h.XID, ofp.Features{DatapathID: 5})
		case ofp.TypeEchoRequest:
			send(h.XID, ofp.EchoReply{})
			asked <- struct{}{}
		}
	}
}
