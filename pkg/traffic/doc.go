// Package traffic counts the packets and bytes of connections over their whole
// life, by the rules that allowed them.
//
// It asks the kernel's connection tracker, whose entries carry the ids of these
// rules in their label (ct_label, see package flows), and which counts each
// entry's packets if net.netfilter.nf_conntrack_acct is 1 (the kernel's
// nf_conntrack-sysctl.rst). Nothing is matched on the packets' way for it: a match
// on ct_label would give each rule megaflows of its own.
//
//	NEW events      an entry with its label: a connection of its rules
//	dumps           how much each entry has counted meanwhile
//	DESTROY events  how much it has counted at its end; they have no label
//
// So each entry is remembered from its beginning to its end, with what is
// accounted of it already. Totals and entries are kept in a file: a restart of the
// agent loses the connections that end while no agent runs, and doubles nothing.
package traffic
