package vsdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// probeInterval is how often a session asks its server for an echo, and how
// long the server may take to answer. It is the interval ovsdb-server itself
// uses for its clients.
const probeInterval = 5 * time.Second

// errLost is returned for a transaction whose connection broke before the
// server's answer came: it may or may not have been committed.
var errLost = errors.New("connection to ovsdb-server lost")

// session is one connection to an ovsdb-server with a filled replica.
//
// libovsdb can reconnect by itself, but then it goes on serving the old replica
// while it is away, still says it is connected, and can't be closed until the
// server comes back. A session per connection has none of these states.
type session struct {
	client  client.Client
	replica *cache.TableCache

	alive context.Context // ends with the session
	end   context.CancelFunc

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever the replica changes
}

// newSession connects and fills the replica.
func newSession(ctx context.Context, endpoint string, logger logr.Logger) (*session, error) {
	dbModel, err := databaseModel()
	if err != nil {
		return nil, fmt.Errorf("model of the Open_vSwitch schema: %w", err)
	}
	c, err := client.NewOVSDBClient(dbModel, client.WithEndpoint(endpoint), client.WithLogger(&logger))
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	s := &session{client: c, changed: make(chan struct{})}
	s.alive, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.start(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) start(ctx context.Context) error {
	// The client announces the end of its connection only to who is listening at
	// that moment, so this begins before there is a connection.
	go s.watchConnection()
	if err := s.client.Connect(ctx); err != nil {
		return err
	}
	if s.replica = s.client.Cache(); s.replica == nil {
		return errLost
	}
	s.replica.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(string, model.Model) { s.notify() },
		UpdateFunc: func(string, model.Model, model.Model) { s.notify() },
		DeleteFunc: func(string, model.Model) { s.notify() },
	})
	if _, err := s.client.Monitor(ctx, s.client.NewMonitor(monitored()...)); err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	go s.probe()
	return nil
}

func (s *session) watchConnection() {
	select {
	case <-s.client.DisconnectNotify():
		s.close()
	case <-s.alive.Done():
	}
}

// probe ends the session if the server no longer answers.
func (s *session) probe() {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.alive.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.alive, probeInterval)
		err := s.client.Echo(ctx)
		cancel()
		if err != nil {
			s.close()
			return
		}
	}
}

func (s *session) close() {
	// First, as the client closes only when the calls under way have returned.
	s.end()
	s.client.Close()
}

func (s *session) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// nextChange returns a channel that is closed at the next change of the
// replica. Taken before the replica is read, it misses none.
func (s *session) nextChange() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// transact runs the operations as one transaction. A refusal by the server is
// a *refusal; an error that wraps errLost leaves open whether it took place.
//
// The server sends what a transaction changes in the replica before it answers,
// and so does it with all transactions before: after transact the replica holds
// them.
func (s *session) transact(ctx context.Context, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.alive, cancel)()
	results, err := s.client.Transact(call, ops...)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("transaction: %w", context.Cause(ctx))
	}
	if err != nil {
		// Nothing can be said of the state of a connection that failed in the
		// middle of a call.
		s.close()
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	for i, r := range results {
		if r.Error != "" {
			return nil, &refusal{op: i, reason: r.Error, details: r.Details}
		}
	}
	if len(results) < len(ops) {
		return nil, fmt.Errorf("transaction of %d operations: only %d results", len(ops), len(results))
	}
	return results, nil
}

// refusal is the server's refusal of a transaction (RFC 7047 section 4.1.3).
type refusal struct {
	// op is the index of the operation that failed; the number of operations if
	// all succeeded but could not be committed.
	op              int
	reason, details string
}

func (r *refusal) Error() string {
	if r.details == "" {
		return fmt.Sprintf("ovsdb-server refused operation %d: %s", r.op, r.reason)
	}
	return fmt.Sprintf("ovsdb-server refused operation %d: %s: %s", r.op, r.reason, r.details)
}
