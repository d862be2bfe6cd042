package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/across"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// LivePacket lays out a real packet's way: the tables it crossed on each node, what
// each wrote into registers, and what came of it.
func LivePacket(w io.Writer, s Style, p *api.LivePacket) error {
	service, from := p.Protocol, p.From.String()
	if p.Port != 0 {
		service = fmt.Sprintf("%s/%d", p.Protocol, p.Port)
		from = fmt.Sprintf("%s:%d", from, p.SourcePort)
	}
	if _, err := fmt.Fprintf(w, "%s  %s -> %s  %s\n\n", s.paint(Dim, p.Time.Local().Format("15:04:05.000")),
		s.paint(Bold, from), s.paint(Bold, p.To.String()), s.paint(Bold, service)); err != nil {
		return err
	}
	if err := liveHalves(w, s, p); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s: %s\n", s.paint(verdictColors[p.Verdict], strings.ToUpper(p.Verdict)), p.Reason)
	return err
}

// liveHalves is halves of a real packet.
func liveHalves(w io.Writer, s Style, p *api.LivePacket) error {
	if p.Next == nil && p.Problem == "" {
		return liveHalf(w, s, p)
	}
	if p.Problem != "" {
		if _, err := fmt.Fprintf(w, "%s\n  %s\n\n", s.paint(Bold, "NODE "+p.From.Node), s.paint(Yellow, p.Problem)); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w, s.paint(Bold, "NODE "+p.Node)); err != nil {
		return err
	}
	if err := liveHalf(w, s, p); err != nil || p.Next == nil {
		return err
	}
	n := p.Next
	if _, err := fmt.Fprintf(w, "\ngoes on to node %s %s:  %s -> %s  %s\n", n.Node, across.Way(n), n.From, n.To, p.Protocol); err != nil {
		return err
	}
	if n.Arrived != nil {
		if _, err := fmt.Fprintf(w, "%s\n", s.paint(Yellow, fmt.Sprintf("arrives there as other than it left:  %s -> %s", n.Arrived[0], n.Arrived[1]))); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", s.paint(Bold, "NODE "+n.Node)); err != nil {
		return err
	}
	if n.Answer == nil {
		_, err := fmt.Fprintf(w, "  %s\n", s.paint(Yellow, n.Problem))
		return err
	}
	return liveHalf(w, s, n.Answer)
}

// liveHalf writes a packet's way through one node.
func liveHalf(w io.Writer, s Style, p *api.LivePacket) error {
	t := table{style: s}
	t.header("TABLE", "MEANING", "WRITES")
	for _, step := range p.Steps {
		var writes []string
		for _, r := range slices.Sorted(maps.Keys(step.Registers)) {
			writes = append(writes, fmt.Sprintf("%s=%#x", r, step.Registers[r]))
		}
		t.cells(cell{text: step.Table}, cell{text: step.Meaning}, cell{strings.Join(writes, " "), Dim})
	}
	if err := t.write(w, "  "); err != nil {
		return err
	}
	if err := balanced(w, s, p.Service); err != nil || p.Output == "" {
		return err
	}
	to := ""
	switch {
	case p.Output == p.To.Port && p.To.Pod != "":
		to = " of pod " + p.To.Pod
	case p.Service != nil && p.Service.Pod != "" && p.Next == nil && p.Output != "gateway" && p.Output != "tunnel":
		to = " of pod " + p.Service.Pod
	}
	_, err := fmt.Fprintf(w, "\n  %s  by port %s%s\n", s.paint(Dim, "leaves"), p.Output, to)
	return err
}
