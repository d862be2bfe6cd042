package flows

import "github.com/sluice-cni/sluice/flows/conjunction"

// masked returns the masked matches that cover exactly a service's port range:
// at most 30, each a block of ports aligned to its size (a power of two), in
// ascending order. The range of all ports is one match without a port.
func masked(s Service) []conjunction.Service {
	if s.Port == 0 {
		return []conjunction.Service{{Protocol: s.Protocol}}
	}
	var out []conjunction.Service
	last := max(uint32(s.EndPort), uint32(s.Port))
	for p := uint32(s.Port); p <= last; {
		size := p & -p // the largest block that can begin here
		for p+size-1 > last {
			size >>= 1
		}
		out = append(out, conjunction.Service{Protocol: s.Protocol, Port: uint16(p), Mask: uint16(^(size - 1))})
		p += size
	}
	return out
}
