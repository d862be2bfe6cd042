package enforce_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// watched runs an enforcer that tells of what is denied, over a native connection
// or not.
func (b *bed) watched(native bool) *enforce.Enforcer {
	b.t.Helper()
	bridge, err := openflow.Open(openflow.Config{Target: "br", RunDir: b.sandbox.RunDir(), Native: native})
	if err != nil {
		b.t.Fatal(err)
	}
	e := enforce.New(enforce.Config{Node: "n1", Bridge: bridge, PortAddresses: true, Watch: flows.Watch{PerPort: 5, Denied: 9}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	b.t.Cleanup(func() { cancel(); running.Wait() })
	b.tell(e)
	b.sync(e)
	return e
}

// meters are the meters of the bridge as ovs-ofctl shows them: "meter=1 9".
func (b *bed) meters() []string {
	b.t.Helper()
	var out []string
	id := ""
	for line := range strings.Lines(sandboxtest.Run(b.t, b.sandbox, "ovs-ofctl", "-O", "OpenFlow15", "dump-meters", "br")) {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "meter=") {
			id = f[0]
		} else if len(f) > 1 && strings.HasPrefix(f[1], "rate=") {
			out = append(out, id+" "+strings.TrimPrefix(f[1], "rate="))
		}
	}
	slices.Sort(out)
	return out
}

// metered counts the flows that tell of verdicts.
func (b *bed) metered() (n int) {
	for _, f := range b.dump() {
		if strings.Contains(f, "controller(") {
			n++
		}
	}
	return n
}

func TestMetersStandForThePortsThereAreAndAfterARestart(t *testing.T) {
	b := newBed(t)
	e := b.watched(true)
	gateway := b.node.GatewayOFPort
	check := func(when string, want int) {
		t.Helper()
		if got := b.meters(); len(got) != want || !slices.Contains(got, "meter=1 9") {
			t.Errorf("%s: meters %v, want %d", when, got, want)
		}
	}
	check("at first", 5) // of all, of the gateway and of three pods
	if n := b.metered(); n != 4 {
		t.Errorf("%d flows tell of what is denied, there are 4 ports (gateway %d)", n, gateway)
	}
	if err := e.SetWatch(b.context(), flows.Watch{PerPort: 6, Denied: 9, Allowed: 7}); err != nil {
		t.Fatal(err)
	}
	check("telling of what is allowed", 6)
	if got := b.meters(); !slices.Contains(got, "meter=2 7") || !slices.Contains(got, "meter=4 6") {
		t.Errorf("changed rates: meters %v", got)
	}
	if n := b.metered(); n != 6 {
		t.Errorf("%d flows tell of verdicts", n)
	}
	if err := e.DeletePort(b.context(), b.ports["a"].Name); err != nil {
		t.Fatal(err)
	}
	check("without a port", 5)
	if err := b.sandbox.StopVswitchd(b.context()); err != nil {
		t.Fatal(err)
	}
	if err := b.sandbox.StartVswitchd(b.context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Resync(b.context()); err != nil {
		t.Fatal(err)
	}
	check("of another ovs-vswitchd", 5)
	if err := e.SetWatch(b.context(), flows.Watch{}); err != nil {
		t.Fatal(err)
	}
	if got, n := b.meters(), b.metered(); len(got) != 0 || n != 0 {
		t.Errorf("telling of nothing: meters %v, %d flows", got, n)
	}
}

// Whoever takes the meters away takes their flows with them. Both come back.
func TestMetersThatAreLostComeBack(t *testing.T) {
	b := newBed(t)
	e := b.watched(true)
	sandboxtest.Run(t, b.sandbox, "ovs-ofctl", "-O", "OpenFlow15", "del-meters", "br")
	if n := b.metered(); n != 0 {
		t.Fatalf("%d flows without their meter", n)
	}
	if err := e.Resync(b.context()); err != nil {
		t.Fatal(err)
	}
	if got, n := b.meters(), b.metered(); len(got) != 5 || n != 4 {
		t.Errorf("meters %v, %d flows", got, n)
	}
}

// Without meters verdicts are the same, and told to nobody.
func TestWithoutMetersNothingIsTold(t *testing.T) {
	b := newBed(t)
	e := b.watched(false)
	var why error
	if err := e.Look(b.context(), func(v enforce.View) {
		if why = v.Unmetered(); !v.Ready() {
			t.Error("not ready")
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(why, openflow.ErrNoMeters) || b.metered() != 0 {
		t.Errorf("%v, %d flows tell of verdicts", why, b.metered())
	}
	if err := e.SetWatch(b.context(), flows.Watch{PerPort: 1, Denied: 1}); !errors.Is(err, openflow.ErrNoMeters) {
		t.Errorf("asked again: %v", err)
	}
	if err := e.CheckPort(b.context(), b.ports["b"].Name); err != nil {
		t.Error(err)
	}
}
