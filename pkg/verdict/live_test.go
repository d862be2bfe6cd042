package verdict_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/verdict"
)

// follow follows packets until the test ends or stop is called.
func (b *bed) follow(req api.LiveRequest) (packets chan *api.LivePacket, stop func() error) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.context())
	packets = make(chan *api.LivePacket, 100)
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		ended <- b.Verdicts.Live(ctx, req, func(l *api.LiveLine) error {
			if first {
				first = false
				close(begun)
			}
			if l.Packet != nil {
				packets <- l.Packet
			}
			return nil
		})
	}()
	select {
	case <-begun:
	case err := <-ended:
		b.t.Fatalf("follow %+v: %v", req, err)
	}
	return packets, func() error { cancel(); return <-ended }
}

func (b *bed) packet(from chan *api.LivePacket) *api.LivePacket {
	b.t.Helper()
	select {
	case p := <-from:
		return p
	case <-b.context().Done():
		b.t.Fatal("no packet was followed")
		return nil
	}
}

func tables(p *api.LivePacket) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.Table)
	}
	return strings.Join(out, " ")
}

// A packet is followed through all tables that a trace of it names, with the same
// words and the same reason; what does not match is not followed; and nothing of it
// is left when it ends.
func TestRealPacketsAreFollowedAsATraceSays(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	count := func() (n int) {
		if err := b.Look(b.context(), func(v enforce.View) {
			for range v.Pipeline().Flows() {
				n++
			}
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	packets, stop := b.follow(api.LiveRequest{To: "shop/b", Seconds: 60})
	if count() <= before {
		t.Error("no flows follow packets")
	}
	if err := b.Verdicts.Live(b.context(), api.LiveRequest{To: "shop/b", Seconds: 1}, nil); !errors.Is(err, verdict.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	for _, c := range []struct {
		port    uint16
		verdict string
	}{{80, api.Allowed}, {81, api.Denied}} {
		b.connect(podA, podC, 500+c.port, 80, 1) // another's
		b.connect(podA, podB, c.port, c.port, 1)
		p := b.packet(packets)
		x, err := b.Trace(b.context(), api.TraceRequest{From: "shop/a", To: "shop/b", Protocol: "tcp", Port: c.port})
		if err != nil {
			t.Fatal(err)
		}
		if p.Verdict != c.verdict || p.Reason != x.Reason || p.From.Pod != "shop/a" || p.To.Pod != "shop/b" || p.SourcePort != c.port || p.Port != c.port {
			t.Errorf("followed %+v, a trace says %s", p, x.Reason)
		}
		// A trace names a table twice where one of its flows goes on to the next page.
		var want, meant []string
		for _, s := range x.Steps {
			if n := len(want); n > 0 && want[n-1] == s.Table {
				meant[n-1] = s.Meaning
				continue
			}
			want, meant = append(want, s.Table), append(meant, s.Meaning)
		}
		if got := tables(p); got != strings.Join(want, " ") {
			t.Errorf("crossed\n  %s\na trace\n  %s", got, strings.Join(want, " "))
			continue
		}
		for i, s := range p.Steps {
			if s.Meaning != meant[i] && s.Table != "Denied" {
				t.Errorf("%s: %q, a trace says %q", s.Table, s.Meaning, meant[i])
			}
		}
	}
	// One more packet of the connection that was allowed.
	b.connect(podA, podB, 80, 80, 1)
	if p := b.packet(packets); p.Verdict != api.Allowed || len(p.Steps) == 0 {
		t.Errorf("again: %+v", p)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if after := count(); after != before {
		t.Errorf("%d flows, before %d", after, before)
	}
	if len(packets) != 0 {
		t.Errorf("followed too: %+v", <-packets)
	}
}

func TestWhatCannotBeFollowedIsSaid(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	for want, req := range map[string]api.LiveRequest{
		"seconds":   {To: "shop/b"},
		"one end":   {Seconds: 1},
		"protocol":  {To: "shop/b", Protocol: "gre", Seconds: 1},
		"port":      {To: "shop/b", Port: 80, Seconds: 1},
		"no pod":    {From: "shop/nobody", Seconds: 1},
		"neither":   {From: "nobody", Seconds: 1},
		"in common": {From: "shop/a", To: "fd00::1", Seconds: 1},
	} {
		err := b.Verdicts.Live(b.context(), req, nil)
		if !errors.As(err, new(*observe.BadRequest)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", req, err, want)
		}
	}
}

// The datapath forwards a packet like one it has seen by what it has cached, of
// before packets were followed.
func TestPacketsLikeThoseOfBeforeAreFollowedFromTheBeginning(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	for range 5 {
		b.connect(podA, podB, 1000, 80, 1)
		b.connect(podC, podB, 1000, 81, 1)
		packets, stop := b.follow(api.LiveRequest{To: "shop/b", Seconds: 60})
		b.connect(podA, podB, 1000, 80, 1)
		b.connect(podC, podB, 1000, 81, 1)
		for range 2 {
			if p := b.packet(packets); p.Verdict == api.Incomplete {
				t.Errorf("%s: %s: %s", p.From, p.Reason, tables(p))
			}
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Fatalf("ended with %v", err)
		}
	}
}
