// Package suite runs Kubernetes' own end-to-end tests in a test cluster, as they
// are, and reports each of them.
package suite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Set is a choice of tests.
type Set struct {
	Name  string
	Focus string // regular expression of the names of its tests
}

// Sets are the sets there are.
var Sets = []Set{
	{"netpol", `\[sig-network\] Netpol`},
	{"conformance", `\[sig-network\].*\[Conformance\]`},
}

// Chosen are a few of all these, for those who have little time: a policy of each
// direction, over namespaces, and Services by each kind of address.
var Chosen = Set{"chosen", `\[sig-network\] (Netpol .* should (` +
	`enforce policy based on PodSelector or NamespaceSelector` +
	`|enforce egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector` +
	`) |Services should (` +
	`be able to create a functioning NodePort service` +
	`|serve endpoints on same port and different protocols` +
	`) )`}

// Find returns those of some sets that have the given names.
func Find(sets []Set, names []string) ([]Set, error) {
	var found []Set
	for _, name := range names {
		i := slices.IndexFunc(sets, func(s Set) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no set %q of tests", name)
		}
		found = append(found, sets[i])
	}
	return found, nil
}

// exclusion are tests that can't run here.
type exclusion struct {
	tests  string // regular expression of their names
	reason string
	holds  func() bool
}

var exclusions = []exclusion{
	{`\[Feature:SCTPConnectivity\]`, "this kernel has no SCTP", func() bool { return !hasSCTP() }},
}

// excluded returns the exclusions that hold on this machine.
func excluded() []exclusion {
	var list []exclusion
	for _, e := range exclusions {
		if e.holds() {
			list = append(list, e)
		}
	}
	return list
}

// expression is one regular expression for all exclusions, empty if there are
// none.
func expression(list []exclusion) string {
	tests := make([]string, len(list))
	for i, e := range list {
		tests[i] = e.tests
	}
	return strings.Join(tests, "|")
}

// reason says why a test is excluded; empty if it is not.
func reason(list []exclusion, test string) string {
	for _, e := range list {
		if regexp.MustCompile(e.tests).MatchString(test) {
			return e.reason
		}
	}
	return ""
}

// hasSCTP tells whether pods, which share the kernel, can open SCTP sockets.
func hasSCTP() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
