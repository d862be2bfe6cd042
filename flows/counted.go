package flows

// Counted is a kind of flow whose counters tell verdicts.
type Counted struct {
	Kind Kind
	// Tables are those in which its flows stand; nil for a kind whose flows have all
	// the same cookie, of object 0: a switch finds them by it in any table.
	Tables []Table
}

// CountedKinds lists the kinds of flows whose counters tell verdicts: a rule's
// flow counts what it let begin a connection, the others what they drop.
var CountedKinds = []Counted{
	{KindEgressRule, []Table{TableEgressPolicy}},
	{KindIngressRule, []Table{TableIngressPolicy}},
	{KindEgressIsolation, []Table{TableEgressDefault}},
	{KindIngressIsolation, []Table{TableIngressDefault}},
	{KindEgressPending, []Table{TableEgressDefault}},
	{KindIngressPending, []Table{TableIngressDefault}},
	{KindSpoof, []Table{TableClassifier, TableConntrackState}},
	{KindInvalid, nil},
	{KindUnroutable, nil},
	{KindEncapsulated, nil},
}

// KindMask matches the cookies of all objects of a kind.
const KindMask uint64 = 0xffff << 48

// RuleCookie returns the cookie of a rule's own flow.
func RuleCookie(d Direction, k RuleKey) Cookie {
	return NewCookie(kindOf(KindEgressRule, d), keyHash(k))
}

// RuleIDOf returns the conjunction id that a rule's own flow matches, zero if the
// flow is no rule's.
func RuleIDOf(f *Flow) uint32 { return number(matchOf(f, "conj_id")) }

// NumRules returns how many rules of a direction are in force.
func (p *Pipeline) NumRules(d Direction) int { return p.sides[d].rules.Len() }

// NumIdentities returns how many peer identities a direction has.
func (p *Pipeline) NumIdentities(d Direction) int { return len(p.sides[d].peers.byID) }
