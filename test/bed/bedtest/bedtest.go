// Package bedtest gives a test a bed: a node that ends with the test.
package bedtest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/need"
)

// startTime bounds a start. It takes about a second, plus the time of the build if
// there are no binaries, and ten times that in an emulated machine.
const startTime = 3 * time.Minute

// Start starts a bed and closes it when the test ends. If the test has failed its
// log ends with that of the agent.
func Start(t testing.TB, opts bed.Options) *bed.Bed {
	t.Helper()
	need.Root(t)
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	need.Tool(t, "nft", "apt-get install nftables")
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	b, err := bed.Start(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(b.AgentLog()); err == nil {
				t.Logf("the agent's log:\n%s", log)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}
