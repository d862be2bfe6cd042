package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// LivePacket lays out a real packet's way: the tables it crossed, what each wrote
// into registers, and what came of it.
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
	_, err := fmt.Fprintf(w, "\n%s: %s\n", s.paint(verdictColors[p.Verdict], strings.ToUpper(p.Verdict)), p.Reason)
	return err
}
