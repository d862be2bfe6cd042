// Package nodes tests two nodes with packets between them: each a network
// namespace with an Open vSwitch, an agent and pods of its own, joined by a link
// that is their underlay. Both agents follow one folder of manifests.
//
//	sudo go test ./test/nodes                                  # tunnels of ovs-vswitchd
//	make test-kernel KERNEL_PKGS=./test/nodes                  # the kernel's, in an emulated machine
package nodes
