package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-cni/sluice/test/cluster/daemon"
	"github.com/sluice-cni/sluice/test/controlplane"
	"github.com/sluice-cni/sluice/test/netns"
)

// Cluster is a cluster, up or not.
type Cluster struct {
	Options Options
	Plan    Plan

	plane    controlplane.Config
	out      io.Writer // for progress
	begin    time.Time
	archives []string // of images for the nodes
}

const (
	optionsFile = "cluster.json"
	lockFile    = "lock"
	// downTimeout is how long it may take until processes and cgroups are gone.
	downTimeout = 30 * time.Second
)

// ErrNone says that there is no cluster in a folder.
var ErrNone = errors.New("there is no cluster")

// Open returns the cluster in a folder.
func Open(dir string) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{out: io.Discard}
	text, err := os.ReadFile(filepath.Join(dir, optionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", dir, ErrNone)
	}
	if err == nil {
		err = json.Unmarshal(text, &c.Options)
	}
	if err != nil {
		return nil, fmt.Errorf("open the cluster in %s: %w", dir, err)
	}
	c.Plan = NewPlan(c.Options)
	return c, nil
}

// Path returns a path in the cluster's folder.
func (c *Cluster) Path(elem ...string) string {
	return filepath.Join(append([]string{c.Options.Dir}, elem...)...)
}

// Kubeconfig returns the path of the administrator's kubeconfig. The API server is
// reached in the network namespace of Control.
func (c *Cluster) Kubeconfig() string { return c.Path("admin.kubeconfig") }

// Log returns the path of a daemon's log, such as "kube-apiserver" or
// "node1-kubelet".
func (c *Cluster) Log(name string) string { return c.Path("log", name+".log") }

func (c *Cluster) netnsPath(name string) string { return c.Path("netns", name) }

// Netns returns the network namespace of Control or of a node.
func (c *Cluster) Netns(name string) *netns.Netns { return netns.Open(c.netnsPath(name)) }

// Node returns a node's process: all its namespaces are found there.
func (c *Cluster) Node(name string) (daemon.Record, error) {
	r, err := daemon.Find(c.Path("daemons"), name)
	if err == nil && !r.Running() {
		err = fmt.Errorf("%s has ended; see %s", name, c.Log(name))
	}
	return r, err
}

// Daemons returns the cluster's processes: those of the control plane, and the
// first of each node.
func (c *Cluster) Daemons() ([]daemon.Record, error) { return daemon.List(c.Path("daemons")) }

// Config returns the administrator's client configuration, which dials from
// within Control's network namespace.
func (c *Cluster) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.Dial = c.Netns(Control).DialContext
	config.QPS = -1
	return config, nil
}

// Client returns a client of the administrator.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	config, err := c.Config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// Down ends a cluster and removes its folder. What was only half brought up, or
// half taken down, is no error, nor is a folder without a cluster.
func Down(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	// A folder of anything else is not to be removed.
	if _, err := Open(dir); err != nil && !errors.Is(err, ErrNone) {
		return err
	} else if err != nil {
		entries, err := os.ReadDir(dir)
		if err == nil && len(entries) > 1 { // besides the lock
			err = fmt.Errorf("take down %s: %w, but something else", dir, ErrNone)
		}
		if err != nil {
			return err
		}
		return os.RemoveAll(dir)
	}
	c := &Cluster{Options: Options{Dir: dir}}
	return c.down(ctx)
}

// down needs nothing but the cluster's folder.
func (c *Cluster) down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	// In this order, and not on after a failure: what is left is found next time.
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"end its processes", func() error { return daemon.End(ctx, c.Path("daemons")) }},
		{"remove its cgroups", func() error { return c.removeCgroups(ctx) }},
		{"remove its network namespaces", func() error { return unmountBelow(c.Options.Dir) }},
		{"remove its files", c.removeFiles},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("take down the cluster in %s: %s: %w", c.Options.Dir, step.name, err)
		}
	}
	return nil
}

// removeFiles removes the cluster's folder; last what tells that there is a
// cluster.
func (c *Cluster) removeFiles() error {
	// Never through a mount into something that is not ours.
	if left, err := mountsBelow(c.Options.Dir); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("still mounted: %v", left))
	}
	entries, err := os.ReadDir(c.Options.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name != optionsFile && name != lockFile {
			if err := os.RemoveAll(c.Path(name)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(c.Options.Dir)
}

// lock makes a cluster's folder, and makes whoever else wants to change the
// cluster wait. The lock is gone with the process.
func lock(dir string) (unlock func(), err error) {
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue // the folder has been removed in between
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		// It may have been removed with the folder while we waited.
		ours, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Stat(f.Name()); err == nil && os.SameFile(ours, now) {
			return func() { f.Close() }, nil
		}
		f.Close()
	}
}

// say reports progress, with the time since the beginning.
func (c *Cluster) say(format string, args ...any) {
	fmt.Fprintf(c.out, "[%5.1fs] %s\n", time.Since(c.begin).Seconds(), fmt.Sprintf(format, args...))
}
