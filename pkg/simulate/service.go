package simulate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Service is what a connection asks its destination for: a protocol and a port.
type Service struct {
	// Protocol is "tcp", "udp", "sctp" or "icmp".
	Protocol string `json:"protocol"`
	// Port is the destination port, zero for icmp alone.
	Port uint16 `json:"port,omitempty"`
}

// String returns "tcp/5432", or "icmp".
func (s Service) String() string {
	if s.Port == 0 {
		return s.Protocol
	}
	return fmt.Sprintf("%s/%d", s.Protocol, s.Port)
}

// ParseService reads "tcp/5432", "5432" (which is TCP) or "icmp". Upper case
// will do.
func ParseService(text string) (Service, error) {
	protocol, port, both := strings.Cut(strings.ToLower(text), "/")
	if !both && protocol != "" && protocol[0] >= '0' && protocol[0] <= '9' {
		protocol, port = "tcp", protocol
	}
	switch protocol {
	case "tcp", "udp", "sctp":
	case "icmp":
		if port != "" {
			return Service{}, fmt.Errorf("%q: icmp has no ports", text)
		}
		return Service{Protocol: protocol}, nil
	default:
		return Service{}, fmt.Errorf("%q: want PROTOCOL/PORT with tcp, udp or sctp, or icmp", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Service{}, fmt.Errorf("%q: %q is not a port from 1 to 65535", text, port)
	}
	return Service{Protocol: protocol, Port: uint16(n)}, nil
}

// protocols are in the order in which tables show them.
var protocols = []string{"tcp", "udp", "sctp", "icmp"}

func protocolRank(protocol string) (int, bool) {
	i := slices.Index(protocols, protocol)
	return i, i >= 0
}

func compareServices(a, b Service) int {
	rankA, _ := protocolRank(a.Protocol)
	rankB, _ := protocolRank(b.Protocol)
	return cmp.Or(cmp.Compare(rankA, rankB), cmp.Compare(a.Port, b.Port))
}
