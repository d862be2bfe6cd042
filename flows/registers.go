package flows

import "github.com/sluice-cni/sluice/flows/internal/flow"

// The registers of the pipeline. Each has one meaning; who writes it is said
// with it. Zero always means "nothing there".
const (
	// regSource tells where the packet came from; written by Classifier (kind)
	// and ConntrackState (sourceSelf, sourceJudged).
	regSource flow.Reg = 0
	// regOutput is the OpenFlow port the packet leaves by; written by Route.
	regOutput flow.Reg = 1
	// regEgressSubject and regIngressSubject are the subject identities of source
	// and destination; written by ConntrackState and Route, of balanced connections
	// anew by EgressPeer.
	regEgressSubject  flow.Reg = 2
	regIngressSubject flow.Reg = 3
	// regEgressPeer and regIngressPeer are the identities of the other side's
	// pod; written by EgressPeer and IngressPeer.
	regEgressPeer  flow.Reg = 4
	regIngressPeer flow.Reg = 5
	// regEgressBlock and regIngressBlock are the regions of the other side's
	// address; written by EgressBlock and IngressBlock.
	regEgressBlock  flow.Reg = 6
	regIngressBlock flow.Reg = 7
	// regEgressPage and regIngressPage are the pages of rules still to be asked;
	// written with the subject, and by the policy tables as pages miss.
	regEgressPage  flow.Reg = 8
	regIngressPage flow.Reg = 9
	// regEgressRule and regIngressRule are the ids of the rules that allowed the
	// connection; written by the policy tables, kept in ct_label by Commit.
	regEgressRule  flow.Reg = 10
	regIngressRule flow.Reg = 11
	// regEndpoint is the endpoint a balanced connection was led to, regFrontend the
	// frontend it was begun to; written by ServiceLB and its groups.
	regEndpoint flow.Reg = 12
	regFrontend flow.Reg = 13
	// regLive marks a packet that is followed, and the tables that have told of it;
	// written by the flows of Live alone.
	regLive flow.Reg = 14
	// regDenied is the Kind of the flow that denied the packet; written by that flow.
	// KindAllowed means that an allowed packet has been told of; written by Commit.
	regDenied flow.Reg = 15
)

// Values of regSource.
const (
	sourceKindMask uint32 = 0xf // one bit a kind, so that a match can leave one out
	sourcePod      uint32 = 1
	sourceGateway  uint32 = 2
	sourceTunnel   uint32 = 4
	// sourceSelf marks a pod's connection to its own address, sourceJudged a packet
	// of a connection that has had its verdict.
	sourceSelf   uint32 = 0x10
	sourceJudged uint32 = 0x20
	// sourceBalanced marks a connection to a frontend, sourceTranslated one that is
	// to get a source address of this node; both are kept in ct_mark.
	sourceTranslated uint32 = 0x40
	sourceBalanced   uint32 = 0x80
	// sourceLookedUp marks a packet that has been looked up in a zone of sources. What
	// comes from the node's stack may have a ct_state on arrival, from there.
	sourceLookedUp uint32 = 0x100
)

// A connection's ct_mark holds what regSource said of its first packet: under
// MarkSource the kind of source it was begun from, and whether it was balanced.
const (
	MarkSource   = sourceKindMask
	MarkGateway  = sourceGateway
	MarkBalanced = sourceBalanced
)

// sideRegs are the registers of one direction.
type sideRegs struct {
	subject, peer, block, page, rule flow.Reg
}

var regsOf = [2]sideRegs{
	Egress:  {regEgressSubject, regEgressPeer, regEgressBlock, regEgressPage, regEgressRule},
	Ingress: {regIngressSubject, regIngressPeer, regIngressBlock, regIngressPage, regIngressRule},
}
