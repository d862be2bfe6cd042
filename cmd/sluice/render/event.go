package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// verdictColors are those of the verdicts of events and of real packets.
var verdictColors = map[string]Color{
	api.Allowed: Green, api.Denied: Red, api.Spoofed: Yellow, api.Invalid: Yellow, api.Lost: Red, api.Incomplete: Yellow,
}

// Event writes an event on one line: the time, the verdict, who spoke to whom, and
// why it ended so.
func Event(w io.Writer, s Style, e *api.Event) error {
	at := e.Time.Local().Format("15:04:05.000")
	if s.Wide {
		at = e.Time.Local().Format(time.RFC3339Nano)
	}
	service := e.Protocol
	if e.Port != 0 {
		service = fmt.Sprintf("%s/%d", e.Protocol, e.Port)
	}
	from, to := e.From.String(), e.To.String()
	if s.Wide && e.SourcePort != 0 {
		from = fmt.Sprintf("%s:%d", from, e.SourcePort)
	}
	verdict := fmt.Sprintf("%-7s", e.Verdict)
	line := fmt.Sprintf("%s  %s  %s -> %s  %s  %s", s.paint(Dim, at), s.paint(verdictColors[e.Verdict], verdict), orDash(from), orDash(strings.TrimSpace(to)), service, e.Reason)
	if s.Wide {
		line += s.paint(Dim, fmt.Sprintf("  [node %s, event %d, ports %s -> %s]", e.Node, e.Seq, orDash(e.From.Port), orDash(e.To.Port)))
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// WatchStatus lays out how complete the stream of events is.
func WatchStatus(w io.Writer, s Style, status api.WatchStatus) error {
	t := table{style: s}
	allowed := "told only while somebody asks (watch --allowed)"
	if status.Allows {
		allowed = "told, as somebody asks"
	}
	for _, row := range []struct {
		name  string
		count uint64
		note  string
	}{
		{"denied packets", status.Denied, ""},
		{"allowed connections", status.Allowed, allowed},
		{"events", status.Sampled, ""},
		{"without an event", status.Missed, "over a meter's rate, or more than the agent could take"},
		{"lost by readers", status.Lost, ""},
		{"readers", uint64(status.Readers), ""},
	} {
		t.cells(cell{row.name, Dim}, cell{text: fmt.Sprint(row.count)}, cell{row.note, Dim})
	}
	if status.Problem != "" {
		t.cells(cell{"problem", Dim}, cell{status.Problem, Red})
	}
	return t.write(w, "")
}
