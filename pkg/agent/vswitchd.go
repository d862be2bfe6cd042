package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/ovs/vsdb"
)

// vswitchd is the running ovs-vswitchd: it follows restarts, after which its
// control socket has another name and its bridges have no flows.
type vswitchd struct {
	runDir   string
	datapath atomic.Pointer[string] // its type
	up       atomic.Bool            // a connection is kept to it
	restarts atomic.Uint64
}

func newVswitchd(runDir string) *vswitchd { return &vswitchd{runDir: runDir} }

// setDatapath says which datapath the bridge is on.
func (v *vswitchd) setDatapath(datapathType string) { v.datapath.Store(&datapathType) }

// client returns the control socket of the ovs-vswitchd that runs now.
func (v *vswitchd) client() (*unixctl.Client, error) {
	path, err := unixctl.Find(v.runDir, "ovs-vswitchd")
	if err != nil {
		return nil, err
	}
	return unixctl.New(path), nil
}

// run names the ovs-vswitchd that runs now.
func (v *vswitchd) run() (string, error) { return unixctl.Run(v.runDir, "ovs-vswitchd") }

// countsTraffic returns why the bridge's datapath does not count what connections
// carry, nil if it may.
func (v *vswitchd) countsTraffic() error {
	datapath := v.datapath.Load()
	switch {
	case datapath == nil:
		return errors.New("there is no bridge yet")
	case *datapath != vsdb.DatapathSystem:
		return fmt.Errorf("the %s datapath does not count what connections carry", *datapath)
	}
	return nil
}

// Dump implements enforce.Connections.
func (v *vswitchd) Dump(ctx context.Context, zone uint16) ([]conntrack.Entry, error) {
	c, datapath, err := v.tracked()
	if err != nil || datapath == "" {
		return nil, err
	}
	return conntrack.Dump(ctx, c, datapath, zone)
}

// Flush implements enforce.Connections.
func (v *vswitchd) Flush(ctx context.Context, zone uint16, t conntrack.Tuple) error {
	c, datapath, err := v.tracked()
	if err != nil || datapath == "" {
		return err
	}
	return conntrack.Flush(ctx, c, datapath, zone, t)
}

// Settle implements enforce.Connections. A round of the revalidators that is
// under way may have begun before: the second one has not.
func (v *vswitchd) Settle(ctx context.Context) error {
	c, err := v.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxSettle)
	defer cancel()
	for range 2 {
		if _, err := c.Call(ctx, "revalidator/wait"); err != nil {
			return err
		}
	}
	return nil
}

// maxSettle bounds the wait for the revalidators. ovs-vswitchd takes fewer flows
// when a round takes longer than two seconds.
const maxSettle = 30 * time.Second

func (v *vswitchd) tracked() (*unixctl.Client, string, error) {
	datapath := v.datapath.Load()
	if datapath == nil {
		return nil, "", nil // there is no bridge yet, and so no connection
	}
	c, err := v.client()
	return c, *datapath, err
}

// lookInterval is how often an ovs-vswitchd that has gone is looked for.
const lookInterval = 100 * time.Millisecond

// watch calls restarted each time another ovs-vswitchd has taken the place of
// the one there was, until ctx is done. It notices the end of a daemon by the
// end of a connection that is kept to it.
func (v *vswitchd) watch(ctx context.Context, restarted func(context.Context)) error {
	for first := true; ctx.Err() == nil; {
		c, err := v.connect(ctx)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(lookInterval):
			}
			continue
		}
		v.up.Store(true)
		if !first {
			v.restarts.Add(1)
			restarted(ctx)
		}
		first = false
		stop := context.AfterFunc(ctx, func() { c.Close() })
		// The daemon says nothing that it is not asked.
		_, _ = io.Copy(io.Discard, c)
		v.up.Store(false)
		stop()
		c.Close()
	}
	return nil
}

func (v *vswitchd) connect(ctx context.Context) (net.Conn, error) {
	path, err := unixctl.Find(v.runDir, "ovs-vswitchd")
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// datapathType returns the datapath to give the bridge: the configured one, else
// what the bridge has, else system where the kernel has one.
func datapathType(ctx context.Context, db *vsdb.DB, configured, bridge string) string {
	if configured != "auto" {
		return configured
	}
	if state, err := db.Bridge(ctx, bridge); err == nil {
		return state.DatapathType
	}
	if kernelHasDatapath() {
		return vsdb.DatapathSystem
	}
	return vsdb.DatapathNetdev
}

// kernelHasDatapath reports whether the openvswitch module is there: it then has
// a generic netlink family.
func kernelHasDatapath() bool {
	_, err := netlink.GenlFamilyGet("ovs_datapath")
	return err == nil
}
