package observe

import (
	"fmt"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// The text is Open vSwitch 3.1's, of the userspace datapath.
func TestATunnelWithoutANeighbourIsNoVerdictOfTheBridge(t *testing.T) {
	for note, want := range map[string]string{
		"neighbor cache miss for 172.31.0.12 on bridge br-uplink, sending ARP request": "Open vSwitch does not know the next hop in the underlay to the other end of the tunnel, and drops until it has an answer from there",
		"output port is 1": "dropped in table Output",
	} {
		parsed, err := trace.Parse(fmt.Sprintf("Flow: ip,in_port=4\n\nbridge(\"br-sluice\")\n-------------------\n%2d. priority 0, cookie 0x1000000000000\n"+
			"    output:NXM_NX_REG1[]\n     -> %s\n\nFinal flow: unchanged\nMegaflow: eth,ip\nDatapath actions: ct(commit)\n", flows.TableOutput, note))
		if err != nil {
			t.Fatal(err)
		}
		x := api.Explanation{Verdict: api.Denied}
		if got := reason(&x, enforce.View{}, parsed, end{}, end{}); got != want {
			t.Errorf("%s: %q, want %q", note, got, want)
		}
	}
}
