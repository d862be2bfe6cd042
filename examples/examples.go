// Package examples reads what the example clusters beside it are expected to
// allow and to deny. README.md shows them around.
package examples

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/pkg/simulate"
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
	Protocol string // "TCP", "UDP", "SCTP" or "ICMP"
	Port     uint16 // at To; zero for ICMP
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

// ParseExpected reads expectations as the command "sluice simulate --expect"
// does.
func ParseExpected(r io.Reader) ([]Expectation, error) {
	read, err := simulate.ParseExpectations(r)
	if err != nil {
		return nil, err
	}
	list := make([]Expectation, len(read))
	for i, x := range read {
		list[i] = Expectation{
			From: endOf(x.From), To: endOf(x.To),
			Protocol: strings.ToUpper(x.Protocol), Port: x.Port, Allow: x.Allow, Because: x.Because,
		}
	}
	return list, nil
}

// endOf returns the end that a checked name stands for.
func endOf(text string) End {
	if addr, err := netip.ParseAddr(text); err == nil {
		return End{Addr: addr}
	}
	namespace, name, _ := strings.Cut(text, "/")
	return End{Namespace: namespace, Name: name}
}
