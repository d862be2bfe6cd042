// Package stats counts what the bridge decides: how many attempts at a connection
// each rule has allowed, and how many the default drop of each isolated pod has
// denied, by pod and by the policies it is owed to.
//
// The numbers are the counters of flows (flows.CountedKinds), read over the
// OpenFlow channel. A flow's counter begins at zero whenever the flow does, and is
// gone with it; totals are neither:
//
//	total += counter - last       of the same flow, since the last reading
//	total += counter              of a flow that has not been read before
//
// For this the [Collector] follows each flow as a slot, which remembers the last
// reading. The enforcer, the only writer, tells it before a bundle is sent
// ([Collector.Writing]): the counters of flows that are about to go are read for
// the last time, and flows that come begin a new slot. So it makes no difference
// whether a rule's flow moves to another page, or a port's flow is replaced by one
// of another kind, which goes on with the same counter.
//
// Totals and slots are kept together in a file, so that a restart of the agent
// neither loses nor doubles: the flows went on counting, and the next reading
// adds what is new. A restart of ovs-vswitchd, with or without an agent running,
// is known by its control socket (Config.Generation): all slots then begin at
// zero. What was counted between the last reading and its end is lost.
package stats
