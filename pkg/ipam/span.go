package ipam

import (
	"net/netip"
)

// maxFreed bounds how many freed addresses a span remembers. Only a span of more
// addresses than that ever forgets any.
const maxFreed = 4096

// span is the addresses of one CIDR that pods can have, and the order in which
// they are next to be used: first those that have not been used for a whole lap,
// in the order of their numbers, then those freed, the longest ago first.
//
// It takes no more memory for more addresses: it remembers where the lap is,
// and a bounded number of freed addresses.
type span struct {
	cidr        netip.Prefix
	first, last netip.Addr

	// next is the next address of the lap, which ends before start. It is the zero
	// Addr if the lap is over.
	next, start netip.Addr

	freed     []netip.Addr // the longest ago first
	freedSet  map[netip.Addr]struct{}
	forgotten bool // some freed address is known only to a new lap
}

func newSpan(cidr netip.Prefix) *span {
	s := &span{cidr: cidr, first: first(cidr), last: last(cidr), freedSet: map[netip.Addr]struct{}{}}
	s.startLap(s.first)
	return s
}

func (s *span) contains(addr netip.Addr) bool {
	return addr.BitLen() == s.first.BitLen() && s.first.Compare(addr) <= 0 && addr.Compare(s.last) <= 0
}

// startLap begins a lap through all addresses at the given one.
func (s *span) startLap(at netip.Addr) { s.next, s.start = at, at }

// step returns the next address of the lap, and false if it is over.
func (s *span) step() (netip.Addr, bool) {
	addr := s.next
	if !addr.IsValid() {
		return addr, false
	}
	s.next = s.after(addr)
	if s.next == s.start {
		s.next = netip.Addr{}
	}
	return addr, true
}

// after returns the address that follows another, the first after the last.
func (s *span) after(addr netip.Addr) netip.Addr {
	if addr == s.last {
		return s.first
	}
	return addr.Next()
}

// take returns the address to use next, and false if all are in use. taken says
// which may not be given, beside those freed lately.
func (s *span) take(taken func(netip.Addr) bool) (netip.Addr, bool) {
	for {
		for addr, more := s.step(); more; addr, more = s.step() {
			if _, lately := s.freedSet[addr]; !lately && !taken(addr) {
				return addr, true
			}
		}
		if !s.forgotten {
			break
		}
		s.forgotten = false
		s.startLap(s.start)
	}
	for len(s.freed) > 0 {
		if addr := s.forget(); !taken(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// free puts an address at the end of the line.
func (s *span) free(addr netip.Addr) {
	if _, there := s.freedSet[addr]; there || !s.contains(addr) {
		return
	}
	s.freed = append(s.freed, addr)
	s.freedSet[addr] = struct{}{}
	if len(s.freed) > maxFreed {
		s.forget()
		s.forgotten = true
	}
}

// forget takes the address freed the longest ago off the line.
func (s *span) forget() netip.Addr {
	addr := s.freed[0]
	s.freed = s.freed[1:]
	delete(s.freedSet, addr)
	return addr
}
