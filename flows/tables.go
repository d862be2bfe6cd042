package flows

// Table is the number of an OpenFlow table. Its name is set on the bridge, so
// ovs-ofctl and ofproto/trace show it.
type Table uint8

// The tables of the pipeline, in the order in which a packet meets them.
const (
	// TableClassifier tells where a packet comes from and stops what a pod may
	// not send: a foreign MAC, address, ARP or neighbour advertisement.
	TableClassifier Table = iota
	// TableArpResponder answers ARP requests and neighbour solicitations. None
	// ever crosses the bridge, so none can be spoofed.
	TableArpResponder
	// TableConntrack looks the packet's connection up, in one zone per family.
	TableConntrack
	// TableConntrackState lets established and related packets skip the verdict,
	// drops invalid ones and gives new ones their source's subject identity.
	TableConntrackState
	// TableServiceLB knows the frontends of Services: it leads new connections to
	// them into a select group, which chooses an endpoint and writes its address as
	// the packet's destination. What follows judges the endpoint.
	TableServiceLB
	// TableServiceAffinity holds what the switch itself learned: which client was
	// led to which endpoint.
	TableServiceAffinity
	// TableServiceEndpoint leads a client to the endpoint it had before, or into the
	// group if that is no more.
	TableServiceEndpoint
	// TableEgressPeer loads the identity of the destination pod.
	TableEgressPeer
	// TableEgressBlock loads the region of the destination address.
	TableEgressBlock
	// TableEgressPolicy holds the conjunctions of the egress rules.
	TableEgressPolicy
	// TableEgressDefault drops what no rule allowed an egress-isolated pod.
	TableEgressDefault
	// TableRoute finds the output port and the destination's subject identity.
	TableRoute
	// TableIngressPeer loads the identity of the source pod.
	TableIngressPeer
	// TableIngressBlock loads the region of the source address.
	TableIngressBlock
	// TableIngressPolicy holds the conjunctions of the ingress rules.
	TableIngressPolicy
	// TableIngressDefault drops what no rule allowed to an ingress-isolated pod.
	TableIngressDefault
	// TableCommit commits a connection together with the rules that allowed it. A
	// balanced one first gets its frontend back as its destination.
	TableCommit
	// TableServiceCommit commits a balanced connection, translated to its endpoint.
	TableServiceCommit
	// TableServiceSource gives balanced connections that would else be answered by
	// another way a source address of this node.
	TableServiceSource
	// TableOutput sends the packet out.
	TableOutput
	// TableDenied drops what any table denied, and tells of it if that is wanted.
	TableDenied
	// NumTables is how many tables there are.
	NumTables
)

var tableNames = [NumTables]string{
	"Classifier", "ArpResponder", "Conntrack", "ConntrackState",
	"ServiceLB", "ServiceAffinity", "ServiceEndpoint",
	"EgressPeer", "EgressBlock", "EgressPolicy", "EgressDefault",
	"Route",
	"IngressPeer", "IngressBlock", "IngressPolicy", "IngressDefault",
	"Commit", "ServiceCommit", "ServiceSource", "Output", "Denied",
}

// String returns the table's name.
func (t Table) String() string {
	if t < NumTables {
		return tableNames[t]
	}
	return "unknown"
}

// Prefixes are the address fields of a table for which the switch should keep
// prefix tries (ovs-vswitchd.conf.db(5), Flow_Table prefixes), so that a
// megaflow matches no more bits of an address than the table's answer needs.
func (t Table) Prefixes() []string {
	switch t {
	case TableServiceLB, TableEgressPeer, TableEgressBlock, TableRoute:
		return []string{"ip_dst", "ipv6_dst"}
	case TableIngressPeer, TableIngressBlock:
		return []string{"ip_src", "ipv6_src"}
	}
	return nil
}

// sideTables are the tables of one direction.
type sideTables struct {
	peer, block, policy, dflt, after Table
}

var tablesOf = [2]sideTables{
	Egress:  {TableEgressPeer, TableEgressBlock, TableEgressPolicy, TableEgressDefault, TableRoute},
	Ingress: {TableIngressPeer, TableIngressBlock, TableIngressPolicy, TableIngressDefault, TableCommit},
}

// Conntrack zones, one per family: the same 5-tuple text can't be mistaken for
// the other family's, and a flush names what it means.
const (
	ZoneIPv4 uint16 = 65520
	ZoneIPv6 uint16 = 65521
	// The zones of the sources that balanced connections are given: an entry can
	// translate one end of a connection, and these are the second.
	ZoneSourceIPv4 uint16 = 65522
	ZoneSourceIPv6 uint16 = 65523
)

// TableNames returns the names of all tables by number, to be set on a bridge.
func TableNames() map[uint8]string {
	names := make(map[uint8]string, NumTables)
	for t := range NumTables {
		names[uint8(t)] = t.String()
	}
	return names
}

// TablePrefixes returns the Prefixes of all tables that have some, by number.
func TablePrefixes() map[uint8][]string {
	prefixes := map[uint8][]string{}
	for t := range NumTables {
		if p := t.Prefixes(); p != nil {
			prefixes[uint8(t)] = p
		}
	}
	return prefixes
}

// maxLearned is how many clients the switch remembers the endpoints of. Who comes from
// outside may come from any number of addresses, each of which it would else keep for
// as long as the affinity lasts.
const maxLearned = 1 << 16

// TableLimits returns how many flows tables hold at most that the switch itself adds
// flows to, by number. The client whose time is over first is forgotten: the group it
// is led to chooses by its address, most likely the same endpoint again.
func TableLimits() map[uint8]int { return map[uint8]int{uint8(TableServiceAffinity): maxLearned} }
