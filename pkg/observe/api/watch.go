package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// WatchFilter says which events a reader wants. Of a field that is empty every value
// is right.
type WatchFilter struct {
	// Pod, "namespace/name", and Namespace are of either end.
	Pod, Namespace string
	// Verdicts are some of Allowed, Denied, Spoofed and Invalid. Events of
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
func (f *WatchFilter) Match(e *Event) bool {
	within := func(pod string) bool { return strings.HasPrefix(pod, f.Namespace+"/") }
	switch {
	case e.Verdict == Allowed && !f.Allows,
		len(f.Verdicts) > 0 && !slices.Contains(f.Verdicts, e.Verdict),
		f.Pod != "" && e.From.Pod != f.Pod && e.To.Pod != f.Pod,
		f.Namespace != "" && !within(e.From.Pod) && !within(e.To.Pod),
		f.Policy != "" && !slices.Contains(e.Policies, f.Policy),
		f.Direction != "" && e.Direction != f.Direction:
		return false
	}
	return true
}

// WatchQuery is what a reader asks for.
type WatchQuery struct {
	WatchFilter
	// Last is how many recent events come first, Follow whether those that come later
	// follow.
	Last   int
	Follow bool
}

// Values writes the query as that of a URL: pod, namespace, verdict (several
// times), policy, direction, allows, last, follow.
func (q WatchQuery) Values() url.Values {
	v := url.Values{"verdict": q.Verdicts, "follow": {strconv.FormatBool(q.Follow)}}
	for name, value := range map[string]string{"pod": q.Pod, "namespace": q.Namespace, "policy": q.Policy, "direction": q.Direction} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Allows {
		v.Set("allows", "true")
	}
	if q.Last != 0 {
		v.Set("last", strconv.Itoa(q.Last))
	}
	return v
}

// ParseWatchQuery reads what Values writes. Follow is true if it is not said.
func ParseWatchQuery(v url.Values) (q WatchQuery, err error) {
	q.Pod, q.Namespace, q.Policy, q.Direction = v.Get("pod"), v.Get("namespace"), v.Get("policy"), v.Get("direction")
	for name := range v {
		if !slices.Contains([]string{"pod", "namespace", "policy", "direction", "verdict", "allows", "last", "follow"}, name) {
			return q, fmt.Errorf("%s: not known", name)
		}
	}
	q.Verdicts = v["verdict"]
	for _, verdict := range q.Verdicts {
		if !slices.Contains([]string{Allowed, Denied, Spoofed, Invalid}, verdict) {
			return q, fmt.Errorf("verdict: %q is not allowed, denied, spoofed or invalid", verdict)
		}
	}
	if q.Direction != "" && q.Direction != "egress" && q.Direction != "ingress" {
		return q, fmt.Errorf("direction: %q is not egress or ingress", q.Direction)
	}
	q.Follow = true
	for name, value := range map[string]*bool{"allows": &q.Allows, "follow": &q.Follow} {
		if text := v.Get(name); text != "" {
			if *value, err = strconv.ParseBool(text); err != nil {
				return q, fmt.Errorf("%s: %q is not true or false", name, text)
			}
		}
	}
	if text := v.Get("last"); text != "" {
		if q.Last, err = strconv.Atoi(text); err != nil || q.Last < 0 {
			return q, fmt.Errorf("last: %q is not a number of events", text)
		}
	}
	return q, nil
}
