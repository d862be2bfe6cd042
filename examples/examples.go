// Package examples reads what the example clusters beside it are expected to
// allow and to deny. README.md shows them around.
package examples

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Names are the folders of the examples, the simplest first.
var Names = []string{"guarded-database", "least-privilege", "tenants", "three-tiers", "external-access"}

// End is one end of a connection: a pod, or a machine outside of the cluster.
type End struct {
	// Namespace and Name are the pod's, empty for a machine outside.
	Namespace, Name string
	// Addr is the address of a machine outside, not valid for a pod: that has the
	// addresses it is given when it is attached.
	Addr netip.Addr
}

// Outside reports whether the end is a machine outside of the cluster.
func (e End) Outside() bool { return e.Addr.IsValid() }

// String returns "namespace/name" or the address.
func (e End) String() string {
	if e.Outside() {
		return e.Addr.String()
	}
	return e.Namespace + "/" + e.Name
}

// Expectation says of one connection whether it is allowed.
type Expectation struct {
	From, To End
	Protocol string // "TCP", "UDP" or "SCTP"
	Port     uint16 // at To
	Allow    bool
	// Because is the reason, for the reader; often empty.
	Because string
}

// String returns the connection and the verdict on one line.
func (x Expectation) String() string {
	verdict := "deny"
	if x.Allow {
		verdict = "allow"
	}
	return fmt.Sprintf("%s -> %s %s/%d %s", x.From, x.To, x.Protocol, x.Port, verdict)
}

// ReadExpected reads the expectations of an example's folder.
func ReadExpected(folder string) ([]Expectation, error) {
	path := filepath.Join(folder, "expected.txt")
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read expectations: %w", err)
	}
	defer f.Close()
	list, err := ParseExpected(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// ParseExpected reads expectations, one a line: from, to, protocol, port and
// verdict, apart by blanks, then the reason after a "#". Lines with no more than
// a comment are passed over.
func ParseExpected(r io.Reader) (list []Expectation, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, because, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		x, err := parseLine(fields)
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

func parseLine(fields []string) (x Expectation, err error) {
	if len(fields) != 5 {
		return x, fmt.Errorf("has %d fields, want from, to, protocol, port and verdict", len(fields))
	}
	if x.From, err = parseEnd(fields[0]); err != nil {
		return x, fmt.Errorf("from: %w", err)
	}
	if x.To, err = parseEnd(fields[1]); err != nil {
		return x, fmt.Errorf("to: %w", err)
	}
	switch x.Protocol = fields[2]; x.Protocol {
	case "TCP", "UDP", "SCTP":
	default:
		return x, fmt.Errorf("protocol: %q is not TCP, UDP or SCTP", x.Protocol)
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	if err != nil || port == 0 {
		return x, fmt.Errorf("port: %q is not a number from 1 to 65535", fields[3])
	}
	x.Port = uint16(port)
	switch fields[4] {
	case "allow":
		x.Allow = true
	case "deny":
	default:
		return x, fmt.Errorf("verdict: %q is not allow or deny", fields[4])
	}
	return x, nil
}

func parseEnd(text string) (End, error) {
	if namespace, name, ok := strings.Cut(text, "/"); ok {
		return End{Namespace: namespace, Name: name}, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return End{}, fmt.Errorf("%q is neither namespace/name nor an address", text)
	}
	return End{Addr: addr}, nil
}
