package vsdb

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Datapath types of a bridge.
const (
	// DatapathSystem is the kernel's openvswitch module.
	DatapathSystem = "system"
	// DatapathNetdev is ovs-vswitchd's own, in userspace.
	DatapathNetdev = "netdev"
	// DatapathDummy lets no packet out of ovs-vswitchd; for tests.
	DatapathDummy = "dummy"
)

// Bridge describes a bridge as it should be.
type Bridge struct {
	// Name is the name of the bridge and of its local port, at most 15 bytes.
	Name string
	// DatapathType is one of the constants above. Empty keeps what the bridge has,
	// or leaves it to Open vSwitch, which means system. Changing it takes all
	// flows away.
	DatapathType string
	// Gateway is the name of the port that leads to the node's own network stack,
	// at most 15 bytes. It is of type internal, which every datapath knows: a
	// network device made by the kernel, a tap device, or on the dummy datapath
	// nothing but a name. (Type dummy would not take GatewayMAC.)
	Gateway string
	// GatewayMAC is the Ethernet address to give the gateway's interface. Without
	// one it is Open vSwitch's choice, which may change when it restarts.
	GatewayMAC net.HardwareAddr
	// MTU is the MTU to ask for the gateway's interface; zero leaves it to Open
	// vSwitch.
	MTU int
	// Tunnel is the port to other nodes; nil means none.
	Tunnel *Tunnel
	// Tables are the names of the OpenFlow tables; a table that is not here loses
	// its name. Nil leaves tables as they are.
	Tables map[uint8]string
	// Prefixes are the fields for which a table keeps a prefix tree (ovs-fields
	// names, at most 3 a table), so that the megaflows of one address don't tell
	// all others apart. They apply only if Tables is set. Tables that are not here
	// have Open vSwitch's default, nw_dst and nw_src.
	Prefixes map[uint8][]string
	// Limits are how many flows a table holds at most: one more takes the place of
	// that whose timeout runs out first. They are for flows that the switch adds by
	// itself, and apply only if Tables is set. Tables that are not here have none.
	Limits map[uint8]int
}

// Tunnel is a tunnel port whose ends are set flow by flow
// (ovs-vswitchd.conf.db(5), options:remote_ip and options:local_ip).
type Tunnel struct {
	// Name is the name of the port, at most 15 bytes.
	Name string
	// Type is "geneve" or "vxlan".
	Type string
}

// BridgeState is what a bridge is.
type BridgeState struct {
	// UUID is the identifier of its row in the database.
	UUID string
	Name string
	// DatapathID is its OpenFlow datapath id, 16 hex digits.
	DatapathID string
	// DatapathType is never empty.
	DatapathType string
	// Gateway is the name of the gateway port, empty if EnsureBridge has made none.
	Gateway string
	// GatewayOFPort is the gateway's OpenFlow port number.
	GatewayOFPort uint32
	// GatewayMAC is the Ethernet address of the gateway's interface.
	GatewayMAC net.HardwareAddr
	// Tunnel is the name of the tunnel port, empty if there is none, and
	// TunnelOFPort its OpenFlow port number.
	Tunnel       string
	TunnelOFPort uint32
}

// EnsureBridge makes the bridge, its local port and its gateway port, or changes
// what differs: fail mode secure, so that a bridge without flows forwards
// nothing; no in-band control, whose hidden flows come before all others; and
// all OpenFlow versions up to 1.5. What Sluice has no opinion on stays. If
// nothing differs it writes nothing.
//
// It returns once ovs-vswitchd has set the bridge up and the gateway has a
// number.
func (db *DB) EnsureBridge(ctx context.Context, b Bridge) error {
	if err := db.ensureBridge(ctx, b); err != nil {
		return fmt.Errorf("ensure bridge %s: %w", b.Name, err)
	}
	return nil
}

func (db *DB) ensureBridge(ctx context.Context, b Bridge) error {
	if err := b.validate(); err != nil {
		return err
	}
	for {
		s, err := db.fresh(ctx)
		if err != nil {
			return err
		}
		p := plan{session: s}
		if err := p.bridge(b); err != nil {
			return err
		}
		if len(p.ops) == 0 {
			return db.waitBridge(ctx, b, 0)
		}
		cfg, err := db.commit(ctx, s, p)
		if errors.Is(err, errLost) {
			// Whether it took place shows in the next plan.
			continue
		}
		if err != nil {
			return err
		}
		return db.waitBridge(ctx, b, cfg)
	}
}

