package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// halves writes the way through each node that was asked, and what leads from one
// to the next. A node that is the only one is not named.
func halves(w io.Writer, s Style, x *api.Explanation) error {
	if x.Next == nil && x.Problem == "" {
		return half(w, s, x)
	}
	if x.Problem != "" {
		if _, err := fmt.Fprintf(w, "%s\n  %s\n\n", s.paint(Bold, "NODE "+x.From.Node), s.paint(Yellow, x.Problem)); err != nil {
			return err
		}
	}
	for {
		if _, err := fmt.Fprintln(w, s.paint(Bold, "NODE "+x.Node)); err != nil {
			return err
		}
		if err := half(w, s, x); err != nil {
			return err
		}
		n := x.Next
		if n == nil {
			return nil
		}
		if _, err := fmt.Fprintf(w, "\n%s\n\n", onward(n)); err != nil {
			return err
		}
		if x = n.Answer; x == nil {
			_, err := fmt.Fprintf(w, "%s\n  %s\n", s.paint(Bold, "NODE "+n.Node), s.paint(Yellow, n.Problem))
			return err
		}
	}
}

// onward says how a packet gets to the next node, and as what.
func onward(n *api.Next) string {
	way := "as it is, by the underlay"
	switch {
	case n.By == api.ByTunnel:
		way = "through the tunnel"
		if a := n.Ask.Arrival; a != nil && a.TunnelSource != "" {
			way += " from " + a.TunnelSource
		}
		way += " to " + n.Via
	case n.Via != "":
		way = "as it is, by the route via " + n.Via
	}
	packet := fmt.Sprintf("%s -> %s  %s", n.Ask.From, n.Ask.To, strings.ToLower(n.Ask.Protocol))
	if n.Ask.Port != 0 {
		packet += fmt.Sprintf("/%d", n.Ask.Port)
	}
	return fmt.Sprintf("goes on to node %s %s:  %s", n.Node, way, packet)
}
