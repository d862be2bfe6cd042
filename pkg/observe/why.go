package observe

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Why says in one line why a packet ended as it did: traces and events say it in
// the same words. kind is that of the flow that denied the packet, or
// flows.KindAllowed; a side is nil where the packet's end is no pod of this node
// or was not reached. It returns "" for a kind of flow that denies nothing.
func Why(kind flows.Kind, from, to api.Endpoint, egress, ingress *api.Side) string {
	switch kind {
	case flows.KindAllowed:
		return whyAllowed(egress, ingress)
	case flows.KindEgressIsolation:
		return whyIsolated(flows.Egress, from, egress)
	case flows.KindIngressIsolation:
		return whyIsolated(flows.Ingress, to, ingress)
	case flows.KindEgressPending:
		return fmt.Sprintf("the policies of pod %s are not known yet", from.Pod)
	case flows.KindIngressPending:
		return fmt.Sprintf("the policies of pod %s are not known yet", to.Pod)
	case flows.KindSpoof:
		if from.Port == "" {
			return "the tunnel takes from another node only what comes from its address, and in it from its pods'"
		}
		return fmt.Sprintf("port %s may not send this: it is not from its pod's addresses", from.Port)
	case flows.KindUnroutable:
		return fmt.Sprintf("nothing on this node has the address %s", to.Addr)
	case flows.KindEncapsulated:
		return "neither pods nor Services may send packets of the tunnel between nodes out of the cluster"
	case flows.KindInvalid:
		return "the packet neither belongs to a tracked connection nor begins one"
	}
	return ""
}

func whyAllowed(sides ...*api.Side) string {
	var why []string
	for _, s := range sides {
		switch {
		case s == nil:
		case s.AllowedBy != nil:
			why = append(why, fmt.Sprintf("%s allowed by rule %d of NetworkPolicy %s (%s)", s.Direction, s.AllowedBy.Index, s.AllowedBy.Policy, s.AllowedBy.Text))
		case s.Isolated:
			why = append(why, s.Direction+" always allowed")
		default:
			why = append(why, "no policy isolates "+s.Direction)
		}
	}
	return strings.Join(why, "; ")
}

func whyIsolated(d flows.Direction, e api.Endpoint, s *api.Side) string {
	by := "no longer"
	if s != nil && len(s.IsolatedBy) > 0 {
		by = "by NetworkPolicy " + strings.Join(s.IsolatedBy, ", ")
	}
	return fmt.Sprintf("%s of pod %s is isolated %s, and no rule allows this", d, e.Pod, by)
}
