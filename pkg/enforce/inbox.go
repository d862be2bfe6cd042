package enforce

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// request is something the loop is told or asked; one of the fields is set.
type request struct {
	events []cluster.Event
	node   *flows.Node
	port   *policy.LocalPort
	gone   string // name of a port
	remote *flows.RemoteChange
	watch  *flows.Watch
	live   *flows.Live
	resync bool
	view   func(*Enforcer)
	// begun is set by whoever comes first: the loop as it begins the view, or the
	// asker as it gives up. A view never runs after its asker has left.
	begun atomic.Bool

	done chan error // buffered; nil if nobody waits
}

func (r *request) answer(err error) {
	if r.done != nil {
		r.done <- err
	}
}

func answer(rs []*request, err error) {
	for _, r := range rs {
		r.answer(err)
	}
}

// inbox holds requests in the order in which they came. It never blocks who
// sends: events of a whole cluster may come while a bundle is being written.
type inbox struct {
	mu   sync.Mutex
	rs   []*request
	wake chan struct{} // has one place
}

func (i *inbox) put(r *request) {
	i.mu.Lock()
	i.rs = append(i.rs, r)
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *inbox) take() []*request {
	i.mu.Lock()
	defer i.mu.Unlock()
	rs := i.rs
	i.rs = nil
	return rs
}

// do sends a request and waits for its answer.
func (e *Enforcer) do(ctx context.Context, r *request) error {
	r.done = make(chan error, 1)
	e.inbox.put(r)
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		if r.view != nil && r.begun.Swap(true) {
			return <-r.done // being looked at now, which is quick
		}
		return context.Cause(ctx)
	case <-e.done:
		select {
		case err := <-r.done:
			return err
		default:
			return ErrStopped
		}
	}
}

// Emit tells of changes of the cluster. It is the emit of a cluster.Source and
// doesn't wait.
func (e *Enforcer) Emit(events []cluster.Event) {
	if len(events) > 0 {
		e.inbox.put(&request{events: events})
	}
}

// SetNode tells what the pipeline must know of its node. It doesn't wait.
func (e *Enforcer) SetNode(n flows.Node) { e.inbox.put(&request{node: &n}) }

// SetRemote adds or replaces another node that is reached through the tunnel. It
// doesn't wait.
func (e *Enforcer) SetRemote(name string, r flows.Remote) {
	e.inbox.put(&request{remote: &flows.RemoteChange{Name: name, Remote: &r}})
}

// DeleteRemote removes another node. It doesn't wait.
func (e *Enforcer) DeleteRemote(name string) {
	e.inbox.put(&request{remote: &flows.RemoteChange{Name: name}})
}

// SetPort adds or replaces a pod's port and returns when the bridge enforces
// what is known of its pod, which is nothing but its isolation if the pod is
// not known yet, and nothing is left of connections of who had one of its addresses
// before. An error means the port may pass nothing, but such connections.
func (e *Enforcer) SetPort(ctx context.Context, p policy.LocalPort) error {
	if err := e.do(ctx, &request{port: &p}); err != nil {
		return err
	}
	return e.sweep.freed.wait(ctx, p.Addrs, e.done)
}

// DeletePort removes a port and returns when the bridge has none of its flows. It
// does not wait for the first bundle, which the API server may hold up: flows of an
// earlier enforcer go with it, and no SetPort returns before.
func (e *Enforcer) DeletePort(ctx context.Context, name string) error {
	return e.do(ctx, &request{gone: name})
}

// Resync compares the bridge with what it should hold and writes the
// difference: for when ovs-vswitchd has started anew.
func (e *Enforcer) Resync(ctx context.Context) error { return e.do(ctx, &request{resync: true}) }

// Sync returns when everything told before is on the bridge.
func (e *Enforcer) Sync(ctx context.Context) error {
	return e.do(ctx, &request{events: []cluster.Event{}})
}

// Look calls view with the loop's state, from the loop. view must be quick and
// keep nothing it does not copy.
func (e *Enforcer) Look(ctx context.Context, view func(View)) error {
	return e.do(ctx, &request{view: func(e *Enforcer) { view(View{e}) }})
}

// TellPort is SetPort for ports that are there already; it does not wait. Those
// told before Synced events are in force from the first bundle on.
func (e *Enforcer) TellPort(p policy.LocalPort) { e.inbox.put(&request{port: &p}) }

// TellPortGone is DeletePort without waiting.
func (e *Enforcer) TellPortGone(name string) { e.inbox.put(&request{gone: name}) }
