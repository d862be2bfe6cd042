package enforce_test

import (
	"testing"

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
