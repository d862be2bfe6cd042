package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Underlay is an Open vSwitch of the node's own, with the node's link to others on
// a bridge: tunnels of the userspace datapath leave by bridges of the same switch
// only. The node's addresses are on the bridge.
type Underlay struct {
	Bridge string
	// Link is the interface that leads to other nodes.
	Link string
	// Addrs are the node's addresses, with the lengths of their subnets.
	Addrs []netip.Prefix
	// Routers are the default gateways.
	Routers []netip.Addr
}

// ovsRun is where Open vSwitch has its sockets, and here its database: it is lost
// with the node.
const ovsRun = "/run/openvswitch"

// startUnderlay starts the node's Open vSwitch and puts the node's link on it.
func (r *runner) startUnderlay(u *Underlay) error {
	if err := os.MkdirAll(ovsRun, 0o755); err != nil {
		return err
	}
	socket, database := filepath.Join(ovsRun, "db.sock"), filepath.Join(ovsRun, "conf.db")
	if err := r.do("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema"); err != nil {
		return err
	}
	if err := r.keepProgram("ovsdb-server", database, "--remote=punix:"+socket, "--pidfile"); err != nil {
		return err
	}
	if err := waitSocket(socket, time.Minute); err != nil {
		return fmt.Errorf("wait for ovsdb-server: %w", err)
	}
	if err := r.do("ovs-vsctl", "--no-wait", "init"); err != nil {
		return err
	}
	if err := r.keepProgram("ovs-vswitchd", "unix:"+socket, "--pidfile"); err != nil {
		return err
	}
	err := r.do("ovs-vsctl", "add-br", u.Bridge, "--", "set", "bridge", u.Bridge, "datapath_type=netdev", "fail_mode=standalone",
		"--", "add-port", u.Bridge, u.Link)
	if err != nil {
		return err
	}
	if err := u.move(); err != nil {
		return fmt.Errorf("move the node's addresses from %s to %s: %w", u.Link, u.Bridge, err)
	}
	return nil
}

// move takes the node's addresses from its link to the bridge.
func (u *Underlay) move() error {
	link, err := netlink.LinkByName(u.Link)
	if err != nil {
		return err
	}
	bridge, err := netlink.LinkByName(u.Bridge)
	if err != nil {
		return err
	}
	for _, p := range u.Addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if err := netlink.AddrDel(link, addr); err != nil {
			return err
		}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(bridge, addr); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetMTU(bridge, link.Attrs().MTU); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return err
	}
	for _, router := range u.Routers {
		// The old one went with the address.
		all := &net.IPNet{IP: make(net.IP, router.BitLen()/8), Mask: net.CIDRMask(0, router.BitLen())}
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: bridge.Attrs().Index, Dst: all, Gw: router.AsSlice()}); err != nil {
			return err
		}
	}
	return nil
}

// do runs a program that is to succeed.
func (r *runner) do(name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	log := r.log("setup")
	status, err := r.processes.run(log, append([]string{path}, args...)...)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s %v: %s; see %s", name, args, describe(status), log)
	}
	return err
}

// keepProgram is keep of a program that is in PATH.
func (r *runner) keepProgram(name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	go r.keep(Daemon{Name: name, Args: append([]string{path}, args...)})
	return nil
}

// log returns the path of a log of the node.
func (r *runner) log(name string) string { return filepath.Join(r.Logs, r.Name+"-"+name+".log") }
