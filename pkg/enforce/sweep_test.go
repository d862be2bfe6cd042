package enforce_test

import (
	"context"
	"encoding/hex"
	"strconv"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// An agent may end after it has written a policy and before it has cut what that
// no longer allows. The next one finds the flows as they should be.
func TestAnEnforcerCutsWhatTheOneBeforeDidNotGetTo(t *testing.T) {
	b := newBed(t)
	e, stop := b.run(nil) // it sweeps nothing
	b.tell(e)
	b.sync(e)
	const cut, kept = "10.0.0.2>10.0.0.3", "10.0.0.4>10.0.0.2"
	b.syn("a", "b", 80)
	b.syn("c", "a", 80)
	eventually(t, func() bool { return len(b.tracked()) == 2 })
	e.Emit([]cluster.Event{only("c")})
	b.sync(e)
	stop()
	if _, there := b.tracked()[cut]; !there {
		t.Fatalf("%s is not tracked any more, and nobody has swept", cut)
	}

	e, _ = b.run(connections{b: b})
	for _, p := range pods {
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	e.Emit(append(cluster3(), only("c"), cluster.Event{Synced: true}))
	b.sync(e)
	eventually(t, func() bool { _, there := b.tracked()[cut]; return !there })
	if _, there := b.tracked()[kept]; !there {
		t.Errorf("%s was cut, although it is allowed", kept)
	}
}

// slow is a switch that goes on for a while as flows were.
type slow struct {
	connections
	settled chan struct{} // closed when it does not any more
}

func (s slow) Settle(ctx context.Context) error {
	select {
	case <-s.settled:
	case <-ctx.Done():
	}
	return nil
}

func TestWhatTheSwitchCommitsBeforeItHasSettledIsCutToo(t *testing.T) {
	b := newBed(t)
	s := slow{connections{b: b}, make(chan struct{})}
	e, _ := b.run(s)
	b.tell(e)
	b.sync(e)
	b.syn("a", "b", 80)
	const cut = "10.0.0.2>10.0.0.3"
	tracked := func() bool { _, there := b.tracked()[cut]; return there }
	eventually(t, tracked)
	e.Emit([]cluster.Event{only("c")})
	b.sync(e)
	eventually(t, func() bool { return !tracked() }) // by the first sweep
	// As a flow of before would have it, which the switch still has in its cache.
	sandboxtest.Run(t, b.sandbox, "ovs-ofctl", "-O", "OpenFlow15", "packet-out", "br", "in_port="+strconv.Itoa(int(b.ports["a"].OFPort))+
		",packet="+hex.EncodeToString(b.frame("a", "b", 80))+",actions=ct(commit,zone="+strconv.Itoa(int(flows.ZoneIPv4))+")")
	eventually(t, tracked)
	close(s.settled)
	eventually(t, func() bool { return !tracked() })
}
