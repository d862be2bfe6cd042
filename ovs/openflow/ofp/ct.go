package ofp

import (
	"fmt"
	"net/netip"
)

// CT hands the packet to the connection tracker.
type CT struct {
	Commit, Force bool
	// Zone is the zone, unless ZoneFrom has a field that holds it.
	Zone     uint16
	ZoneFrom Subfield
	// Table is where a copy of the packet goes on with what the tracker said; NoTable
	// if none does.
	Table uint8
	// ALG is the port of the protocol whose helper looks at the connection; zero
	// means none.
	ALG uint16
	// Actions are a NAT, and what is written to the connection.
	Actions []Action
}

// NoTable, as the table of a CT, means that the packet goes on where it is.
const NoTable = 255

// NAT, in a CT, rewrites addresses and ports.
type NAT struct {
	// Src and Dst say which of them; neither means what the connection did before.
	Src, Dst                 bool
	Persistent, Hash, Random bool
	// Min and Max are the range of addresses; each may be left out.
	Min, Max netip.Addr
	// MinPort and MaxPort are the range of ports; each may be zero.
	MinPort, MaxPort uint16
}

const (
	ctCommit = 1 << iota
	ctForce
)

const (
	natSrc = 1 << iota
	natDst
	natPersistent
	natHash
	natRandom
)

const (
	natMin4 = 1 << iota
	natMax4
	natMin6
	natMax6
	natMinPort
	natMaxPort
)

// flags returns the bits whose condition holds, the lowest first.
func flags(list ...bool) uint16 {
	var v uint16
	for i, set := range list {
		if set {
			v |= 1 << i
		}
	}
	return v
}

func (a CT) append(b []byte) []byte {
	n := len(b)
	b = be.AppendUint16(extend(b, nxCT), flags(a.Commit, a.Force))
	if a.ZoneFrom.Field != nil {
		b = be.AppendUint16(a.ZoneFrom.appendSource(b), a.ZoneFrom.packed())
	} else {
		b = be.AppendUint16(append(b, 0, 0, 0, 0), a.Zone)
	}
	b = be.AppendUint16(append(b, a.Table, 0, 0, 0), a.ALG)
	return endExtension(appendActions(b, a.Actions), n)
}

func parseCT(r *reader, depth int) (Action, error) {
	bits := r.u16()
	a := CT{Commit: bits&ctCommit != 0, Force: bits&ctForce != 0}
	if bits&^(ctCommit|ctForce) != 0 {
		return nil, fmt.Errorf("flags %#x of ct: %w", bits, ErrUnknown)
	}
	if len(r.b) >= 4 && be.Uint32(r.b) != 0 {
		f, err := parseField(r)
		if err != nil {
			return nil, err
		}
		a.ZoneFrom = unpack(f, r.u16())
		if err := check(a.ZoneFrom); err != nil {
			return nil, err
		}
	} else {
		r.skip(4)
		a.Zone = r.u16()
	}
	a.Table = r.u8()
	r.skip(3)
	a.ALG = r.u16()
	var err error
	a.Actions, err = parseActions(r, depth+1)
	return a, err
}

func (a NAT) append(b []byte) []byte {
	n := len(b)
	b = append(extend(b, nxNAT), 0, 0)
	b = be.AppendUint16(b, flags(a.Src, a.Dst, a.Persistent, a.Hash, a.Random))
	b = be.AppendUint16(b, flags(a.Min.Is4(), a.Max.Is4(), a.Min.Is6(), a.Max.Is6(), a.MinPort != 0, a.MaxPort != 0))
	b = append(append(b, a.Min.AsSlice()...), a.Max.AsSlice()...)
	if a.MinPort != 0 {
		b = be.AppendUint16(b, a.MinPort)
	}
	if a.MaxPort != 0 {
		b = be.AppendUint16(b, a.MaxPort)
	}
	return endExtension(b, n)
}

func parseNAT(r *reader) (Action, error) {
	r.skip(2)
	bits, has := r.u16(), r.u16()
	if bits >= natRandom<<1 || has >= natMaxPort<<1 || has&(natMin4|natMax4) != 0 && has&(natMin6|natMax6) != 0 {
		return nil, fmt.Errorf("flags %#x and range %#x of nat: %w", bits, has, ErrUnknown)
	}
	a := NAT{
		Src: bits&natSrc != 0, Dst: bits&natDst != 0,
		Persistent: bits&natPersistent != 0, Hash: bits&natHash != 0, Random: bits&natRandom != 0,
	}
	addr := func(four, six uint16) netip.Addr {
		n := 0
		switch {
		case has&four != 0:
			n = 4
		case has&six != 0:
			n = 16
		}
		x, _ := netip.AddrFromSlice(r.take(n))
		return x
	}
	a.Min = addr(natMin4, natMin6)
	a.Max = addr(natMax4, natMax6)
	if has&natMinPort != 0 {
		a.MinPort = r.u16()
	}
	if has&natMaxPort != 0 {
		a.MaxPort = r.u16()
	}
	return a, nil
}
