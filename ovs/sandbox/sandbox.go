// Package sandbox runs a private Open vSwitch, an ovsdb-server and an
// ovs-vswitchd of its own, in a folder of its own: for tests, for simulation and
// for the demo. The machine's own Open vSwitch is neither used nor touched.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/sluice-cni/sluice/ovs/unixctl"
)

// The datapaths a sandbox can have. Bridges have to be made with the same
// datapath_type.
const (
	// Dummy keeps every packet inside ovs-vswitchd. It needs no privileges.
	Dummy = "dummy"
	// Netdev is the userspace datapath. It needs root.
	Netdev = "netdev"
	// System is the kernel module. It needs root, the module, and that no other
	// Open vSwitch uses the kernel: there is one such datapath in a machine.
	System = "system"
)

// Options say what sandbox to start.
type Options struct {
	// Datapath is Dummy, Netdev or System; empty means Dummy.
	Datapath string
	// Dir is the folder to work in. It is made if it is missing, and what it holds
	// is kept: a database found there is used as it is, and Close leaves it. If
	// Dir is empty the sandbox has a temporary folder that Close removes.
	Dir string
	// Netns is the path of the network namespace that the daemons run in, such as
	// "/run/netns/node"; empty means that of this process. The kernel's datapath is
	// one of each namespace, and goes with it.
	Netns string
	// Log receives what the daemons print on their standard error, if it is set.
	// Their log files are in the folder either way.
	Log io.Writer
}

// Sandbox is a running private Open vSwitch. Its methods may be called from
// several goroutines; stopping and starting take turns.
type Sandbox struct {
	datapath string
	dir      string
	temp     bool
	netns    string
	log      io.Writer

	mu       sync.Mutex // serialises starts and stops
	closed   bool
	db       *daemon // nil while stopped
	vswitchd *daemon // nil while stopped
}

// Start starts a sandbox, and returns when ovs-vswitchd has read its database
// and acts on it. ctx bounds the start only. The daemons end with Close, or when
// this process dies.
func Start(ctx context.Context, opts Options) (*Sandbox, error) {
	s := &Sandbox{datapath: opts.Datapath, dir: opts.Dir, netns: opts.Netns, log: opts.Log}
	if s.datapath == "" {
		s.datapath = Dummy
	}
	if err := s.checkDatapath(); err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	if err := s.makeDir(); err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start sandbox: %w", err), s.Close())
	}
	return s, nil
}

func (s *Sandbox) start(ctx context.Context) error {
	if err := s.createDB(ctx); err != nil {
		return err
	}
	if err := s.StartDB(ctx); err != nil {
		return err
	}
	return s.StartVswitchd(ctx)
}

// maxDir is the longest folder name for which every socket name in it fits into
// the 107 bytes of a unix socket address: "/" + a bridge's 15 bytes + ".mgmt", or
// "/ovs-vswitchd.4194304.ctl".
const maxDir = 107 - len("/ovs-vswitchd.4194304.ctl")

func (s *Sandbox) makeDir() error {
	if s.dir == "" {
		// Not os.TempDir: TMPDIR may be too long a name for sockets.
		dir, err := os.MkdirTemp("/tmp", "sluice-ovs-")
		if err != nil {
			return err
		}
		s.dir, s.temp = dir, true
		return nil
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return fmt.Errorf("folder %s: %w", s.dir, err)
	}
	if len(dir) > maxDir {
		return fmt.Errorf("folder %s: name has %d bytes, sockets in it allow for at most %d", dir, len(dir), maxDir)
	}
	s.dir = dir
	return os.MkdirAll(dir, 0o755)
}

// Endpoint returns where the database listens, as OVSDB clients name it:
// "unix:/tmp/…/db.sock".
func (s *Sandbox) Endpoint() string { return "unix:" + s.path("db.sock") }

// RunDir returns the folder of the sandbox, with the management sockets of its
// bridges ("br0.mgmt") and the log files of its daemons.
func (s *Sandbox) RunDir() string { return s.dir }

// Datapath returns the datapath_type bridges must have: Dummy, Netdev or System.
func (s *Sandbox) Datapath() string { return s.datapath }

// VswitchdCtl returns the path of ovs-vswitchd's control socket. It stays the
// same when ovs-vswitchd is restarted.
func (s *Sandbox) VswitchdCtl() string { return s.path("vswitchd.ctl") }

// Vswitchd returns a client of ovs-vswitchd's control socket.
func (s *Sandbox) Vswitchd() *unixctl.Client { return unixctl.New(s.VswitchdCtl()) }

// Env returns the environment in which the Open vSwitch tools (ovs-vsctl,
// ovs-ofctl, ovs-appctl) work on the sandbox: this process's own with OVS_RUNDIR,
// OVS_DBDIR, OVS_LOGDIR set, and the folders of daemons in PATH.
func (s *Sandbox) Env() []string {
	return append(os.Environ(),
		"OVS_RUNDIR="+s.dir, "OVS_DBDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_SYSCONFDIR="+s.dir,
		"PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
}

func (s *Sandbox) path(name string) string { return filepath.Join(s.dir, name) }

// Close ends the daemons and removes what they hold: the kernel's datapath, and
// the folder if it was a temporary one. A second Close does nothing.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	// A caller that closes because its own context has ended still wants it done.
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	errs := []error{s.cleanUp(ctx), s.stop(ctx, &s.db)}
	if s.temp {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close sandbox %s: %w", s.dir, err)
	}
	return nil
}
