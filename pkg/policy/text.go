package policy

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/flows"
)

// String says in words with whom and by what services a rule lets its subjects
// speak.
func (r *rule) String() string {
	dir := r.source.direction
	prep := "from "
	if dir == flows.Egress {
		prep = "to "
	}
	var peers []string
	for _, s := range r.source.peers {
		peers = append(peers, s.String())
	}
	switch {
	case r.told.AnyPeer:
		peers = []string{"anywhere"}
	case r.source.anyPeer:
		peers = []string{everyPod.String()}
	}
	for _, b := range r.blocks {
		peers = append(peers, blockText(b.value))
	}
	out := prep + strings.Join(peers, "; ")

	var services []string
	for _, s := range r.told.Services {
		services = append(services, serviceText(s))
	}
	switch {
	case r.port.name != "":
		out += fmt.Sprintf(" on %s (port %s)", services[0], r.port.name)
	case len(services) > 0:
		out += " on " + strings.Join(services, ", ")
	}
	return out
}

// serviceText writes a service as "TCP 80", "UDP 1000-2000" or "SCTP".
func serviceText(s flows.Service) string {
	out := protocolNames[s.Protocol]
	switch {
	case s.Port == 0:
		return out
	case s.EndPort == 0:
		return fmt.Sprintf("%s %d", out, s.Port)
	}
	return fmt.Sprintf("%s %d-%d", out, s.Port, s.EndPort)
}
