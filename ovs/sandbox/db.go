package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sluice-cni/sluice/ovs/unixctl/jsonrpc"
)

// schemaName is the file of the Open_vSwitch database schema.
const schemaName = "vswitch.ovsschema"

// createDB makes the database with its one Open_vSwitch row, as "ovs-vsctl init"
// would; a database that is there already is left alone.
func (s *Sandbox) createDB(ctx context.Context) error {
	conf := s.path("conf.db")
	if _, err := os.Stat(conf); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	schema, err := findSchema()
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create", conf, schema},
		{"transact", conf, `["Open_vSwitch", {"op": "insert", "table": "Open_vSwitch", "row": {}}]`},
	} {
		if err := s.run(ctx, "ovsdb-tool", args...); err != nil {
			return fmt.Errorf("create database: %w", err)
		}
	}
	return nil
}

func findSchema() (string, error) {
	dirs := []string{"/usr/share/openvswitch", "/usr/local/share/openvswitch"}
	if dir := os.Getenv("OVS_PKGDATADIR"); dir != "" { // as the tools have it
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, schemaName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is in none of %v: install Open vSwitch (Debian: openvswitch-switch)", schemaName, dirs)
}

// run runs a tool on the sandbox to its end.
func (s *Sandbox) run(ctx context.Context, name string, args ...string) error {
	path, err := lookPath(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = s.Env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, out)
	}
	return nil
}

// StartDB starts ovsdb-server and returns when it accepts connections. It does
// nothing if it runs.
func (s *Sandbox) StartDB(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spawn(&s.db, "ovsdb-server", []string{
		s.path("conf.db"),
		"--remote=punix:" + s.path("db.sock"),
		"--unixctl=" + s.path("ovsdb-server.ctl"),
	}, func() error {
		return s.poll(ctx, s.db, func(ctx context.Context) error {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", s.path("db.sock"))
			if err != nil {
				return err
			}
			return conn.Close()
		})
	})
}

// StopDB ends ovsdb-server and returns when it is gone. It does nothing if
// ovsdb-server does not run.
//
// Without its database ovs-vswitchd (3.1) keeps its bridges, forwards by the flows
// they have and answers on the control socket, but OpenFlow connections get no
// answer until the database is back.
func (s *Sandbox) StopDB(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx, &s.db)
}

// transact runs operations of RFC 7047, section 5.2, and returns their results.
func (s *Sandbox) transact(ctx context.Context, ops ...any) ([]json.RawMessage, error) {
	reply, err := jsonrpc.Call(ctx, s.path("db.sock"), "transact", append([]any{"Open_vSwitch"}, ops...))
	if err != nil {
		return nil, fmt.Errorf("database transaction: %w", err)
	}
	var results []json.RawMessage
	if err := json.Unmarshal(reply, &results); err != nil {
		return nil, fmt.Errorf("database transaction: %w", err)
	}
	for _, r := range results {
		var refused struct{ Error, Details string }
		if json.Unmarshal(r, &refused) == nil && refused.Error != "" {
			return nil, fmt.Errorf("database transaction: %s: %s", refused.Error, refused.Details)
		}
	}
	return results, nil
}

// waitConfigured waits until ovs-vswitchd has brought about all that the
// database holds now. The protocol is that of ovs-vsctl(8): next_cfg is raised,
// and ovs-vswitchd sets cur_cfg to it when it is done.
func (s *Sandbox) waitConfigured(ctx context.Context) error {
	type object = map[string]any
	type array = []any
	results, err := s.transact(ctx,
		object{"op": "mutate", "table": "Open_vSwitch", "where": array{}, "mutations": array{array{"next_cfg", "+=", 1}}},
		object{"op": "select", "table": "Open_vSwitch", "where": array{}, "columns": array{"next_cfg"}})
	if err != nil {
		return err
	}
	var selected struct {
		Rows []struct {
			NextCfg int64 `json:"next_cfg"`
		}
	}
	if err := json.Unmarshal(results[1], &selected); err != nil {
		return err
	}
	if len(selected.Rows) != 1 {
		return fmt.Errorf("database %s: table Open_vSwitch has %d rows, want 1", s.path("conf.db"), len(selected.Rows))
	}
	// The server itself waits for the condition; ctx ends the wait early.
	_, err = s.transact(ctx, object{"op": "wait", "timeout": time.Hour.Milliseconds(), "table": "Open_vSwitch",
		"where": array{}, "columns": array{"cur_cfg"}, "until": "==",
		"rows": array{object{"cur_cfg": selected.Rows[0].NextCfg}}})
	return err
}