func (b *Bridge) validate() error {
	switch {
	case b.Name == "" || len(b.Name) > 15:
		return fmt.Errorf("field Name %q: want 1 to 15 bytes", b.Name)
	case b.Gateway == "" || len(b.Gateway) > 15 || b.Gateway == b.Name:
		return fmt.Errorf("field Gateway %q: want 1 to 15 bytes, and not the bridge's name", b.Gateway)
	case len(b.GatewayMAC) != 0 && len(b.GatewayMAC) != 6:
		return fmt.Errorf("field GatewayMAC %q is not an Ethernet address", b.GatewayMAC)
	case b.Tunnel != nil && (b.Tunnel.Name == "" || len(b.Tunnel.Name) > 15 || b.Tunnel.Name == b.Name || b.Tunnel.Name == b.Gateway):
		return fmt.Errorf("field Tunnel.Name %q: want 1 to 15 bytes, and not another port's name", b.Tunnel.Name)
	case b.Tunnel != nil && b.Tunnel.Type != "geneve" && b.Tunnel.Type != "vxlan":
		return fmt.Errorf("field Tunnel.Type %q: want geneve or vxlan", b.Tunnel.Type)
	case b.MTU < 0:
		return fmt.Errorf("MTU %d is negative", b.MTU)
	}
	for table, fields := range b.Prefixes {
		if len(fields) > 3 {
			return fmt.Errorf("field Prefixes: %d fields for table %d, at most 3", len(fields), table)
		}
	}
	for table, limit := range b.Limits {
		if limit < 1 {
			return fmt.Errorf("field Limits: %d flows for table %d, at least 1", limit, table)
		}
	}
	return nil
}

// flowTable is what a table's row has to say.
func (b *Bridge) flowTable(number uint8) flowTableRow {
	row := flowTableRow{Name: ptr(b.Tables[number]), Prefixes: sorted(b.Prefixes[number])}
	if limit, limited := b.Limits[number]; limited {
		row.FlowLimit, row.OverflowPolicy = &limit, ptr("evict")
	}
	return row
}

// commit writes the plan and returns the number ovs-vswitchd will show in
// cur_cfg once it has applied it.
func (db *DB) commit(ctx context.Context, s *session, p plan) (cfg int, err error) {
	root := where("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: p.root})
	p.add(
		mutate(rootTable, root, "next_cfg", ovsdb.MutateOperationAdd, 1),
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: rootTable, Where: root, Columns: []string{"next_cfg"}},
	)
	results, err := db.write(ctx, s, p.ops...)
	if err != nil {
		return 0, err
	}
	rows := results[len(p.ops)-1].Rows
	if len(rows) != 1 {
		return 0, errors.New("the database's Open_vSwitch row is gone")
	}
	number, ok := rows[0]["next_cfg"].(float64) // all JSON numbers are
	if !ok {
		return 0, fmt.Errorf("next_cfg is %v, not a number", rows[0]["next_cfg"])
	}
	return int(number), nil
}

// waitBridge waits until ovs-vswitchd has set the bridge and its gateway up. If
// it says that it has applied the configuration numbered cfg and they are not
// there, they will not come any more; zero is no configuration.
func (db *DB) waitBridge(ctx context.Context, b Bridge, cfg int) error {
	var missing string
	look := func(s *session) error {
		state, err := s.bridgeState(b.Name)
		missing = state.missing()
		return err
	}
	err := db.await(ctx, func(s *session) (bool, error) {
		if err := look(s); err != nil || missing == "" {
			return true, err
		}
		root, ok := s.root()
		return cfg != 0 && ok && root.CurCfg >= cfg, nil
	})
	if err == nil && missing != "" {
		// One update reaches the tables of the replica one after the other: look
		// again when it has reached all.
		var s *session
		if s, err = db.fresh(ctx); err == nil {
			err = look(s)
		}
		if err == nil && missing != "" {
			return errors.New("ovs-vswitchd did not set it up: " + missing)
		}
	}
	if err != nil && ctx.Err() != nil && missing != "" {
		return fmt.Errorf("%s; is ovs-vswitchd running?: %w", missing, err)
	}
	return err
}

