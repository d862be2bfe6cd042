package enforce

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// freed are the addresses that ports have given up, each until no connection with
// that port can be left: what is established passes without a verdict, to whoever
// has the address next.
type freed struct {
	mu    sync.Mutex
	asked uint64                // how many sweeps were asked for
	addrs map[netip.Addr]uint64 // the sweep that was asked for when an address was given up
	clean chan struct{}         // closed and replaced when some are free of connections
}

func (f *freed) init() { f.addrs, f.clean = map[netip.Addr]uint64{}, make(chan struct{}) }

// add notes addresses as a sweep is asked for.
func (f *freed) add(addrs []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	for _, a := range addrs {
		f.addrs[a] = f.asked
	}
}

// last returns which sweep was asked for last.
func (f *freed) last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// done ends the wait for addresses that were given up until a sweep was asked for.
func (f *freed) done(sweep uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for a, n := range f.addrs {
		if n <= sweep {
			delete(f.addrs, a)
		}
	}
	close(f.clean)
	f.clean = make(chan struct{})
}

// wait returns when no connections of before are left with the addresses.
func (f *freed) wait(ctx context.Context, addrs []netip.Addr, stopped <-chan struct{}) error {
	for {
		f.mu.Lock()
		at := slices.IndexFunc(addrs, func(a netip.Addr) bool { return f.addrs[a] != 0 })
		clean := f.clean
		f.mu.Unlock()
		if at < 0 {
			return nil
		}
		select {
		case <-clean:
		case <-stopped:
			return ErrStopped
		case <-ctx.Done():
			return fmt.Errorf("there are still connections of who had %s before: %w", addrs[at], context.Cause(ctx))
		}
	}
}

// giveUp notes which addresses of a port go, as it goes itself or keeps only some.
func (e *Enforcer) giveUp(port string, keeps []netip.Addr) {
	for _, a := range e.ports[port].Addrs {
		if !slices.Contains(keeps, a) {
			e.givenUp = append(e.givenUp, a)
		}
	}
}
