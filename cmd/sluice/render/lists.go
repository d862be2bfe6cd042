package render

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Ports lays out the pods' ports.
func Ports(w io.Writer, s Style, ports []api.Port) error {
	t := table{style: s}
	counted := slices.ContainsFunc(ports, func(p api.Port) bool { return p.Stats != nil })
	if s.Wide {
		t.header(columns(counted, []string{"POD", "PORT", "OFPORT", "ADDRESSES", "STATE"}, []string{"DENIED", "PENDING", "SINCE"},
			[]string{"EGRESS ISOLATED BY", "INGRESS ISOLATED BY", "MAC", "UID"})...)
	} else {
		t.header("POD", "PORT", "OFPORT", "ADDRESSES", "STATE")
	}
	for _, p := range ports {
		state := cell{p.State, Plain}
		switch p.State {
		case "isolated":
			state.color = Green
		case "pending":
			state.color = Yellow
		}
		row := []cell{{text: p.Pod}, {text: p.Name}, {text: strconv.Itoa(int(p.OFPort))}, {text: list(p.Addrs)}, state}
		if s.Wide {
			if counted {
				row = append(row, portStats(p.Stats)...)
			}
			row = append(row, cell{text: list(p.EgressBy)}, cell{text: list(p.IngressBy)}, cell{text: p.MAC}, cell{text: orDash(p.UID)})
		}
		t.cells(row...)
	}
	return t.write(w, "")
}

// Policies lays out the cluster's policies.
func Policies(w io.Writer, s Style, policies []api.Policy) error {
	t := table{style: s}
	counted := slices.ContainsFunc(policies, func(p api.Policy) bool { return p.Stats != nil })
	if s.Wide {
		t.header(columns(counted, []string{"NAME", "ISOLATES", "RULES", "ON THIS NODE"}, []string{"ALLOWED", "DENIED", "TRAFFIC", "SINCE"},
			[]string{"PROBLEMS", "APPLIES TO", "PODS"})...)
	} else {
		t.header("NAME", "ISOLATES", "RULES", "PODS", "ON THIS NODE", "PROBLEMS")
	}
	for _, p := range policies {
		active, problems := "no", cell{strconv.Itoa(len(p.Problems)), Plain}
		if p.Active {
			active = "yes"
		}
		if len(p.Problems) > 0 {
			problems.color = Red
		}
		row := []cell{{text: p.Name}, {text: list(p.Isolates)}, {text: strconv.Itoa(len(p.Rules))}}
		if s.Wide {
			problems.text = orDash(strings.Join(p.Problems, "; "))
			row = append(row, cell{text: active})
			if counted {
				row = append(row, policyStats(p.Stats)...)
			}
			row = append(row, problems, cell{text: p.Subjects}, cell{text: list(p.Pods)})
		} else {
			row = append(row, cell{text: strconv.Itoa(len(p.Pods))}, cell{text: active}, problems)
		}
		t.cells(row...)
	}
	return t.write(w, "")
}

// Rules lays out the rules in force.
func Rules(w io.Writer, s Style, rules []api.Rule) error {
	t := table{style: s}
	counted := slices.ContainsFunc(rules, func(r api.Rule) bool { return r.Stats != nil })
	if s.Wide {
		t.header(columns(counted, []string{"POLICY", "DIRECTION", "RULE", "ID", "ALLOWS"}, []string{"ATTEMPTS", "TRAFFIC", "SINCE"}, []string{"KEY"})...)
	} else {
		t.header("POLICY", "DIRECTION", "RULE", "ID", "ALLOWS")
	}
	for _, r := range rules {
		row := []cell{{text: r.Policy}, {text: r.Direction}, {text: strconv.Itoa(r.Index)}, {text: strconv.Itoa(int(r.ID))}, {text: r.Text}}
		if s.Wide {
			if counted {
				row = append(row, ruleStats(r.Stats)...)
			}
			row = append(row, cell{text: r.Key})
		}
		t.cells(row...)
	}
	return t.write(w, "")
}

// Identities lays out the classes of peers.
func Identities(w io.Writer, s Style, identities []api.Identity) error {
	t := table{style: s}
	t.header("DIRECTION", "ID", "PODS", "ADDRESSES")
	for _, id := range identities {
		addrs := list(id.Addrs)
		pods := list(id.Pods)
		if !s.Wide {
			addrs, pods = some(id.Addrs), some(id.Pods)
		}
		t.row(id.Direction, strconv.Itoa(int(id.ID)), pods, addrs)
	}
	return t.write(w, "")
}

// Flows lays out the flows the bridge should hold.
func Flows(w io.Writer, s Style, flows []api.Flow) error {
	t := table{style: s}
	t.header("TABLE", "PRIORITY", "OBJECT", "FLOW")
	for _, f := range flows {
		text := f.Text
		if !s.Wide {
			text = matchAndActions(text)
		}
		t.cells(cell{text: f.Table}, cell{text: strconv.Itoa(f.Priority)}, cell{f.Object, Dim}, cell{text: text})
	}
	return t.write(w, "")
}

// matchAndActions is a flow without what other columns say of it.
func matchAndActions(flow string) string {
	_, rest, ok := strings.Cut(flow, "priority=")
	if !ok {
		return flow
	}
	_, rest, _ = strings.Cut(rest, ",")
	return rest
}

// Nodes lays out the ways to other nodes' pods.
func Nodes(w io.Writer, s Style, nodes []api.Node) error {
	t := table{style: s}
	t.header("NODE", "PODS", "WAY", "VIA")
	for _, n := range nodes {
		t.row(n.Name, n.PodCIDR, n.Way, orDash(n.Via))
	}
	return t.write(w, "")
}

// Status lays out the state of the agent.
func Status(w io.Writer, s Style, status api.Status) error {
	t := table{style: s}
	ready := cell{"yes", Green}
	if !status.Ready {
		ready = cell{"no", Red}
	}
	t.cells(cell{"node", Dim}, cell{text: status.Node})
	t.cells(cell{"bridge", Dim}, cell{text: status.Bridge})
	t.cells(cell{"ready", Dim}, ready)
	t.cells(cell{"bundles written", Dim}, cell{text: fmt.Sprint(status.Bundles)})
	t.cells(cell{"flow changes", Dim}, cell{text: fmt.Sprint(status.Flows)})
	t.cells(cell{"connections cut", Dim}, cell{text: fmt.Sprint(status.Cut)})
	if status.Traffic != "" {
		t.cells(cell{"packets and bytes", Dim}, cell{text: status.Traffic})
	}
	if n := status.Network; n != nil {
		t.cells(cell{"mode", Dim}, cell{text: strings.TrimSuffix(n.Mode+", "+n.Tunnel, ", ")})
		t.cells(cell{"MTU of pods", Dim}, cell{text: fmt.Sprint(n.MTU)})
		if n.Uplink != "" {
			t.cells(cell{"uplink", Dim}, cell{text: fmt.Sprintf("%s, MTU %d", n.Uplink, n.UplinkMTU)})
		}
		for _, p := range n.Problems {
			t.cells(cell{"problem", Dim}, cell{p, Red})
		}
	}
	return t.write(w, "")
}

func list(texts []string) string { return orDash(strings.Join(texts, ", ")) }

// shown is how many elements of a long list a narrow table shows.
const shown = 4

// some is the beginning of a list.
func some(texts []string) string {
	if len(texts) <= shown {
		return list(texts)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts[:shown], ", "), len(texts)-shown)
}
