package support

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/route"
)

// hostParts are what the node's own network stack and the container runtime's
// folders are like.
func hostParts(cfg *config.Config) []part {
	return []part{
		{"host/links.txt", "interfaces", func(_ context.Context, w io.Writer) error { return links(w) }},
		{"host/addresses.txt", "addresses", func(_ context.Context, w io.Writer) error { return addresses(w) }},
		{"host/routes.txt", "routes of all tables", func(_ context.Context, w io.Writer) error { return routes(w) }},
		{"host/rules.txt", "rules that choose tables of routes", func(_ context.Context, w io.Writer) error { return rules(w) }},
		{"host/neighbours.txt", "neighbours", func(_ context.Context, w io.Writer) error { return neighbours(w) }},
		{"host/nftables.txt", "the nftables tables of Sluice", nftables},
		{"host/sysctls.txt", "sysctls of forwarding, of interfaces and of connection tracking", sysctls},
		{"host/modules.txt", "kernel modules of Open vSwitch, tunnels and connection tracking", modules},
		{"cni/files.txt", "the container runtime's folders of network configurations and plugins", func(_ context.Context, w io.Writer) error {
			return errors.Join(folder(w, cfg.CNIConfDir), folder(w, cfg.CNIBinDir))
		}},
	}
}

func links(w io.Writer) error {
	all, err := route.Dump(netlink.LinkList)
	for _, l := range all {
		a := l.Attrs()
		fmt.Fprintf(w, "%d: %s: type %s flags %s state %s mtu %d mac %s master %d peer %d\n",
			a.Index, a.Name, l.Type(), a.Flags, a.OperState, a.MTU, a.HardwareAddr, a.MasterIndex, a.ParentIndex)
	}
	return err
}

func addresses(w io.Writer) error {
	all, err := route.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	for _, a := range all {
		fmt.Fprintf(w, "%s on interface %d scope %d flags 0x%x\n", a.IPNet, a.LinkIndex, a.Scope, a.Flags)
	}
	return err
}

var families = []int{netlink.FAMILY_V4, netlink.FAMILY_V6}

// absent reports whether the kernel lacks a family.
func absent(err error) bool { return errors.Is(err, unix.EAFNOSUPPORT) }

func routes(w io.Writer) error {
	var errs []error
	for _, family := range families {
		all, err := route.Dump(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		for _, r := range all {
			fmt.Fprintf(w, "%s proto %d\n", r, r.Protocol)
		}
		if !absent(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func rules(w io.Writer) error {
	var errs []error
	for _, family := range families {
		all, err := route.Dump(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		for _, r := range all {
			fmt.Fprintln(w, r)
		}
		if !absent(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func neighbours(w io.Writer) error {
	var errs []error
	for _, family := range families {
		all, err := route.Dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(0, family) })
		for _, n := range all {
			fmt.Fprintf(w, "%s on interface %d at %s state 0x%x\n", n.IP, n.LinkIndex, n.HardwareAddr, n.State)
		}
		if !absent(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// nftables are Sluice's own tables; what others' are is theirs.
func nftables(ctx context.Context, w io.Writer) error {
	path, err := exec.LookPath("nft")
	if err != nil {
		return err
	}
	var errs []error
	for _, table := range []string{route.Table, route.ServiceTable} {
		cmd := exec.CommandContext(ctx, path, "list", "table", "inet", table)
		cmd.Stdout = w
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil && !strings.Contains(stderr.String(), "No such file or directory") {
			errs = append(errs, fmt.Errorf("nft list table inet %s: %w: %s", table, err, stderr.String()))
		} else if err != nil {
			fmt.Fprintf(w, "# there is no table inet %s\n", table)
		}
	}
	return errors.Join(errs...)
}

// sysctlPatterns are of what is read under /proc/sys.
var sysctlPatterns = []string{
	"net/ipv4/ip_forward", "net/ipv4/conf/*/forwarding", "net/ipv4/conf/*/rp_filter", "net/ipv4/conf/*/route_localnet", "net/ipv4/conf/*/accept_local",
	"net/ipv6/conf/*/forwarding", "net/ipv6/conf/*/accept_ra", "net/ipv6/conf/*/disable_ipv6", "net/ipv6/conf/*/accept_dad",
	"net/netfilter/nf_conntrack_*", "net/ipv4/neigh/default/gc_thresh*", "net/ipv6/neigh/default/gc_thresh*",
}

func sysctls(_ context.Context, w io.Writer) error {
	for _, pattern := range sysctlPatterns {
		paths, _ := filepath.Glob("/proc/sys/" + pattern) // the patterns are well formed
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				text = []byte(err.Error())
			}
			fmt.Fprintf(w, "%s = %s\n", strings.TrimPrefix(path, "/proc/sys/"), strings.TrimSpace(string(text)))
		}
	}
	return nil
}

// moduleNames are of the modules that matter.
var moduleNames = []string{"openvswitch", "vport_geneve", "vport_vxlan", "geneve", "vxlan", "nf_conntrack", "nf_nat", "nf_tables", "nft_masq", "veth", "tun"}

func modules(_ context.Context, w io.Writer) error {
	for _, name := range moduleNames {
		state := "not loaded, or part of the kernel"
		if _, err := os.Stat("/sys/module/" + name); err == nil {
			state = "loaded"
		}
		fmt.Fprintf(w, "%s: %s\n", name, state)
	}
	return nil
}

// folder lists a folder, with the text of Sluice's own configuration: others' may
// hold what is secret.
func folder(w io.Writer, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // it is gone
		}
		path := filepath.Join(dir, e.Name())
		fmt.Fprintf(w, "%s %8d %s %s\n", info.Mode(), info.Size(), info.ModTime().Format("2006-01-02T15:04:05Z07:00"), path)
		if strings.HasSuffix(e.Name(), "sluice.conflist") && info.Mode().IsRegular() && info.Size() < maxLog {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\n", text)
		}
	}
	return nil
}
