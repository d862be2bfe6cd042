// Package verdict tells of the verdicts that the bridge gives, as they are given:
// who wanted to speak to whom, and which policies and rules allowed or denied it.
//
//	TableDenied, Commit ──meters──> packet-in ──> bounded queue ──> decode ──> ring of recent events
//	      (datapath)                (Listen)                         │ Look       └─> readers, each with
//	                                                          names of pods,          a bounded queue
//	                                                          policies, rules
//
// Nothing here can hold up or change a verdict. A packet that is denied is dropped
// whether anybody hears of it or not, and at each place where more comes than can
// be taken the rest is thrown away and counted: by the meters in the datapath
// (flows.Watch), on the connection to ovs-vswitchd, in the queue, and at each
// reader. The flows' own counters say how much there was.
//
// The names are those at the moment of decoding, some milliseconds after the
// verdict.
package verdict
