package conjunction

import (
	"cmp"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// PageSize is how many rules a page holds unless told otherwise. Each page that misses costs
// one level of the switch's resubmit depth, which is 64: a pod under more than
// about 8,000 rules of one direction is cut off, not left open.
const PageSize = 128

// Kind is the kind of a class.
type Kind uint8

// The kinds of classes. Subjects fill a rule's first dimension, peers and
// blocks together its second.
const (
	Subject Kind = iota
	Peer
	Block
	numKinds
)

// dim is the index kind under which a kind of class finds rules by term: blocks
// are peers too.
func (k Kind) dim() Kind {
	if k == Block {
		return Peer
	}
	return k
}

// Service is a transport protocol with destination ports under a mask, in host
// byte order. A zero mask means every port.
type Service struct {
	Protocol   uint8
	Port, Mask uint16
}

// Rule is a rule as its table sees it.
type Rule struct {
	// Subjects are the rule's subject terms, sorted; at least one.
	Subjects []uint32
	// AnyPeer means there is no second dimension; Peers is then empty.
	AnyPeer bool
	// Peers are the rule's peer terms, sorted, be they of pods or blocks.
	Peers []uint32
	// Services are sorted and without duplicates. Empty means any.
	Services []Service
}

// Layout says where in the pipeline a table's rules live.
type Layout struct {
	// Table is the OpenFlow table of the conjunctions.
	Table int
	// Priority is the priority of the clauses. Flows that lead from page to page
	// have priority ChainPriority.
	Priority, ChainPriority int
	// Page, Subject, Peer and Block are the registers that clauses match.
	Page, Subject, Peer, Block flow.Reg
	// Rule is the register that takes the id of the rule that matched; the packet
	// then goes on in table Accepted.
	Rule     flow.Reg
	Accepted int
	// PageSize is how many rules a page holds at most; zero means the constant
	// PageSize.
	PageSize int
	// ClauseCookie is the cookie of flows that belong to no single rule.
	ClauseCookie func(page uint32) uint64
}

// rule is an installed rule.
type rule struct {
	Rule
	key    string
	id     uint32 // conj_id
	page   uint32
	cookie uint64
}

// dims returns how many dimensions the rule's conjunction has: never less than
// the two that OpenFlow asks for.
func (r *rule) dims() int {
	n := 1
	if !r.AnyPeer {
		n++
	}
	if len(r.Services) > 0 {
		n++
	}
	return max(n, 2)
}

// serviceDim is the place of the service dimension.
func (r *rule) serviceDim() int {
	if r.AnyPeer {
		return 2
	}
	return 3
}

// trivial reports whether the rule has no dimension but its subjects, so that
// the clause that every packet of the page satisfies has to be its second.
func (r *rule) trivial() bool { return r.AnyPeer && len(r.Services) == 0 }

// clauseKind is the kind of match of a clause.
type clauseKind uint8

const (
	clauseSubject clauseKind = iota // same numbers as Kind
	clausePeer
	clauseBlock
	clauseAny
	clauseService4
	clauseService6
)

// clause names a shared clause: the flow of one match on one page.
type clause struct {
	page  uint32
	kind  clauseKind
	class uint32
	svc   Service
}

func clauseLess(a, b clause) bool {
	switch {
	case a.page != b.page:
		return a.page < b.page
	case a.kind != b.kind:
		return a.kind < b.kind
	case a.class != b.class:
		return a.class < b.class
	}
	return a.svc.Compare(b.svc) < 0
}

// Changes are the flows that differ from what was taken before.
type Changes struct {
	Add, Delete []*ovs.Flow
	// Entries lists the subject classes whose first page has changed, in
	// ascending order.
	Entries []uint32
}

// Compare orders services by protocol, port and mask.
func (s Service) Compare(o Service) int {
	return cmp.Or(cmp.Compare(s.Protocol, o.Protocol), cmp.Compare(s.Port, o.Port), cmp.Compare(s.Mask, o.Mask))
}
