package check

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/ovs/vsdb"
)

// Shares of the limit, in percent, from which on connection tracking is told to
// have little room or none: it drops when it is full, and it fills in bursts.
const (
	conntrackFew  = 75
	conntrackNone = 95
)

// conntrack counts entries against the limit: of all zones, and those of Sluice's.
func (c *Checker) conntrack(ctx context.Context) result {
	state, err := c.cfg.DB.Bridge(ctx, c.cfg.Agent.Bridge)
	if err != nil {
		return skip("%v", err)
	}
	client, err := c.cfg.Vswitchd()
	if err != nil {
		return skip("ovs-vswitchd does not run")
	}
	dp := state.DatapathType + "@ovs-" + state.DatapathType
	entries, limit, where, err := conntrackRoom(ctx, client, dp, state.DatapathType)
	if err != nil {
		return warn("", "conntrack: %v", err)
	}
	var zones []string
	for _, z := range []struct {
		what string
		zone uint16
	}{{"IPv4", flows.ZoneIPv4}, {"IPv6", flows.ZoneIPv6}, {"sources IPv4", flows.ZoneSourceIPv4}, {"sources IPv6", flows.ZoneSourceIPv6}} {
		n, err := zoneEntries(ctx, client, dp, z.zone)
		if err != nil {
			return warn("", "conntrack zone %d: %v", z.zone, err)
		}
		zones = append(zones, fmt.Sprintf("%d in zone %d (%s)", n, z.zone, z.what))
	}
	const hint = "raise the limit, or find who opens so many: sluice check --policies says who may; dpctl/dump-conntrack who does"
	text := fmt.Sprintf("%d of at most %d entries (%s), %s", entries, limit, where, strings.Join(zones, ", "))
	switch {
	case limit > 0 && entries*100 >= limit*conntrackNone:
		return fail(hint, "conntrack is full: %s", text)
	case limit > 0 && entries*100 >= limit*conntrackFew:
		return warn(hint, "conntrack fills up: %s", text)
	}
	return ok("%s", text)
}

// conntrackRoom returns how many entries there are and how many there may be; the
// kernel keeps both for each network namespace.
func conntrackRoom(ctx context.Context, client *unixctl.Client, dp, datapath string) (entries, limit int, where string, err error) {
	if datapath == vsdb.DatapathSystem {
		const dir = "/proc/sys/net/netfilter/"
		if entries, err = numberIn(os.ReadFile(dir + "nf_conntrack_count")); err == nil {
			limit, err = numberIn(os.ReadFile(dir + "nf_conntrack_max"))
		}
		return entries, limit, "sysctl net.netfilter.nf_conntrack_max", err
	}
	number := func(method string) (int, error) {
		text, err := client.Call(ctx, method, dp)
		return numberIn([]byte(text), err)
	}
	if entries, err = number("dpctl/ct-get-nconns"); err == nil {
		limit, err = number("dpctl/ct-get-maxconns")
	}
	return entries, limit, "dpctl/ct-set-maxconns", err
}

func numberIn(text []byte, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// zoneEntries counts the entries of a zone without listing them.
func zoneEntries(ctx context.Context, client *unixctl.Client, dp string, zone uint16) (int, error) {
	text, err := client.Call(ctx, "dpctl/ct-stats-show", dp, fmt.Sprintf("zone=%d", zone))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if n, found := strings.CutPrefix(strings.TrimSpace(line), "Total:"); found {
			return strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return 0, fmt.Errorf("dpctl/ct-stats-show says no total: %q", text)
}
