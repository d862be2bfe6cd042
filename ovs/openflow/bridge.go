package openflow

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow/channel"
)

// DefaultRunDir is where a packaged Open vSwitch keeps its sockets.
const DefaultRunDir = "/var/run/openvswitch"

// Config says which bridge to speak to.
type Config struct {
	// Target is the name of a bridge, which means its management socket in RunDir,
	// or an OpenFlow endpoint such as "unix:/run/openvswitch/br0.mgmt".
	Target string
	// RunDir is the folder of ovs-vswitchd's sockets; empty means DefaultRunDir.
	RunDir string
	// Command is the ovs-ofctl to run; empty means the one in PATH or in one of
	// the folders where packages put it.
	Command string
	// Native speaks OpenFlow over a connection of its own and runs ovs-ofctl only
	// for what package ofp does not know. TransportVariable turns it on too.
	Native bool
}

// Bridge is an OpenFlow 1.5 switch. It holds nothing to close: each run of
// ovs-ofctl is a connection of its own, and the native one ends by itself when
// it is not used. A Bridge is safe for concurrent use, but changes are meant to
// have one writer.
type Bridge struct {
	target string
	ofctl  ofctl
	native *native // nil if all goes through ovs-ofctl
	// asked is the connection for what is asked over one only, nil if the target is
	// not one for it.
	asked *channel.Channel
}

// Open returns the bridge that the configuration names. It does not connect:
// see Ping and Wait.
func Open(c Config) (*Bridge, error) {
	if c.RunDir == "" {
		c.RunDir = DefaultRunDir
	}
	target := c.Target
	switch {
	case target == "":
		return nil, fmt.Errorf("open bridge: Target is empty")
	case strings.HasPrefix(target, "-"), strings.ContainsAny(target, " \t\r\n"):
		return nil, fmt.Errorf("open bridge: Target %q is neither a bridge nor an endpoint", target)
	case strings.Contains(target, ":"):
	case strings.Contains(target, "/"):
		target = "unix:" + target
	default:
		target = "unix:" + filepath.Join(c.RunDir, target+".mgmt")
	}
	command, err := findCommand(c.Command)
	if err != nil {
		return nil, fmt.Errorf("open bridge %s: %w", c.Target, err)
	}
	b := &Bridge{target: target, ofctl: ofctl{command: command, runDir: c.RunDir}, native: newNative(c, target)}
	if b.native != nil {
		b.asked = b.native.channel
	} else if channel.Supported(target) {
		b.asked = channel.New(channel.Config{Target: target}, 0)
	}
	return b, nil
}

// Target returns the endpoint the bridge is spoken to at.
func (b *Bridge) Target() string { return b.target }

// Ping reports whether the switch answers OpenFlow 1.5 requests.
func (b *Bridge) Ping(ctx context.Context) error {
	ping := func() error { return b.ofctl.run(ctx, nil, nil, "show", b.target) }
	if b.native != nil {
		ping = func() error { return b.native.ping(ctx) }
	}
	if err := ping(); err != nil {
		return fmt.Errorf("ping %s: %w", b.target, err)
	}
	return nil
}

// ConnectionsLost returns how many OpenFlow connections to the bridge were lost;
// one that is spoken to by ovs-ofctl keeps none.
func (b *Bridge) ConnectionsLost() uint64 {
	if b.native == nil {
		return 0
	}
	return b.native.channel.Lost()
}

// pingInterval is how often Wait asks again.
const pingInterval = 50 * time.Millisecond

// Wait waits until the switch answers. When ctx ends first, the error is that of
// the last attempt.
func (b *Bridge) Wait(ctx context.Context) error {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	var last error
	for {
		err := b.Ping(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		} else if last == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (%w)", b.target, ctx.Err(), last)
		case <-tick.C:
		}
	}
}
