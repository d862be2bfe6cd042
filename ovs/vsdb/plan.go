package vsdb

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// protocols are the OpenFlow versions a bridge speaks: 1.5 for Sluice, the
// others for whoever looks at the bridge with ovs-ofctl, which asks for 1.0
// unless told otherwise.
var protocols = []string{"OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"}

// otherConfig are the keys Sluice sets in the bridge's other_config.
var otherConfig = map[string]string{"disable-in-band": "true"}

// plan collects the operations that make a bridge what it should be.
type plan struct {
	session *session
	// root identifies the Open_vSwitch row.
	root string
	ops  []ovsdb.Operation
}

func (p *plan) add(ops ...ovsdb.Operation) { p.ops = append(p.ops, ops...) }

// try adds the operations unless their making failed.
func (p *plan) try(ops []ovsdb.Operation, err error) error {
	p.add(ops...)
	return err
}

// bridge plans a bridge with all that belongs to it.
func (p *plan) bridge(b Bridge) error {
	root, ok := p.session.root()
	if !ok {
		return errors.New("the database has no Open_vSwitch row: run ovs-vsctl --no-wait init")
	}
	p.root = root.UUID
	row := bridgeRow{Name: b.Name}
	exists := get(p.session, bridgeTable, &row)
	want := row
	if b.DatapathType != "" {
		want.DatapathType = b.DatapathType
	}
	want.FailMode = ptr("secure")
	want.Protocols = protocols
	tables, err := p.flowTables(row.FlowTables, b)
	if err != nil {
		return err
	}
	want.FlowTables = tables
	if exists {
		err = p.change(row, want)
	} else {
		want.UUID = "bridge"
		want.OtherConfig = otherConfig
		err = errors.Join(
			p.try(p.session.client.Create(&want)),
			p.port(b.Name, nil, b.Name, nil, interfaceRow{Name: b.Name, Type: "internal"}),
		)
		p.add(mutate(rootTable, where("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: p.root}),
			"bridges", ovsdb.MutateOperationInsert, ovsdb.UUID{GoUUID: "bridge"}))
	}
	if err != nil {
		return err
	}
	if err := p.port(b.Name, row.Ports, b.Gateway, map[string]string{IDGateway: b.Name}, b.gatewayRow()); err != nil {
		return err
	}
	return p.tunnel(b, row.Ports)
}

// tunnel plans the bridge's tunnel port, and the end of one under another name
// or no longer wanted.
func (p *plan) tunnel(b Bridge, attached []string) error {
	for _, uuid := range attached {
		port := portRow{UUID: uuid}
		if get(p.session, portTable, &port) && port.ExternalIDs[IDTunnel] == b.Name && (b.Tunnel == nil || port.Name != b.Tunnel.Name) {
			p.add(detachPort(port.UUID))
		}
	}
	if b.Tunnel == nil {
		return nil
	}
	return p.port(b.Name, attached, b.Tunnel.Name, map[string]string{IDTunnel: b.Name}, b.Tunnel.row())
}

// gatewayRow is the gateway's interface as it should be.
func (b *Bridge) gatewayRow() interfaceRow {
	row := interfaceRow{Name: b.Gateway, Type: "internal"}
	if len(b.GatewayMAC) != 0 {
		row.MAC = ptr(b.GatewayMAC.String())
	}
	if b.MTU != 0 {
		row.MTURequest = ptr(b.MTU)
	}
	return row
}

// row is the tunnel's interface as it should be.
func (t *Tunnel) row() interfaceRow {
	return interfaceRow{Name: t.Name, Type: t.Type, Options: map[string]string{"remote_ip": "flow", "local_ip": "flow"}}
}

// change plans the difference between a bridge's row and what it should be.
func (p *plan) change(row, want bridgeRow) error {
	var fields []any
	if datapathType(row.DatapathType) != datapathType(want.DatapathType) {
		fields = append(fields, &want.DatapathType)
	}
	if row.FailMode == nil || *row.FailMode != *want.FailMode {
		fields = append(fields, &want.FailMode)
	}
	if !slices.Equal(sorted(row.Protocols), want.Protocols) {
		fields = append(fields, &want.Protocols)
	}
	if !maps.Equal(row.FlowTables, want.FlowTables) {
		fields = append(fields, &want.FlowTables)
	}
	want.OtherConfig = maps.Clone(row.OtherConfig)
	if want.OtherConfig == nil {
		want.OtherConfig = map[string]string{}
	}
	maps.Copy(want.OtherConfig, otherConfig)
	if !maps.Equal(row.OtherConfig, want.OtherConfig) {
		fields = append(fields, &want.OtherConfig)
	}
	if len(fields) == 0 {
		return nil
	}
	return p.try(p.session.client.Where(&row).Update(&want, fields...))
}

// port plans a port of the bridge with one interface. Of an interface that
// exists it changes the type, the MAC, the MTU and the options, if they are
// given.
func (p *plan) port(bridge string, attached []string, name string, ids map[string]string, want interfaceRow) error {
	row := portRow{Name: name}
	if !get(p.session, portTable, &row) {
		port, iface := "port_"+fmt.Sprint(len(p.ops)), "iface_"+fmt.Sprint(len(p.ops))
		want.UUID = iface
		err := errors.Join(
			p.try(p.session.client.Create(&want)),
			p.try(p.session.client.Create(&portRow{UUID: port, Name: name, Interfaces: []string{iface}, ExternalIDs: ids})),
		)
		p.add(attachPort(bridge, port))
		return err
	}
	if !slices.Contains(attached, row.UUID) {
		return fmt.Errorf("port %s belongs to another bridge", name)
	}
	if owned := maps.Clone(row.ExternalIDs); !contains(owned, ids) {
		if owned == nil {
			owned = map[string]string{}
		}
		maps.Copy(owned, ids)
		row.ExternalIDs = owned
		if err := p.try(p.session.client.Where(&row).Update(&row, &row.ExternalIDs)); err != nil {
			return err
		}
	}
	iface := interfaceRow{Name: name}
	if !get(p.session, interfaceTable, &iface) {
		return fmt.Errorf("port %s has no interface of its name", name)
	}
	want.UUID = iface.UUID
	var fields []any
	if want.Type != iface.Type {
		fields = append(fields, &want.Type)
	}
	if want.MAC != nil && !same(want.MAC, iface.MAC) {
		fields = append(fields, &want.MAC)
	}
	if want.MTURequest != nil && !same(want.MTURequest, iface.MTURequest) {
		fields = append(fields, &want.MTURequest)
	}
	if want.Options != nil && !maps.Equal(want.Options, iface.Options) {
		fields = append(fields, &want.Options)
	}
	if len(fields) == 0 {
		return nil
	}
	return p.try(p.session.client.Where(&iface).Update(&want, fields...))
}

// flowTables plans the rows of the tables' names, prefixes and limits and returns what
// the bridge should refer to. A row that says the right thing stays; any other
// is replaced and not changed, as another bridge may refer to it.
func (p *plan) flowTables(have map[int]string, b Bridge) (map[int]string, error) {
	if b.Tables == nil {
		return have, nil
	}
	refs := make(map[int]string, len(b.Tables))
	for _, number := range slices.Sorted(maps.Keys(b.Tables)) {
		row, want := flowTableRow{UUID: have[int(number)]}, b.flowTable(number)
		if row.UUID != "" && get(p.session, flowTableTable, &row) && row.says(want) {
			refs[int(number)] = row.UUID
			continue
		}
		row = want
		row.UUID = fmt.Sprintf("table_%d", number)
		if err := p.try(p.session.client.Create(&row)); err != nil {
			return nil, fmt.Errorf("table %d: %w", number, err)
		}
		refs[int(number)] = row.UUID
	}
	return refs, nil
}

// says reports whether a row says what another does.
func (r *flowTableRow) says(want flowTableRow) bool {
	return text(r.Name) == text(want.Name) && slices.Equal(sorted(r.Prefixes), want.Prefixes) &&
		r.limit() == want.limit()
}

// limit is the limit in words.
func (r *flowTableRow) limit() string {
	if r.FlowLimit == nil {
		return ""
	}
	return fmt.Sprintf("%d, then %s", *r.FlowLimit, text(r.OverflowPolicy))
}

func ptr[T any](v T) *T { return &v }

func same[T comparable](a, b *T) bool { return a != nil && b != nil && *a == *b }

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// contains reports whether all keys of part stand in all with the same values.
func contains(all, part map[string]string) bool {
	for key, value := range part {
		if all[key] != value {
			return false
		}
	}
	return true
}
