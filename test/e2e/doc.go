// Package e2e tests a node end to end: a real API server with its etcd, policies
// applied with kubectl, the agent and the CNI plugin as processes, pods attached
// by real CNI calls to a real Open vSwitch, and packets between them. What is
// expected of a packet is what the oracle (pkg/oracle) says of the objects that
// the API server holds.
//
//	sudo go test ./test/e2e                                  # datapath in ovs-vswitchd
//	sudo go test ./test/e2e -sluice.datapath=system          # the kernel's
//	make test-kernel                                         # the same in an emulated machine
//
// Tests that disturb the node run one after the other, and first; the others
// share the node and run in parallel, each in namespaces of its own.
package e2e
