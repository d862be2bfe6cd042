package trace

import (
	"testing"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// BenchmarkRun traces one allowed packet through eight tables and conntrack.
func BenchmarkRun(b *testing.B) {
	s := sandboxtest.Start(b, sandbox.Dummy)
	addBridge(b, s)
	c, p := s.Vswitchd(), packet(tcp, "10.0.0.2", 80)
	for b.Loop() {
		if _, err := Run(b.Context(), c, "br0", p, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
