// Package health answers the health checks of load balancers: on the port
// spec.healthCheckNodePort of a Service whose externalTrafficPolicy is Local each
// node says whether it has endpoints of that Service, and on a port of its own
// whether it balances Services at all. The answers are kube-proxy's
// (k8s.io/kubernetes/pkg/proxy/healthcheck), which cloud providers rely on.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/service"
)

// Options say how a Server works.
type Options struct {
	// Healthy says whether this node can serve at all: 503 is answered if not. Nil
	// means always. It's called for each request.
	Healthy func() bool
	// OnProblem is told of a port that can't be opened, once for as long as it can't.
	// Nil means that it's only logged.
	OnProblem func(error)
	// Retry is how long after a port could not be opened that is tried again, 10
	// seconds if zero.
	Retry time.Duration
	// NodePort is the port of the node's own health check, none if zero. Leaving says
	// whether the node should get no new connections; nil means that it stays.
	NodePort uint16
	Leaving  func() bool
	// Host is the address to listen at, all of the node's if empty.
	Host string
}

// Server has one HTTP server for each health check.
type Server struct {
	options Options
	wanted  atomic.Pointer[[]service.HealthCheck]
	changed chan struct{} // holds a token while wanted may be new
}

// New returns a server without health checks, which opens ports once it runs.
func New(o Options) *Server {
	if o.Retry == 0 {
		o.Retry = 10 * time.Second
	}
	if o.Healthy == nil {
		o.Healthy = func() bool { return true }
	}
	if o.Leaving == nil {
		o.Leaving = func() bool { return false }
	}
	if o.OnProblem == nil {
		o.OnProblem = func(error) {}
	}
	s := &Server{options: o, changed: make(chan struct{}, 1)}
	s.Set(nil)
	return s
}

// Set replaces the health checks. It does not wait for ports to open or close.
func (s *Server) Set(checks []service.HealthCheck) {
	s.wanted.Store(&checks)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run opens and closes ports until ctx is done, then closes all and returns nil.
func (s *Server) Run(ctx context.Context) error {
	ports := &ports{Server: s, open: map[cluster.Key]*port{}, failed: map[cluster.Key]string{}}
	defer ports.closeAll()
	for {
		var retry <-chan time.Time
		if len(ports.failed) > 0 {
			retry = time.After(s.options.Retry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		case <-retry:
		}
		wanted := *s.wanted.Load()
		if s.options.NodePort != 0 {
			wanted = append(slices.Clip(wanted), service.HealthCheck{Port: s.options.NodePort}) // of no Service
		}
		ports.sync(ctx, wanted)
	}
}

// ports are the ports that are open; the goroutine of Run owns them.
type ports struct {
	*Server
	open   map[cluster.Key]*port
	failed map[cluster.Key]string // why a port could not be opened
	served sync.WaitGroup
}

// port is an open port.
type port struct {
	number uint16
	local  atomic.Int64 // endpoints on this node
	server *http.Server
}

// sync makes the open ports those that are wanted. What is to be closed is closed
// first: its port may be another Service's now.
func (p *ports) sync(ctx context.Context, wanted []service.HealthCheck) {
	byKey := make(map[cluster.Key]service.HealthCheck, len(wanted))
	for _, w := range wanted {
		byKey[w.Service] = w
	}
	for key, has := range p.open {
		if w, ok := byKey[key]; !ok || w.Port != has.number {
			has.close(ctx, key)
			delete(p.open, key)
		}
	}
	failed := map[cluster.Key]string{}
	for _, w := range wanted {
		if has := p.open[w.Service]; has != nil {
			has.local.Store(int64(w.LocalEndpoints))
			continue
		}
		opened, err := p.listen(ctx, w)
		if err != nil {
			failed[w.Service] = err.Error()
			if p.failed[w.Service] != err.Error() {
				p.options.OnProblem(err)
			}
			continue
		}
		p.open[w.Service] = opened
	}
	p.failed = failed
}

// listen opens the port of a health check.
func (p *ports) listen(ctx context.Context, w service.HealthCheck) (*port, error) {
	at := net.JoinHostPort(p.options.Host, strconv.Itoa(int(w.Port)))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
	ofNode := w.Service == (cluster.Key{})
	switch {
	case err != nil && ofNode:
		return nil, fmt.Errorf("health check of the node: open port %d: %w", w.Port, err)
	case err != nil:
		return nil, fmt.Errorf("health check of Service %s: spec.healthCheckNodePort: open port %d: %w", w.Service, w.Port, err)
	}
	out := &port{number: w.Port}
	out.local.Store(int64(w.LocalEndpoints))
	var handler http.Handler = &answer{service: w.Service, local: &out.local, healthy: p.options.Healthy}
	if ofNode {
		handler = p.options.ofNode()
	}
	out.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	p.served.Go(func() {
		if err := out.server.Serve(listener); err != http.ErrServerClosed {
			klog.FromContext(ctx).Error(err, "Health check ended", "service", w.Service.String(), "port", w.Port)
		}
	})
	return out, nil
}

// close closes a port and its connections. What load balancers make of that is
// what they are to know: this node has nothing for the Service.
func (p *port) close(ctx context.Context, key cluster.Key) {
	if err := p.server.Close(); err != nil {
		klog.FromContext(ctx).Error(err, "Could not close the port of a health check", "service", key.String(), "port", p.number)
	}
}

func (p *ports) closeAll() {
	for key, has := range p.open {
		has.close(context.Background(), key)
	}
	p.served.Wait()
}

// answer answers the health checks of a Service.
type answer struct {
	service cluster.Key
	local   *atomic.Int64
	healthy func() bool
}

// report is the body of an answer.
type report struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

// ServeHTTP answers 200 if this node has endpoints that can be reached, else 503.
func (a *answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	out := report{LocalEndpoints: int(a.local.Load()), ServiceProxyHealthy: a.healthy()}
	out.Service.Namespace, out.Service.Name = a.service.Namespace, a.service.Name
	// Some load balancers share connections out by this.
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(out.LocalEndpoints))
	reply(w, out.LocalEndpoints > 0 && out.ServiceProxyHealthy, out)
}

// reply answers 200 if all is well, else 503, with a report in JSON.
func reply(w http.ResponseWriter, well bool, report any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// An error is that of the connection: there is nobody to tell.
	_ = json.NewEncoder(w).Encode(report)
}
