package vsdb

import (
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
)

// The rows below hold the columns of ovs-vswitchd.conf.db(5) that Sluice reads
// or writes, and no others: what is not here is neither monitored nor changed.

const (
	rootTable      = "Open_vSwitch"
	bridgeTable    = "Bridge"
	portTable      = "Port"
	interfaceTable = "Interface"
	flowTableTable = "Flow_Table"
)

// rootRow is the one row of the Open_vSwitch table.
type rootRow struct {
	UUID          string   `ovsdb:"_uuid"`
	Bridges       []string `ovsdb:"bridges"`
	DatapathTypes []string `ovsdb:"datapath_types"`
	IfaceTypes    []string `ovsdb:"iface_types"`
	// NextCfg is counted up by who wants to know when ovs-vswitchd has applied a
	// change; it then sets CurCfg to the value it has seen.
	NextCfg int `ovsdb:"next_cfg"`
	CurCfg  int `ovsdb:"cur_cfg"`

	OtherConfig map[string]string `ovsdb:"other_config"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type bridgeRow struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	DatapathType string            `ovsdb:"datapath_type"`
	DatapathID   *string           `ovsdb:"datapath_id"`
	FailMode     *string           `ovsdb:"fail_mode"`
	Protocols    []string          `ovsdb:"protocols"`
	OtherConfig  map[string]string `ovsdb:"other_config"`
	Ports        []string          `ovsdb:"ports"`
	FlowTables   map[int]string    `ovsdb:"flow_tables"`
}

type portRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Interfaces  []string          `ovsdb:"interfaces"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type interfaceRow struct {
	UUID string `ovsdb:"_uuid"`
	Name string `ovsdb:"name"`
	Type string `ovsdb:"type"`
	// OFPort is unset until ovs-vswitchd has dealt with the interface, and -1 if
	// it could not be added; Error then says why.
	OFPort     *int    `ovsdb:"ofport"`
	Error      *string `ovsdb:"error"`
	MAC        *string `ovsdb:"mac"`
	MACInUse   *string `ovsdb:"mac_in_use"`
	MTURequest *int    `ovsdb:"mtu_request"`
	// Options are those of the interface's type, such as a tunnel's remote_ip.
	Options map[string]string `ovsdb:"options"`
}

type flowTableRow struct {
	UUID     string   `ovsdb:"_uuid"`
	Name     *string  `ovsdb:"name"`
	Prefixes []string `ovsdb:"prefixes"`
	// FlowLimit is how many flows the table holds, OverflowPolicy what is done with
	// one more: "refuse" or "evict".
	FlowLimit      *int    `ovsdb:"flow_limit"`
	OverflowPolicy *string `ovsdb:"overflow_policy"`
}

func databaseModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		rootTable:      &rootRow{},
		bridgeTable:    &bridgeRow{},
		portTable:      &portRow{},
		interfaceTable: &interfaceRow{},
		flowTableTable: &flowTableRow{},
	})
}

// monitored lists the columns of the models; without the lists libovsdb asks
// the server for every column of the tables, statistics too.
func monitored() []client.MonitorOption {
	var (
		root  rootRow
		br    bridgeRow
		port  portRow
		iface interfaceRow
		table flowTableRow
	)
	return []client.MonitorOption{
		client.WithTable(&root, &root.Bridges, &root.DatapathTypes, &root.IfaceTypes, &root.NextCfg, &root.CurCfg,
			&root.OtherConfig, &root.ExternalIDs),
		client.WithTable(&br, &br.Name, &br.DatapathType, &br.DatapathID, &br.FailMode, &br.Protocols,
			&br.OtherConfig, &br.Ports, &br.FlowTables),
		client.WithTable(&port, &port.Name, &port.Interfaces, &port.ExternalIDs),
		client.WithTable(&iface, &iface.Name, &iface.Type, &iface.OFPort, &iface.Error, &iface.MAC,
			&iface.MACInUse, &iface.MTURequest, &iface.Options),
		client.WithTable(&table, &table.Name, &table.Prefixes, &table.FlowLimit, &table.OverflowPolicy),
	}
}
