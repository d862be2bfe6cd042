package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// label is a label with its value.
type label struct{ key, value string }

// selector is a label selector in canonical form.
type selector struct {
	// text is in kubectl's syntax, and the same for selectors that are written
	// differently but ask the same; empty for the selector that picks everything.
	text         string
	requirements labels.Requirements
	// anchors are labels of which whatever is picked carries at least one; empty
	// if the selector asks for no particular label.
	anchors []label
	// byName is true if the selector asks for nothing but the name of a namespace.
	byName bool
}

// everything picks all objects.
var everything = &selector{byName: true}

// matches reports whether the selector picks an object with these labels.
func (s *selector) matches(l labels.Set) bool {
	for i := range s.requirements {
		if !s.requirements[i].Matches(l) {
			return false
		}
	}
	return true
}

// operators maps the operators of the API to those of the labels package.
var operators = map[metav1.LabelSelectorOperator]selection.Operator{
	metav1.LabelSelectorOpIn:           selection.In,
	metav1.LabelSelectorOpNotIn:        selection.NotIn,
	metav1.LabelSelectorOpExists:       selection.Exists,
	metav1.LabelSelectorOpDoesNotExist: selection.DoesNotExist,
}

// selector reads a label selector. Requirements that can't be read are reported
// and left out.
func (p *parser) selector(path string, in *metav1.LabelSelector) *selector {
	var reqs labels.Requirements
	add := func(field, key string, op selection.Operator, values []string) {
		values = slices.Compact(slices.Sorted(slices.Values(values)))
		// One value is written in the short form, whatever the policy used.
		if len(values) == 1 {
			switch op {
			case selection.In:
				op = selection.Equals
			case selection.NotIn:
				op = selection.NotEquals
			}
		}
		req, err := labels.NewRequirement(key, op, values)
		if err != nil {
			p.report(field, "%v", err)
			return
		}
		reqs = append(reqs, *req)
	}
	for _, key := range slices.Sorted(maps.Keys(in.MatchLabels)) {
		add(path+".matchLabels["+key+"]", key, selection.Equals, []string{in.MatchLabels[key]})
	}
	for i, e := range in.MatchExpressions {
		field := index(path+".matchExpressions", i)
		op, ok := operators[e.Operator]
		if !ok {
			p.report(field+".operator", "%q is not one of In, NotIn, Exists, DoesNotExist", e.Operator)
			continue
		}
		add(field, e.Key, op, e.Values)
	}
	return newSelector(reqs)
}

// newSelector puts requirements in canonical order.
func newSelector(reqs labels.Requirements) *selector {
	texts := make(map[string]labels.Requirement, len(reqs))
	for _, r := range reqs {
		texts[r.String()] = r
	}
	s := &selector{byName: true}
	order := slices.Sorted(maps.Keys(texts))
	for _, text := range order {
		r := texts[text]
		s.requirements = append(s.requirements, r)
		s.byName = s.byName && r.Key() == corev1.LabelMetadataName
		if len(s.anchors) == 0 && (r.Operator() == selection.Equals || r.Operator() == selection.In) {
			for _, v := range r.ValuesUnsorted() {
				s.anchors = append(s.anchors, label{r.Key(), v})
			}
			slices.SortFunc(s.anchors, func(a, b label) int { return cmp.Compare(a.value, b.value) })
		}
	}
	s.text = strings.Join(order, ",")
	return s
}

// podSelection names a set of pods: those that pods picks, in one namespace or
// in all namespaces that namespaces picks.
type podSelection struct {
	namespace  string    // if namespaces is nil
	namespaces *selector // nil for one namespace
	pods       *selector
}

// everyPod selects all pods of the cluster.
var everyPod = podSelection{namespaces: everything, pods: everything}

// String says in words which pods are meant.
func (s podSelection) String() string {
	var b strings.Builder
	if s.pods.text == "" {
		b.WriteString("all pods")
	} else {
		b.WriteString("pods " + s.pods.text)
	}
	switch {
	case s.namespaces == nil:
		b.WriteString(" in namespace " + s.namespace)
	case s.namespaces.text == "":
		b.WriteString(" in all namespaces")
	default:
		b.WriteString(" in namespaces " + s.namespaces.text)
	}
	return b.String()
}
