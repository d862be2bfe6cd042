package main

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/examples"
	"github.com/sluice-cni/sluice/test/bed"
)

// service is a protocol ("tcp" or "udp") and a port.
type service struct {
	protocol string
	port     uint16
}

// String returns "tcp/5432".
func (s service) String() string { return fmt.Sprintf("%s/%d", s.protocol, s.port) }

func serviceOf(x examples.Expectation) service {
	return service{strings.ToLower(x.Protocol), x.Port}
}

// probe is one connection to try, over one address family.
type probe struct {
	row      int // the expectation it is for
	family   int // 4 or 6
	from, to *bed.Host
	service  service
	allow    bool // expected
}

// plan makes the probes for what is expected: each connection over every address
// family that both its ends have. Hosts are by the name they have in
// expected.txt.
func plan(list []examples.Expectation, hosts map[string]*bed.Host) (out []probe, err error) {
	for row, x := range list {
		from, to := hosts[x.From.String()], hosts[x.To.String()]
		switch {
		case from == nil:
			return nil, fmt.Errorf("%s: no manifest has a pod %s", x, x.From)
		case to == nil:
			return nil, fmt.Errorf("%s: no manifest has a pod %s", x, x.To)
		case x.Protocol != "TCP" && x.Protocol != "UDP":
			return nil, fmt.Errorf("%s: %s can't be probed, not every kernel has sockets for it", x, x.Protocol)
		}
		before := len(out)
		for _, family := range []int{4, 6} {
			if from.Addr(family).IsValid() && to.Addr(family).IsValid() {
				out = append(out, probe{row, family, from, to, serviceOf(x), x.Allow})
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("%s: the ends have no address family in common", x)
		}
	}
	return out, nil
}

// serve has every end answer on all services that somebody tries, so that
// silence can have no cause but a policy.
func serve(probes []probe) error {
	type place struct {
		host    *bed.Host
		service service
	}
	serving := map[place]bool{}
	for _, p := range probes {
		at := place{p.to, p.service}
		if serving[at] {
			continue
		}
		serving[at] = true
		if _, err := p.to.Serve(p.service.protocol, p.service.port); err != nil {
			return err
		}
	}
	return nil
}
