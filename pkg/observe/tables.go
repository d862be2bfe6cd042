package observe

import "github.com/sluice-cni/sluice/flows"

// tableInfo is what is to be said of a table. Tables are named here and not
// numbered: their numbers follow from flows.
type tableInfo struct {
	stage, job string
	leads      []string
	// sink is true if the table drops all that comes to it.
	sink bool
	// kinds are the kinds of objects whose flows are summed, those that drop last.
	kinds, drops []flows.Kind
}

// tableInfos are all tables by name. What they say of the ways between tables is
// held against the flows of a node by TestTablesLeadWhereTheirFlowsDo.
var tableInfos = map[string]tableInfo{
	"Classifier": {
		stage: "arrival", job: "Tells pods, node and tunnel apart, and lets a pod send only from its own addresses.",
		leads: []string{"ArpResponder", "Conntrack", "Denied"},
		kinds: []flows.Kind{flows.KindPort, flows.KindNode, flows.KindRemote}, drops: []flows.Kind{flows.KindSpoof},
	},
	"ArpResponder": {
		stage: "arrival", job: "Answers ARP requests and neighbour solicitations. None crosses the bridge.",
	},
	"Conntrack": {
		stage: "arrival", job: "Looks the packet's connection up.",
		leads: []string{"ConntrackState"},
	},
	"ConntrackState": {
		stage: "arrival", job: "Lets packets of known connections pass all verdicts, drops invalid ones, and notes whose rules a new one has to ask.",
		leads: []string{"ServiceLB", "Route", "Denied"},
		kinds: []flows.Kind{flows.KindPort}, drops: []flows.Kind{flows.KindInvalid},
	},
	"ServiceLB": {
		stage: "service", job: "Leads new connections to a Service's frontend to one of its endpoints.",
		leads: []string{"ServiceAffinity", "ServiceEndpoint", "EgressPeer", "Commit"},
		kinds: []flows.Kind{flows.KindBalancer, flows.KindRefused, flows.KindUnowned}, drops: []flows.Kind{flows.KindUnserved},
	},
	"ServiceAffinity": {
		stage: "service", job: "Remembers which client was led to which endpoint.",
		kinds: []flows.Kind{flows.KindAffinity},
	},
	"ServiceEndpoint": {
		stage: "service", job: "Leads a client back to the endpoint it had before, if that is still there.",
		leads: []string{"ServiceAffinity", "EgressPeer"},
		kinds: []flows.Kind{flows.KindEndpoint},
	},
	"EgressPeer": {
		stage: "egress", job: "Finds the identity of the destination, as the source's rules see it.",
		leads: []string{"EgressBlock", "EgressDefault", "Route"},
		kinds: []flows.Kind{flows.KindEgressPeer},
	},
	"EgressBlock": {
		stage: "egress", job: "Finds which ipBlocks the destination's address lies in.",
		leads: []string{"EgressPolicy"},
		kinds: []flows.Kind{flows.KindEgressBlock},
	},
	"EgressPolicy": {
		stage: "egress", job: "Asks the egress rules of the source's pod.",
		leads: []string{"EgressDefault", "Route"},
		kinds: []flows.Kind{flows.KindEgressRule},
	},
	"EgressDefault": {
		stage: "egress", job: "Drops what no rule has allowed, if a policy isolates the source for egress.",
		leads: []string{"Route", "Denied"},
		drops: []flows.Kind{flows.KindEgressIsolation, flows.KindEgressPending},
	},
	"Route": {
		stage: "route", job: "Finds the port by which the packet leaves, and writes both MAC addresses.",
		leads: []string{"IngressPeer"},
		kinds: []flows.Kind{flows.KindPort, flows.KindNode, flows.KindRemote},
		drops: []flows.Kind{flows.KindUnroutable, flows.KindEncapsulated},
	},
	"IngressPeer": {
		stage: "ingress", job: "Finds the identity of the source, as the destination's rules see it. Packets of known connections leave here.",
		leads: []string{"IngressBlock", "IngressDefault", "Commit", "ServiceSource", "Output"},
		kinds: []flows.Kind{flows.KindIngressPeer, flows.KindNode},
	},
	"IngressBlock": {
		stage: "ingress", job: "Finds which ipBlocks the source's address lies in.",
		leads: []string{"IngressPolicy"},
		kinds: []flows.Kind{flows.KindIngressBlock},
	},
	"IngressPolicy": {
		stage: "ingress", job: "Asks the ingress rules of the destination's pod.",
		leads: []string{"IngressDefault", "Commit"},
		kinds: []flows.Kind{flows.KindIngressRule},
	},
	"IngressDefault": {
		stage: "ingress", job: "Drops what no rule has allowed, if a policy isolates the destination for ingress.",
		leads: []string{"Commit", "Denied"},
		drops: []flows.Kind{flows.KindIngressIsolation, flows.KindIngressPending},
	},
	"Commit": {
		stage: "departure", job: "Commits the connection, with the rules that allowed it.",
		leads: []string{"ServiceCommit", "Output"},
	},
	"ServiceCommit": {
		stage: "departure", job: "Commits a connection to a Service, translated to its endpoint.",
		leads: []string{"ServiceSource"},
	},
	"ServiceSource": {
		stage: "departure", job: "Gives connections whose answers would come by another way an address of this node.",
		leads: []string{"Output"},
	},
	"Output": {
		stage: "departure", job: "Sends the packet to the port that Route has found.",
	},
	"Denied": {
		stage: "departure", job: "Drops what another table has denied, and tells of it.", sink: true,
	},
}
