package support

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/ovs/unixctl/jsonrpc"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/version"
)

func find(cfg *config.Config, daemon string) (*unixctl.Client, error) {
	path, err := unixctl.Find(cfg.OVSRunDir, daemon)
	if err != nil {
		return nil, err
	}
	return unixctl.New(path), nil
}

func versionParts(cfg *config.Config) []part {
	return []part{{"versions.txt", "Sluice, Open vSwitch, kernel, Go modules", func(ctx context.Context, w io.Writer) error {
		fmt.Fprintln(w, "sluice", version.String())
		for _, daemon := range []string{"ovs-vswitchd", "ovsdb-server"} {
			text := ""
			client, err := find(cfg, daemon)
			if err == nil {
				text, err = client.Call(ctx, "version")
			}
			if err != nil {
				text = fmt.Sprintf("%s: %v", daemon, err)
			}
			fmt.Fprintln(w, strings.TrimSpace(text))
		}
		var u unix.Utsname
		if err := unix.Uname(&u); err == nil {
			fmt.Fprintln(w, unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
				unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]))
		}
		return buildInfo(w)
	}}}
}

// ovsParts are what Open vSwitch tells of itself.
func ovsParts(cfg *config.Config, vswitchd func() (*unixctl.Client, error)) []part {
	parts := []part{{"ovs/database.json", "the tables of the database that bridges are made of, with statistics", func(ctx context.Context, w io.Writer) error {
		return database(ctx, cfg, w)
	}}}
	for _, c := range []struct {
		file string
		args []string
	}{
		{"dpif-show", []string{"dpif/show"}},
		{"dp-features", []string{"dpif/show-dp-features", cfg.Bridge}},
		{"dpctl-show", []string{"dpctl/show", "-s"}},
		{"megaflows", []string{"dpif/dump-flows", "-m", cfg.Bridge}},
		{"upcall", []string{"upcall/show"}},
		{"coverage", []string{"coverage/show"}},
		{"memory", []string{"memory/show"}},
		{"tunnels", []string{"ofproto/list-tunnels"}},
		{"tnl-routes", []string{"ovs/route/show"}},
		{"tnl-neighbours", []string{"tnl/neigh/show"}},
	} {
		parts = append(parts, part{"ovs/" + c.file + ".txt", "ovs-appctl " + strings.Join(c.args, " "), func(ctx context.Context, w io.Writer) error {
			return appctl(ctx, vswitchd, w, c.args...)
		}})
	}
	parts = append(parts, part{"ovs/conntrack.txt", "how many connections are tracked, by zone and protocol", func(ctx context.Context, w io.Writer) error {
		return conntrack(ctx, vswitchd, w)
	}})
	return append(parts, logParts(cfg)...)
}

func appctl(ctx context.Context, vswitchd func() (*unixctl.Client, error), w io.Writer, args ...string) error {
	client, err := vswitchd()
	if err != nil {
		return err
	}
	text, err := client.Call(ctx, args[0], args[1:]...)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

// conntrack counts connections; which there are is none of a bug report's business.
func conntrack(ctx context.Context, vswitchd func() (*unixctl.Client, error), w io.Writer) error {
	client, err := vswitchd()
	if err != nil {
		return err
	}
	dps, err := client.Call(ctx, "dpctl/dump-dps")
	if err != nil {
		return err
	}
	for _, dp := range strings.Fields(dps) {
		for _, args := range [][]string{{"dpctl/ct-get-nconns", dp}, {"dpctl/ct-get-maxconns", dp}, {"dpctl/ct-get-limits", dp}, {"dpctl/ct-stats-show", dp}} {
			report(ctx, client, w, args...)
		}
		for _, zone := range []uint16{flows.ZoneIPv4, flows.ZoneIPv6, flows.ZoneSourceIPv4, flows.ZoneSourceIPv6} {
			report(ctx, client, w, "dpctl/ct-stats-show", dp, fmt.Sprintf("zone=%d", zone))
		}
	}
	return nil
}

// report writes a command with its answer, or why there is none: not every
// datapath knows all of them.
func report(ctx context.Context, client *unixctl.Client, w io.Writer, args ...string) {
	text, err := client.Call(ctx, args[0], args[1:]...)
	if err != nil {
		text = err.Error()
	}
	fmt.Fprintf(w, "== %s\n%s\n", strings.Join(args, " "), strings.TrimSpace(text))
}

// tables are those a bridge is made of. SSL and Manager, which name keys and
// remotes, are left out.
var tables = []string{"Open_vSwitch", "Bridge", "Port", "Interface", "Flow_Table", "Controller", "Mirror"}

// secretOptions are keys of maps whose values are secrets, such as the shared key
// of an IPsec tunnel.
var secretOptions = []string{"psk", "private_key", "password"}

func database(ctx context.Context, cfg *config.Config, w io.Writer) error {
	path, ok := strings.CutPrefix(cfg.OVSDB, "unix:")
	if !ok {
		return fmt.Errorf("the database is at %s, not on this node", cfg.OVSDB)
	}
	params := []any{"Open_vSwitch"}
	for _, t := range tables {
		params = append(params, map[string]any{"op": "select", "table": t, "where": []any{}})
	}
	reply, err := jsonrpc.Call(ctx, path, "transact", params)
	if err != nil {
		return fmt.Errorf("read the database: %w", err)
	}
	var results []struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal(reply, &results); err != nil {
		return fmt.Errorf("read the database: %w", err)
	}
	out := map[string][]map[string]any{}
	for i, r := range results[:min(len(results), len(tables))] {
		for _, row := range r.Rows {
			for column, value := range row {
				row[column] = plain(value)
			}
		}
		out[tables[i]] = r.Rows
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// plain turns OVSDB's ["map", [[k, v], …]], ["set", […]] and ["uuid", u]
// (RFC 7047, section 5.1) into what reads well, without secrets.
func plain(v any) any {
	l, ok := v.([]any)
	if !ok || len(l) != 2 {
		return v
	}
	switch l[0] {
	case "uuid":
		return l[1]
	case "set":
		out, _ := l[1].([]any)
		for i := range out {
			out[i] = plain(out[i])
		}
		return out
	case "map":
		out := map[string]any{}
		pairs, _ := l[1].([]any)
		for _, p := range pairs {
			if kv, ok := p.([]any); ok && len(kv) == 2 {
				key := fmt.Sprint(plain(kv[0]))
				out[key] = plain(kv[1])
				if slices.Contains(secretOptions, key) {
					out[key] = "(left out)"
				}
			}
		}
		return out
	}
	return v
}

// maxLog is how much of the end of a log is taken, in bytes.
const maxLog = 1 << 20

// logParts are the logs that can be reached.
func logParts(cfg *config.Config) (parts []part) {
	for _, pattern := range []string{
		filepath.Join(cfg.OVSRunDir, "*.log"), "/var/log/openvswitch/*.log", "/var/log/sluice/*.log", "/var/log/pods/*_sluice-agent-*/agent/*.log",
	} {
		paths, _ := filepath.Glob(pattern) // the patterns are well formed
		for _, path := range paths {
			name := "logs" + strings.ReplaceAll(path, "/", "-")
			parts = append(parts, part{name, "the end of " + path, func(_ context.Context, w io.Writer) error { return tail(path, w) }})
		}
	}
	return parts
}

func tail(path string, w io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	} else if info.Size() > maxLog {
		if _, err := f.Seek(-maxLog, io.SeekEnd); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, io.LimitReader(f, maxLog))
	return err
}
