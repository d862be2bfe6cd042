package vsdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"k8s.io/klog/v2"
)

const (
	// connectTimeout bounds one attempt to connect and to fill the replica.
	connectTimeout = 10 * time.Second
	// Attempts to connect follow each other after 25 ms at first and twice as long
	// each time, but at most after a second.
	minBackoff, maxBackoff = 25 * time.Millisecond, time.Second
)

// errClosed is what calls on a closed DB return.
var errClosed = errors.New("connection to OVSDB is closed")

// Config says which database to use.
type Config struct {
	// Endpoint is an OVSDB connection method of ovsdb(7): "unix:FILE" or
	// "tcp:HOST:PORT".
	Endpoint string
}

// DB is the Open_vSwitch database of one ovsdb-server. It is safe for
// concurrent use.
type DB struct {
	endpoint string
	logger   logr.Logger

	running context.Context // ends with Close
	stop    context.CancelFunc
	stopped sync.WaitGroup // the session's keeper and the subscriptions

	mu      sync.Mutex
	session *session      // nil while there is none
	failure error         // why there is none
	moved   chan struct{} // closed and replaced when session changes

	sessions atomic.Uint64 // how many there have been
	writes   atomic.Uint64 // transactions that were to change something
}

// Dial connects to the database and returns once its replica is filled. It
// tries again until the context ends; the error then says what the last attempt
// failed of. From then on the DB reconnects by itself until Close.
func Dial(ctx context.Context, cfg Config) (*DB, error) {
	if !strings.HasPrefix(cfg.Endpoint, "unix:") && !strings.HasPrefix(cfg.Endpoint, "tcp:") {
		return nil, fmt.Errorf("vsdb: Endpoint %q: want unix:FILE or tcp:HOST:PORT", cfg.Endpoint)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	db := &DB{
		endpoint: cfg.Endpoint,
		logger:   klog.FromContext(ctx).WithName("vsdb"),
		failure:  errors.New("no answer yet"),
		running:  running,
		stop:     stop,
		moved:    make(chan struct{}),
	}
	db.stopped.Go(func() { db.run(running) })
	if err := db.WaitReady(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Close ends the connection and all subscriptions, and waits for their calls to
// return. It changes nothing in the database.
func (db *DB) Close() {
	db.stop()
	db.stopped.Wait()
}

// Connected reports whether there is a connection with a filled replica now.
func (db *DB) Connected() bool {
	s, _ := db.current()
	return s != nil
}

// Reconnects returns how many connections there have been after the first.
func (db *DB) Reconnects() uint64 { return max(db.sessions.Load(), 1) - 1 }

// WaitReady waits for a connection with a filled replica, or for the end of the
// context.
func (db *DB) WaitReady(ctx context.Context) error {
	return db.await(ctx, func(*session) (bool, error) { return true, nil })
}

// run keeps a session until the context ends.
func (db *DB) run(ctx context.Context) {
	defer db.publish(nil, errClosed)
	wait := minBackoff
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, connectTimeout)
		s, err := newSession(attempt, db.endpoint, db.logger)
		cancel()
		if err != nil {
			db.publish(nil, err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			wait = min(2*wait, maxBackoff)
			continue
		}
		wait = minBackoff
		db.sessions.Add(1)
		db.publish(s, nil)
		db.logger.V(2).Info("Connected to ovsdb-server", "endpoint", db.endpoint)
		select {
		case <-s.alive.Done():
			db.logger.Info("Lost the connection to ovsdb-server, reconnecting", "endpoint", db.endpoint)
			db.publish(nil, errLost)
		case <-ctx.Done():
			s.close()
		}
	}
}

func (db *DB) publish(s *session, failure error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.failure = failure
	if s == db.session {
		return
	}
	db.session = s
	close(db.moved)
	db.moved = make(chan struct{})
}

// current returns the session, nil if there is none, and a channel that is
// closed when that is no longer so.
func (db *DB) current() (*session, <-chan struct{}) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.session != nil {
		select {
		case <-db.session.alive.Done():
			return nil, db.moved
		default:
		}
	}
	return db.session, db.moved
}

// await calls cond with the session of the moment, again after each change of
// the replica and of the session, until it says done or fails, or the context
// ends.
func (db *DB) await(ctx context.Context, cond func(*session) (done bool, err error)) error {
	for {
		s, moved := db.current()
		var changed <-chan struct{}
		if s != nil {
			changed = s.nextChange()
			if done, err := cond(s); done || err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-moved:
		case <-ctx.Done():
			return db.ended(ctx)
		case <-db.running.Done():
			return errClosed
		}
	}
}

// ended tells why a wait ended with its context.
func (db *DB) ended(ctx context.Context) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.session == nil && db.failure != nil {
		return fmt.Errorf("not connected to OVSDB at %s (%w): %w", db.endpoint, db.failure, context.Cause(ctx))
	}
	return context.Cause(ctx)
}

// fresh returns a session whose replica holds all that was committed before
// the call.
func (db *DB) fresh(ctx context.Context) (*session, error) {
	barrier := ovsdb.Operation{Op: ovsdb.OperationSelect, Table: rootTable, Columns: []string{"_uuid"}}
	for {
		var s *session
		if err := db.await(ctx, func(now *session) (bool, error) { s = now; return true, nil }); err != nil {
			return nil, err
		}
		_, err := s.transact(ctx, barrier)
		if errors.Is(err, errLost) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read OVSDB at %s: %w", db.endpoint, err)
		}
		return s, nil
	}
}

// write runs a transaction that changes something.
func (db *DB) write(ctx context.Context, s *session, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	db.writes.Add(1)
	return s.transact(ctx, ops...)
}
