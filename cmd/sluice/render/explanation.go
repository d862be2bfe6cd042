package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Explanation lays out the way of a packet: the tables it met, the verdict at
// each end with the rule and policy behind it, and last what came of it.
func Explanation(w io.Writer, s Style, x *api.Explanation) error {
	service := strings.ToLower(x.Protocol)
	if x.Port != 0 {
		service = fmt.Sprintf("%s/%d", service, x.Port)
	}
	if _, err := fmt.Fprintf(w, "%s -> %s  %s\n\n", s.paint(Bold, x.From.String()), s.paint(Bold, x.To.String()), s.paint(Bold, service)); err != nil {
		return err
	}
	if err := halves(w, s, x); err != nil {
		return err
	}
	color := Red
	switch x.Verdict {
	case api.Allowed:
		color = Green
	case api.HalfAsked:
		color = Yellow
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", s.paint(color, strings.ToUpper(x.Verdict)), x.Reason)
	return err
}

// half writes the way through one node.
func half(w io.Writer, s Style, x *api.Explanation) error {
	t := table{style: s}
	if s.Wide {
		t.header("TABLE", "PRIORITY", "OBJECT", "MEANING", "MATCH", "ACTIONS")
	} else {
		t.header("TABLE", "OBJECT", "MEANING")
	}
	for _, step := range x.Steps {
		row := []cell{{text: step.Table}}
		if s.Wide {
			row = append(row, cell{text: strconv.Itoa(step.Priority)})
		}
		row = append(row, cell{step.Object, Dim}, cell{step.Meaning, colorOf(step)})
		if s.Wide {
			row = append(row, cell{text: orDash(step.Match)}, cell{text: orDash(strings.Join(step.Actions, ","))})
		}
		t.cells(row...)
	}
	if err := t.write(w, "  "); err != nil {
		return err
	}
	if err := balanced(w, s, x.Service); err != nil {
		return err
	}
	if err := sides(w, s, x); err != nil {
		return err
	}
	if s.Wide {
		if _, err := fmt.Fprintf(w, "\noutput    %s\nmegaflow  %s\n", orDash(x.Output), orDash(x.Megaflow)); err != nil {
			return err
		}
	}
	return nil
}

// colorOf marks the steps that decide.
func colorOf(step api.Step) Color {
	kind, _, _ := strings.Cut(step.Object, "/")
	switch kind {
	case "egress-rule", "ingress-rule":
		return Green
	case "egress-isolation", "ingress-isolation", "egress-pending", "ingress-pending", "spoof", "invalid", "unroutable",
		"service-refused", "service-unserved", "service-unowned":
		return Red
	}
	return Plain
}

// balanced writes who was chosen to serve a connection to a Service.
func balanced(w io.Writer, s Style, b *api.Balanced) error {
	if b == nil {
		return nil
	}
	t := table{style: s}
	t.cells(cell{"service", Dim}, cell{text: fmt.Sprintf("%s, %s %s", b.Name(), b.Kind, b.Frontend)})
	endpoint := "none"
	if b.Endpoint != "" {
		endpoint = b.Endpoint
		if b.Pod != "" {
			endpoint += " of pod " + b.Pod
		}
		switch {
		case b.Remembered:
			endpoint += ", which the client had before"
		case b.Choices > 1:
			endpoint += fmt.Sprintf(", one of %d: another connection may get another", b.Choices)
		default:
			endpoint += ", the only one"
		}
	}
	t.cells(cell{"endpoint", Dim}, cell{text: endpoint})
	if b.Affinity != "" {
		t.cells(cell{"affinity", Dim}, cell{text: "a client keeps its endpoint for " + b.Affinity})
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.write(w, "  ")
}

// sides writes the verdict at each end.
func sides(w io.Writer, s Style, x *api.Explanation) error {
	t := table{style: s}
	to := x.To.Pod
	if x.Service != nil {
		to = x.Service.Pod
	}
	for _, end := range []struct {
		side *api.Side
		name string
	}{{x.Egress, x.From.Pod}, {x.Ingress, to}} {
		if end.side == nil {
			continue
		}
		t.cells(cell{end.side.Direction, Dim}, cell{text: end.name}, cell{text: Isolation(end.side)})
		if r := end.side.AllowedBy; r != nil {
			t.row("", "", fmt.Sprintf("allowed by rule %d of NetworkPolicy %s: %s", r.Index, r.Policy, r.Text))
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.write(w, "  ")
}

// Isolation says in words whether policies isolate a pod in a direction.
func Isolation(s *api.Side) string {
	switch {
	case s.Pending:
		return "its policies are not known yet"
	case s.Isolated:
		return "isolated by NetworkPolicy " + strings.Join(s.IsolatedBy, ", ")
	}
	return "not isolated by any policy"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
