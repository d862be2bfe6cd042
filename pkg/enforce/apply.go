package enforce

import (
	"cmp"

	"github.com/sluice-cni/sluice/flows"
)

// rejection is a port change that the pipeline refused.
type rejection struct {
	change flows.PortChange
	err    error
}

// apply enters a delta into the pipeline. Should the pipeline refuse it, the
// parts are entered one by one, so that one impossible port stays shut and does
// not keep the node from being right; whole is then false, and the changes are
// to be had by comparing all flows only.
func (e *Enforcer) apply(delta flows.Delta) (changes flows.Changes, whole bool) {
	for _, c := range delta.Ports {
		delete(e.rejected, c.Name)
	}
	for _, r := range e.rejected {
		delta.Ports = append(delta.Ports, r.change)
	}
	clear(e.rejected)
	changes, err := e.pipeline.Apply(delta)
	if err == nil {
		return changes, true
	}
	enter := func(d flows.Delta) error {
		_, err := e.pipeline.Apply(d)
		if err != nil {
			e.report(err)
		}
		return err
	}
	if delta.Watch != nil {
		enter(flows.Delta{Watch: delta.Watch})
	}
	if delta.Live != nil {
		enter(flows.Delta{Live: delta.Live})
	}
	if delta.Node != nil {
		enter(flows.Delta{Node: delta.Node})
	}
	// What goes from one to another is refused by itself as long as the other has it.
	if enter(flows.Delta{Remotes: delta.Remotes}) != nil {
		for _, r := range delta.Remotes {
			enter(flows.Delta{Remotes: []flows.RemoteChange{r}})
		}
	}
	for _, b := range delta.Blocks {
		enter(flows.Delta{Blocks: []flows.BlockChange{b}})
	}
	enter(flows.Delta{Peers: delta.Peers})
	for _, r := range delta.Rules {
		enter(flows.Delta{Rules: []flows.RuleChange{r}})
	}
	if enter(flows.Delta{Balancers: delta.Balancers}) != nil {
		enterEach(enter, delta.Balancers)
	}
	// What goes makes room for what comes.
	for _, going := range []bool{true, false} {
		for _, p := range delta.Ports {
			if (p.Port == nil) != going {
				continue
			}
			if err := enter(flows.Delta{Ports: []flows.PortChange{p}}); err != nil {
				e.rejected[p.Name] = rejection{p, err}
				// What it was before may let through what is no longer right.
				enter(flows.Delta{Ports: []flows.PortChange{{Name: p.Name}}})
			}
		}
	}
	return flows.Changes{}, false
}

// enterEach enters balancers one by one.
func enterEach(enter func(flows.Delta) error, balancers []flows.BalancerChange) {
	for _, going := range []bool{true, false} {
		for _, b := range balancers {
			if (b.Balancer == nil) != going {
				continue
			}
			if enter(flows.Delta{Balancers: []flows.BalancerChange{b}}) != nil {
				// What it was before may lead to who does not serve it any more.
				enter(flows.Delta{Balancers: []flows.BalancerChange{{Key: b.Key}}})
			}
		}
	}
}

// outcome is the answer to a request that the turn has dealt with.
func (e *Enforcer) outcome(r *request) error {
	if r.watch != nil && e.pipeline.Watch() != *r.watch {
		return e.unmetered
	}
	if r.live != nil && len(r.live.Matches) > 0 && len(e.pipeline.Live().Matches) == 0 {
		return cmp.Or(e.unfollowed, e.unmetered)
	}
	if r.port == nil {
		return nil
	}
	return e.rejected[r.port.Name].err
}
