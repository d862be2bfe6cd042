package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/route"
)

// ovsTime bounds a command to Open vSwitch.
const ovsTime = 30 * time.Second

// Cleanup takes Sluice off a node. Pods that are attached lose their network.
type Cleanup struct {
	// Config is what the agent ran with.
	Config *config.Config
	// ConfList is the path of the network configuration list, and Plugin that of
	// the CNI plugin, on this node. What is empty stays.
	ConfList, Plugin string
	// Removed hears of each thing that was there and is gone.
	Removed func(what string)
}

// Run removes everything, in the order in which nothing is left that makes what
// is gone already anew: the runtime stops calling the plugin first. What fails
// does not keep the rest. Open vSwitch has to run: the bridge is its own.
func (c Cleanup) Run(ctx context.Context) error {
	if conn, err := net.Dial("unix", c.Config.Socket); err == nil {
		conn.Close()
		return fmt.Errorf("an agent answers at %s: stop it first, or it makes everything anew", c.Config.Socket)
	}
	return errors.Join(
		c.file(c.ConfList),
		route.Cleanup(ctx, c.Config.Gateway),
		c.bridge(ctx),
		c.links(),
		c.file(c.Plugin),
		c.file(c.Config.StatsPath()),
		c.file(c.Config.TrafficPath()),
		c.file(c.Config.Socket),
	)
}

func (c Cleanup) file(path string) error {
	if path == "" {
		return nil
	}
	removed, err := remove(path)
	if err != nil {
		return err
	}
	if removed {
		c.Removed("file " + path)
	}
	return nil
}

// bridge removes the bridge, and with it its ports, flows, and datapath. Where
// Open vSwitch is gone for good, so is its database, and only the kernel's
// datapath can be left.
func (c Cleanup) bridge(ctx context.Context) error {
	if sock, ok := strings.CutPrefix(c.Config.OVSDB, "unix:"); ok {
		if _, err := os.Stat(filepath.Dir(sock)); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	there, err := c.vsctl(ctx, "--columns=name", "--no-heading", "find", "Bridge", "name="+c.Config.Bridge)
	if err != nil {
		return err
	}
	if there == "" {
		return nil
	}
	if _, err := c.vsctl(ctx, "--if-exists", "del-br", c.Config.Bridge); err != nil {
		return err
	}
	c.Removed("bridge " + c.Config.Bridge)
	return nil
}

func (c Cleanup) vsctl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ovsTime)
	defer cancel()
	args = append([]string{"--db=" + c.Config.OVSDB, fmt.Sprintf("--timeout=%d", int(ovsTime.Seconds()))}, args...)
	cmd := exec.CommandContext(ctx, "ovs-vsctl", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("remove bridge %s (does Open vSwitch run?): ovs-vsctl: %w: %s",
			c.Config.Bridge, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// portName is what wire.PortName makes.
var portName = regexp.MustCompile(`^sl[0-9a-f]{13}$`)

// links removes the pods' veth pairs.
func (c Cleanup) links() error {
	all, err := route.Dump(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list the node's interfaces: %w", err)
	}
	var errs []error
	for _, l := range all {
		name := l.Attrs().Name
		if l.Type() != "veth" || !portName.MatchString(name) {
			continue
		}
		if err := podlink.Delete(name); err != nil {
			errs = append(errs, err)
			continue
		}
		c.Removed("interface " + name)
	}
	return errors.Join(errs...)
}
