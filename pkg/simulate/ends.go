package simulate

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// end is one end of a connection.
type end struct {
	name  string      // "namespace/name" or an address
	pod   cluster.Key // zero for a machine outside
	addrs []netip.Addr
}

// has reports whether the end has an address of a family, 4 or 6.
func (e end) has(family int) bool {
	return slices.ContainsFunc(e.addrs, func(a netip.Addr) bool { return a.Is4() == (family == 4) })
}

// CheckPattern returns an error if a text can't name ends: an address, or a pod
// as "namespace/name", in which the wildcards of path.Match may stand.
func CheckPattern(text string) error {
	if _, err := netip.ParseAddr(text); err == nil {
		return nil
	}
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%q is neither NAMESPACE/POD nor an address", text)
	}
	if _, err := path.Match(text, ""); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	return nil
}

// inside reports whether the end is a pod of the simulated node.
func (e end) inside() bool { return e.pod != (cluster.Key{}) }

// find returns the end of that name.
func (c *Cluster) find(name string) (end, bool) {
	if a, err := netip.ParseAddr(name); err == nil {
		a = a.Unmap()
		return end{name: a.String(), pod: c.addrs.owners[a], addrs: []netip.Addr{a}}, true
	}
	namespace, pod, _ := strings.Cut(name, "/")
	key := cluster.Key{Namespace: namespace, Name: pod}
	known := c.pods[key]
	if known == nil {
		return end{}, false
	}
	return end{name: name, pod: key, addrs: known.IPs}, true
}

// missing says why there is no end of that name.
func (c *Cluster) missing(name string) string {
	namespace, pod, _ := strings.Cut(name, "/")
	if reason := c.leftOut[cluster.Key{Namespace: namespace, Name: pod}]; reason != "" {
		return fmt.Sprintf("pod %s %s", name, reason)
	}
	return "there is no pod " + name
}

// choose returns the ends that patterns name, in the order of the patterns; all
// pods if there are none. A pattern that names nothing is an error.
func (c *Cluster) choose(what string, patterns []string) ([]end, error) {
	if len(patterns) == 0 {
		patterns = []string{"*/*"}
	}
	var out []end
	add := func(e end) {
		if !slices.ContainsFunc(out, func(o end) bool { return o.name == e.name }) {
			out = append(out, e)
		}
	}
	for _, pattern := range patterns {
		if e, ok := c.find(pattern); ok {
			add(e)
			continue
		}
		found := false
		for _, key := range sortedKeys(c.pods) {
			if ok, _ := path.Match(pattern, key.String()); ok {
				found = true
				e, _ := c.find(key.String())
				add(e)
			}
		}
		if !found && pattern != "*/*" {
			return nil, fmt.Errorf("%s: %s", what, c.missing(pattern))
		}
	}
	return out, nil
}
