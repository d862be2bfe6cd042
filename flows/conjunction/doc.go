// Package conjunction compiles rules into conjunctive flows
// (ovs-fields(7), "Conjunctive Match Fields") that share their clauses.
//
// A rule says subject x peer x service. Each of the three is a dimension, and
// each dimension a set of clauses, any of which satisfies it. A clause is one
// match, and all rules with that clause share its flow, which then carries one
// conjunction() action for each of them.
//
// Two things keep that sharing from getting expensive.
//
// Clauses of subjects and peers match classes, not addresses: a class is a
// number that stands for the set of terms which select a pod, or for the blocks
// that hold an address. A pod that comes with a known set of terms changes no
// clause.
//
// Rules live on pages of bounded size, and a clause's flow exists once for each
// page. So a rule that is added rewrites flows of at most PageSize actions,
// whatever number of rules there are, and no flow comes near OpenFlow's limit
// of 64 kB, which a clause such as tcp,tp_dst=443 shared by all rules would
// reach at 4,000. Rules over the same subjects are put on the same page. A
// packet is asked the pages that hold rules over its subject, one after the
// other; for nearly every pod that is one.
package conjunction
