package simulate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Expectation says of one connection whether it should be allowed.
type Expectation struct {
	Connection
	Allow bool `json:"allow"`
	// Because is the reason, for the reader; often empty.
	Because string `json:"because,omitempty"`
}

// ParseExpectations reads expectations, one a line: from, to, protocol, port and
// "allow" or "deny", apart by blanks, then the reason after a "#". Lines with no
// more than a comment are passed over. Icmp, which has no port, has "-" there.
func ParseExpectations(r io.Reader) (list []Expectation, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, because, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		x, err := parseExpectation(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		x.Because = strings.TrimSpace(because)
		list = append(list, x)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read lines: %w", err)
	}
	return list, nil
}

func parseExpectation(fields []string) (x Expectation, err error) {
	if len(fields) != 5 {
		return x, fmt.Errorf("has %d fields, want from, to, protocol, port and verdict", len(fields))
	}
	x.From, x.To = fields[0], fields[1]
	for _, end := range []struct{ field, name string }{{"from", x.From}, {"to", x.To}} {
		if err := CheckPattern(end.name); err != nil || strings.ContainsAny(end.name, `*?[\`) {
			return x, fmt.Errorf("%s: %q is neither NAMESPACE/POD nor an address", end.field, end.name)
		}
	}
	service := fields[2]
	if fields[3] != "-" {
		service += "/" + fields[3]
	}
	if x.Service, err = ParseService(service); err != nil {
		return x, fmt.Errorf("protocol and port: %w", err)
	}
	switch fields[4] {
	case "allow":
		x.Allow = true
	case "deny":
	default:
		return x, fmt.Errorf("verdict: %q is not allow or deny", fields[4])
	}
	return x, nil
}

// WriteExpectations writes a matrix as ParseExpectations reads it, so that what
// is allowed today can be held against what will be. A connection that one
// address family allows and another does not is left out, with a comment.
func WriteExpectations(w io.Writer, m *Matrix) error {
	var out strings.Builder
	for i := 0; i < len(m.Cells); {
		c := m.Cells[i]
		same := true
		for ; i < len(m.Cells) && m.Cells[i].Connection == c.Connection; i++ {
			same = same && m.Cells[i].Verdict == c.Verdict
		}
		verdict, port := "deny", "-"
		if c.Allowed() {
			verdict = "allow"
		}
		if c.Port != 0 {
			port = fmt.Sprint(c.Port)
		}
		if !same {
			fmt.Fprintf(&out, "# IPv4 and IPv6 differ: ")
		}
		fmt.Fprintf(&out, "%s %s %s %s %s\n", c.From, c.To, strings.ToUpper(c.Protocol), port, verdict)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// Outcome is an expectation held against the verdicts.
type Outcome struct {
	Expectation
	Holds bool `json:"holds"`
	// Seen are the verdicts, one for each address family tried. There is none if
	// the connection can't be: Problem says why.
	Seen    []Cell `json:"seen"`
	Problem string `json:"problem,omitempty"`
}

// Check traces every connection that is expected to be allowed or denied. An
// expectation holds if the verdict over each family tried is the expected one.
func (c *Cluster) Check(ctx context.Context, list []Expectation, families Families, progress func(done, all int)) ([]Outcome, error) {
	out := make([]Outcome, len(list))
	var cells []Cell
	count := make([]int, len(list))
	for i, x := range list {
		out[i] = Outcome{Expectation: x, Seen: []Cell{}}
		src, knownSrc := c.find(x.From)
		dst, knownDst := c.find(x.To)
		switch {
		case !knownSrc:
			out[i].Problem = c.missing(x.From)
		case !knownDst:
			out[i].Problem = c.missing(x.To)
		case !src.inside() && !dst.inside():
			out[i].Problem = "neither end is a pod"
		default:
			for _, family := range common(src, dst, families) {
				cells = append(cells, Cell{Connection: x.Connection, Family: family})
				count[i]++
			}
			if count[i] == 0 {
				out[i].Problem = "the two have no address family in common that is asked for"
			}
		}
	}
	if err := c.judge(ctx, cells, progress); err != nil {
		return nil, err
	}
	for i := range out {
		n := count[i]
		out[i].Seen = append(out[i].Seen, cells[:n]...)
		cells = cells[n:]
		other := func(c Cell) bool { return c.Allowed() != out[i].Allow }
		out[i].Holds = n > 0 && !slices.ContainsFunc(out[i].Seen, other)
	}
	return out, nil
}

// Wanted returns the verdict that an expectation is for.
func (x Expectation) Wanted() string {
	if x.Allow {
		return api.Allowed
	}
	return api.Denied
}
