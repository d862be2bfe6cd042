package vsdb

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Compare returns in what a bridge differs from what EnsureBridge would make of
// it, one line for each row and column, without changing anything. It is an error
// if there is no such bridge.
func (db *DB) Compare(ctx context.Context, b Bridge) ([]string, error) {
	s, err := db.fresh(ctx)
	if err != nil {
		return nil, fmt.Errorf("compare bridge %s: %w", b.Name, err)
	}
	row := bridgeRow{Name: b.Name}
	if !get(s, bridgeTable, &row) {
		return nil, fmt.Errorf("bridge %s does not exist", b.Name)
	}
	c := comparison{session: s}
	if b.DatapathType != "" {
		c.column("bridge "+b.Name, "datapath_type", datapathType(row.DatapathType), datapathType(b.DatapathType))
	}
	c.column("bridge "+b.Name, "fail_mode", text(row.FailMode), "secure")
	c.column("bridge "+b.Name, "protocols", fmt.Sprint(sorted(row.Protocols)), fmt.Sprint(protocols))
	for _, key := range slices.Sorted(maps.Keys(otherConfig)) {
		c.column("bridge "+b.Name, "other_config:"+key, row.OtherConfig[key], otherConfig[key])
	}
	c.tables(b, row.FlowTables)
	c.port(row.Ports, b.gatewayRow())
	if b.Tunnel != nil {
		c.port(row.Ports, b.Tunnel.row())
	}
	return c.found, nil
}

type comparison struct {
	session *session
	found   []string
}

func (c *comparison) differ(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

func (c *comparison) column(row, name, is, want string) {
	if is != want {
		c.differ("%s: %s is %q, should be %q", row, name, is, want)
	}
}

// tables compares the names, prefixes and limits of the OpenFlow tables.
func (c *comparison) tables(b Bridge, have map[int]string) {
	for _, number := range slices.Sorted(maps.Keys(b.Tables)) {
		row := flowTableRow{UUID: have[int(number)]}
		name := fmt.Sprintf("table %d of bridge %s", number, b.Name)
		if row.UUID == "" || !get(c.session, flowTableTable, &row) {
			c.differ("%s: has no name, should be %q", name, b.Tables[number])
			continue
		}
		want := b.flowTable(number)
		c.column(name, "name", text(row.Name), text(want.Name))
		c.column(name, "prefixes", fmt.Sprint(sorted(row.Prefixes)), fmt.Sprint(want.Prefixes))
		c.column(name, "flow_limit", row.limit(), want.limit())
	}
}

// port compares a port of the bridge, and whether ovs-vswitchd has made it.
func (c *comparison) port(attached []string, want interfaceRow) {
	row, is := portRow{Name: want.Name}, interfaceRow{Name: want.Name}
	if !get(c.session, portTable, &row) || !slices.Contains(attached, row.UUID) || !get(c.session, interfaceTable, &is) {
		c.differ("port %s: is not on the bridge", want.Name)
		return
	}
	c.column("port "+want.Name, "type", is.Type, want.Type)
	if want.MAC != nil {
		c.column("port "+want.Name, "mac", text(is.MAC), *want.MAC)
	}
	if want.MTURequest != nil && !same(is.MTURequest, want.MTURequest) {
		c.differ("port %s: mtu_request is not %d", want.Name, *want.MTURequest)
	}
	for _, key := range slices.Sorted(maps.Keys(want.Options)) {
		c.column("port "+want.Name, "options:"+key, is.Options[key], want.Options[key])
	}
	if number, err := is.number(); err != nil {
		c.differ("port %s: %v", want.Name, err)
	} else if number == 0 {
		c.differ("port %s: has no OpenFlow port number", want.Name)
	}
}

func text(column *string) string {
	if column == nil {
		return ""
	}
	return *column
}
