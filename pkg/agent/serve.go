package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sluice-cni/sluice/pkg/check"
	"github.com/sluice-cni/sluice/pkg/check/verdicts"
	"github.com/sluice-cni/sluice/pkg/cni"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/ui"
	"github.com/sluice-cni/sluice/pkg/support"
)

// shutdownTime is how long CNI calls under way may take to end when the agent
// stops.
const shutdownTime = 5 * time.Second

// listen opens all that the agent serves. If one can't be opened, none is.
func (a *Agent) listen(ctx context.Context) (all []served, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	socket, err := cni.Listen(ctx, a.cfg.Socket)
	if err != nil {
		return nil, err
	}
	observer := a.observer()
	questions := a.questions(observer)
	all = []served{{socket, a.socketMux(observer, questions)}}
	for _, tcp := range []struct {
		field, address string
		handler        http.Handler
	}{
		{"healthAddress", a.cfg.HealthAddress, a.healthMux()},
		{"uiAddress", a.cfg.UIAddress, ui.Guard(questions)},
	} {
		if tcp.address == "" {
			continue
		}
		l, err := net.Listen("tcp", tcp.address)
		if err != nil {
			return all, fmt.Errorf("listen on %s %s: %w", tcp.field, tcp.address, err)
		}
		all = append(all, served{l, tcp.handler})
	}
	return all, nil
}

func (a *Agent) observer() *observe.Observer {
	return observe.New(observe.Config{
		Enforcer: a.enforcer, Switch: a.bridge, Vswitchd: a.vswitchd.client, Stats: a.stats, Traffic: a.traffic,
		Bridge: a.cfg.Bridge, Node: a.cfg.NodeName, Network: a.node.network,
	})
}

// questions is what can be asked of the agent, and the page that asks it.
func (a *Agent) questions(observer *observe.Observer) *http.ServeMux {
	mux := http.NewServeMux()
	observer.Register(mux)
	a.verdicts.Register(mux)
	ui.Register(mux)
	return mux
}

// socketMux is what is served on the agent's socket: the CNI commands, all
// questions, and for those who may use the socket alone the checks, which cost
// time, and the support bundle, which holds logs.
func (a *Agent) socketMux(observer *observe.Observer, questions http.Handler) http.Handler {
	mux := http.NewServeMux()
	a.cni.Register(mux)
	mux.Handle("/", questions)
	checker := check.New(check.Config{
		Agent: a.cfg, Enforcer: a.enforcer, DB: a.db, Vswitchd: a.vswitchd.client, Source: a.source, Setup: a.node.setupIs,
	})
	checker.Register(mux)
	verdicts.New(verdicts.Config{
		Node: a.cfg.NodeName, Enforcer: a.enforcer, Observer: observer, Store: a.store, PortAddresses: a.cfg.Manifests != "", Ranges: a.node.ranges,
	}).Register(mux)
	support.Config{
		Agent: a.cfg, Enforcer: a.enforcer, Observer: observer, Checker: checker, Store: a.store, Bridge: a.bridge, Vswitchd: a.vswitchd.client,
	}.Register(mux)
	return mux
}

// served is a listener with what answers on it.
type served struct {
	net.Listener
	http.Handler
}

// serve serves HTTP until ctx is done and then lets requests under way end.
func serve(ctx context.Context, l served) error {
	s := &http.Server{
		Handler:           l.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l.Listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := s.Shutdown(end); err != nil {
		return errors.Join(fmt.Errorf("stop serving %s: %w", l.Addr(), err), s.Close())
	}
	return nil
}
