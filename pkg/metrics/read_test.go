package metrics

import (
	"context"
	"testing"

	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/stats"
	"github.com/sluice-cni/sluice/pkg/traffic"
)

// Flows that somebody else has put into tables that are none of the pipeline's are
// told together.
func TestForeignTablesDoNotHinderGathering(t *testing.T) {
	e := enforce.New(enforce.Config{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ended); err != nil {
		t.Fatal(err)
	}
	m := New(Sources{
		Ready:        func(context.Context) error { return nil },
		Look:         e.Look,
		FlowsByTable: func(context.Context) (map[uint8]int, error) { return map[uint8]int{0: 5, 100: 1, 101: 2}, nil },
		OpenFlowLost: func() uint64 { return 0 },
		OVSDB:        func() (bool, uint64) { return true, 0 },
		Vswitchd:     func() (bool, uint64) { return true, 0 },
		Stats:        stats.New(t.Context(), stats.Config{Look: e.Look}),
		Traffic:      traffic.New(t.Context(), traffic.Config{}),
	})
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() == flowsByTable.Name {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if len(got) != 2 || got["Classifier"] != 5 || got["unknown"] != 3 {
		t.Errorf("flows by table: %v", got)
	}
}
