package verdicts

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/oracle"
)

// why says in one line what the policies say on a node.
func why(v oracle.Verdict, node string) string {
	var out []string
	for _, s := range []struct {
		direction string
		oracle.Side
	}{{"egress", v.Egress}, {"ingress", v.Ingress}} {
		if s.Subject == (oracle.Key{}) || s.Node != node && !s.Unknown {
			continue // no pod's, or another node's to decide
		}
		text := fmt.Sprintf("%s of pod %s is ", s.direction, s.Subject)
		switch {
		case s.Exempt != "":
			text = s.direction + ": " + string(s.Exempt)
		case s.Unknown:
			text += "shut, as the pod is not known"
		case !s.Isolated:
			text += "not isolated by any policy"
		case len(s.AllowedBy) == 0:
			text += "isolated by NetworkPolicy " + list(s.IsolatedBy) + ", and no rule allows this"
		default:
			text += "allowed by " + rules(s.AllowedBy)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func list(keys []oracle.Key) string {
	var out []string
	for _, k := range keys {
		out = append(out, k.String())
	}
	return strings.Join(out, ", ")
}

func rules(refs []oracle.RuleRef) string {
	var out []string
	for _, r := range refs {
		out = append(out, fmt.Sprintf("rule %d of NetworkPolicy %s", r.Index, r.Policy))
	}
	return strings.Join(out, ", ")
}

func compareDifferences(a, b api.VerdictDifference) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.Port, b.Port), cmp.Compare(a.Family, b.Family))
}
