package flows_test

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/flows"
)

// A connection past a Service that meets one through it gets another source port
// from the kernel. In ovs-vswitchd that would be asking for its end.
func TestOnlyTheKernelMayChooseAnotherSourcePort(t *testing.T) {
	for _, userspace := range []bool{true, false} {
		p := flows.New()
		d := flows.Sample()
		d.Node.UserspaceConntrack = userspace
		if _, err := p.Apply(d); err != nil {
			t.Fatal(err)
		}
		commits := 0
		for f := range p.Flows() {
			text, err := f.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			if f.Table != int(flows.TableCommit) || !strings.Contains(string(text), "ct(commit,") {
				continue
			}
			commits++
			if got := strings.Contains(string(text), "nat(src)"); got == userspace {
				t.Errorf("with a tracker in userspace (%v) a connection is committed by %s", userspace, text)
			}
		}
		if commits != 2 {
			t.Errorf("%d flows of Commit commit, want one for each family", commits)
		}
	}
}