// missing says what ovs-vswitchd has not yet made of the bridge, nothing if it
// is up.
func (b *BridgeState) missing() string {
	switch {
	case b.DatapathID == "":
		return fmt.Sprintf("the bridge has no datapath id; is datapath type %s available?", b.DatapathType)
	case b.GatewayOFPort == 0:
		return fmt.Sprintf("gateway port %s has no OpenFlow port number", b.Gateway)
	case b.Tunnel != "" && b.TunnelOFPort == 0:
		return fmt.Sprintf("tunnel port %s has no OpenFlow port number", b.Tunnel)
	}
	return ""
}

// Bridge returns the state of a bridge. It is an error if there is none, or if
// its gateway could not be set up.
func (db *DB) Bridge(ctx context.Context, name string) (BridgeState, error) {
	s, err := db.fresh(ctx)
	if err != nil {
		return BridgeState{}, fmt.Errorf("read bridge %s: %w", name, err)
	}
	return s.bridgeState(name)
}

func (s *session) bridgeState(name string) (BridgeState, error) {
	row := bridgeRow{Name: name}
	if !get(s, bridgeTable, &row) {
		return BridgeState{}, fmt.Errorf("bridge %s does not exist", name)
	}
	state := BridgeState{UUID: row.UUID, Name: name, DatapathType: datapathType(row.DatapathType)}
	if row.DatapathID != nil {
		state.DatapathID = *row.DatapathID
	}
	for _, uuid := range row.Ports {
		port := portRow{UUID: uuid}
		if !get(s, portTable, &port) {
			continue
		}
		gateway, tunnel := port.ExternalIDs[IDGateway] == name, port.ExternalIDs[IDTunnel] == name
		if !gateway && !tunnel {
			continue
		}
		// A port without an interface yet has no number yet.
		iface := interfaceRow{Name: port.Name}
		get(s, interfaceTable, &iface)
		number, err := iface.number()
		switch {
		case err != nil:
			return state, fmt.Errorf("port %s of bridge %s: %w", port.Name, name, err)
		case gateway:
			state.Gateway, state.GatewayOFPort, state.GatewayMAC = port.Name, number, iface.address()
		default:
			state.Tunnel, state.TunnelOFPort = port.Name, number
		}
	}
	return state, nil
}

// address returns the interface's Ethernet address. The one ovs-vswitchd was
// told to set counts more than the one it shows: mac_in_use is refreshed some
// time later, and after a restart it was seen to stay as it was for 30 s.
func (r *interfaceRow) address() net.HardwareAddr {
	for _, text := range []*string{r.MAC, r.MACInUse} {
		if text == nil {
			continue
		}
		if mac, err := net.ParseMAC(*text); err == nil {
			return mac
		}
	}
	return nil
}

// datapathType gives the empty type its meaning.
func datapathType(column string) string {
	if column == "" {
		return DatapathSystem
	}
	return column
}

// DatapathTypes lists the datapath types this Open vSwitch was built with. That
// a type is listed does not mean it works: system is, also where the kernel has
// no openvswitch module. EnsureBridge tells.
func (db *DB) DatapathTypes(ctx context.Context) ([]string, error) {
	return db.types(ctx, "datapath types", func(r rootRow) []string { return r.DatapathTypes })
}

// InterfaceTypes lists the interface types this Open vSwitch knows.
func (db *DB) InterfaceTypes(ctx context.Context) ([]string, error) {
	return db.types(ctx, "interface types", func(r rootRow) []string { return r.IfaceTypes })
}

// types waits until ovs-vswitchd has written a list, which it does once when it
// starts.
func (db *DB) types(ctx context.Context, what string, column func(rootRow) []string) (list []string, err error) {
	err = db.await(ctx, func(s *session) (bool, error) {
		if root, ok := s.root(); ok {
			list = sorted(column(root))
		}
		return len(list) > 0, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s of ovs-vswitchd: %w", what, err)
	}
	return list, nil
}
