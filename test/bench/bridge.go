package main

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/vsdb"
)

// switchboard is a private Open vSwitch with a bridge set up as the agent does.
type switchboard struct {
	*openflow.Bridge
	ovs *sandbox.Sandbox
}

// newSwitchboard starts one on the netdev datapath, or without root on the dummy
// one: flows are kept and looked up in ovs-vswitchd alike.
func newSwitchboard(ctx context.Context) (*switchboard, error) {
	if os.Geteuid() == 0 {
		return newSwitchboardOn(ctx, sandbox.Netdev)
	}
	return newSwitchboardOn(ctx, sandbox.Dummy)
}

// newSwitchboardOn starts one on a datapath, of which only dummy may be there twice.
func newSwitchboardOn(ctx context.Context, datapath string) (_ *switchboard, err error) {
	s := &switchboard{}
	if s.ovs, err = sandbox.Start(ctx, sandbox.Options{Datapath: datapath}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.ovs.Close())
		}
	}()
	db, err := vsdb.Dial(ctx, vsdb.Config{Endpoint: s.ovs.Endpoint()})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := db.EnsureBridge(ctx, vsdb.Bridge{
		Name: "br-sluice", DatapathType: datapath, Gateway: "sluice0", GatewayMAC: nodeOf().GatewayMAC,
		Tables: flows.TableNames(), Prefixes: flows.TablePrefixes(), Limits: flows.TableLimits(),
	}); err != nil {
		return nil, err
	}
	s.Bridge, err = openflow.Open(openflow.Config{Target: "br-sluice", RunDir: s.ovs.RunDir(), Native: true})
	if err != nil {
		return nil, err
	}
	return s, s.Wait(ctx)
}

func (s *switchboard) close() error { return s.ovs.Close() }

// clear deletes all flows.
func (s *switchboard) clear(ctx context.Context) error {
	return s.ofctl(ctx, "del-flows", s.Target()).Run()
}

// ofctl returns an ovs-ofctl command for the bridge's switch.
func (s *switchboard) ofctl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ovs-ofctl", append([]string{"-O", "OpenFlow15", "--no-names"}, args...)...)
	cmd.Env, cmd.Stderr = s.ovs.Env(), os.Stderr
	return cmd
}
