// Package nat holds, by its tests, what the connection tracker of a datapath
// does with connections whose addresses it translates: what Services rest on. The
// tests run on ovs-vswitchd's own tracker, which the dummy and netdev datapaths
// share, and in the emulated machine of test/kernel on the kernel's.
// docs/datapaths.md has the findings; when a test fails, Open vSwitch or the
// kernel has learned something.
package nat
