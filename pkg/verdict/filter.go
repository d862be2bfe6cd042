package verdict

import (
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Filter says which events a reader wants. Of a field that is empty every value
// is right.
type Filter struct {
	// Pod, "namespace/name", and Namespace are of either end.
	Pod, Namespace string
	// Verdicts are some of api.Allowed, api.Denied, api.Spoofed and api.Invalid. Events of
	// what is allowed need Allows besides.
	Verdicts []string
	// Policy, "namespace/name", is one that the verdict is owed to.
	Policy string
	// Direction, "egress" or "ingress", is the side which denied.
	Direction string
	// Allows asks for what is allowed too. The bridge tells of that as long as some
	// reader asks for it.
	Allows bool
}

// Match reports whether an event is wanted.
func (f *Filter) Match(e *api.Event) bool {
	within := func(pod string) bool { return strings.HasPrefix(pod, f.Namespace+"/") }
	switch {
	case e.Verdict == api.Allowed && !f.Allows,
		len(f.Verdicts) > 0 && !slices.Contains(f.Verdicts, e.Verdict),
		f.Pod != "" && e.From.Pod != f.Pod && e.To.Pod != f.Pod,
		f.Namespace != "" && !within(e.From.Pod) && !within(e.To.Pod),
		f.Policy != "" && !slices.Contains(e.Policies, f.Policy),
		f.Direction != "" && e.Direction != f.Direction:
		return false
	}
	return true
}
