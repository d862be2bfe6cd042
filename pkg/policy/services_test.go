package policy

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/flows"
)

func TestServicesMergeIntoTheFewestRanges(t *testing.T) {
	tcp := func(port, end uint16) flows.Service {
		return flows.Service{Protocol: flows.TCP, Port: port, EndPort: end}
	}
	for _, c := range []struct {
		name     string
		in, want []flows.Service
	}{
		{"neighbours", []flows.Service{tcp(3, 0), tcp(1, 0), tcp(2, 0)}, []flows.Service{tcp(1, 3)}},
		{"overlaps", []flows.Service{tcp(5, 9), tcp(1, 6)}, []flows.Service{tcp(1, 9)}},
		{"one inside another", []flows.Service{tcp(1, 9), tcp(3, 4)}, []flows.Service{tcp(1, 9)}},
		{"repetitions", []flows.Service{tcp(1, 0), tcp(1, 1)}, []flows.Service{tcp(1, 0)}},
		{"a gap", []flows.Service{tcp(1, 0), tcp(3, 0)}, []flows.Service{tcp(1, 0), tcp(3, 0)}},
		{"the last port", []flows.Service{tcp(65535, 0), tcp(65000, 65535)}, []flows.Service{tcp(65000, 65535)}},
		{"all ports", []flows.Service{tcp(1, 0), tcp(0, 0)}, []flows.Service{tcp(0, 0)}},
		{"other protocols", []flows.Service{{Protocol: flows.UDP, Port: 2}, tcp(1, 0)}, []flows.Service{tcp(1, 0), {Protocol: flows.UDP, Port: 2}}},
		{"nothing", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mergeServices(slices.Clone(c.in)); !slices.Equal(got, c.want) {
				t.Errorf("%v becomes %v, want %v", c.in, got, c.want)
			}
		})
	}
}

func TestMergedServicesMeanTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Uint16Range(1, 12), rapid.Uint16Range(65530, 65535))
		in := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) flows.Service {
			s := flows.Service{Protocol: rapid.SampledFrom([]uint8{flows.TCP, flows.UDP}).Draw(t, "protocol")}
			if rapid.IntRange(0, 9).Draw(t, "all") > 0 {
				s.Port = number.Draw(t, "port")
				if rapid.Bool().Draw(t, "range") {
					s.EndPort = max(s.Port, number.Draw(t, "end"))
				}
			}
			return s
		}), 0, 6).Draw(t, "services")
		out := mergeServices(slices.Clone(in))
		for _, proto := range []uint8{flows.TCP, flows.UDP} {
			for port := range 1 << 16 {
				if port > 20 && port < 65520 || port == 0 {
					continue
				}
				if serves(in, proto, uint16(port)) != serves(out, proto, uint16(port)) {
					t.Fatalf("%v becomes %v: port %d differs", in, out, port)
				}
			}
		}
	})
}
