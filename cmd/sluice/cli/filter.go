package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// filter says which objects get lists.
type filter struct {
	dir       string
	name      string
	namespace string
	pod       string // "namespace/name" once checked
}

// check completes names without a namespace by --namespace.
func (f *filter) check() error {
	if f.pod != "" && !strings.Contains(f.pod, "/") {
		if f.namespace == "" {
			return fmt.Errorf("--pod: %q has no namespace: give NAMESPACE/POD, or --namespace", f.pod)
		}
		f.pod = f.namespace + "/" + f.pod
	}
	return nil
}

// String says what limits a list besides a name.
func (f *filter) String() string {
	out := ""
	if f.namespace != "" {
		out += " in namespace " + f.namespace
	}
	if f.pod != "" {
		out += " for pod " + f.pod
	}
	return out
}

// named reports whether a namespaced object is the one that was named, if any.
func (f *filter) named(key string) bool {
	return f.name == "" || f.name == key || f.namespace != "" && f.namespace+"/"+f.name == key
}

// within reports whether a namespaced object is in the namespace, if there is one.
func (f *filter) within(key string) bool {
	return f.namespace == "" || strings.HasPrefix(key, f.namespace+"/")
}

// is reports whether a pod is the one that is meant.
func (f *filter) is(pod string) bool {
	return f.within(pod) && (f.pod == "" || f.pod == pod)
}

// aboutPods reports whether the filter limits pods.
func (f *filter) aboutPods() bool { return f.namespace != "" || f.pod != "" }

func portFilter(_ context.Context, _ source, f *filter) (func(api.Port) bool, error) {
	return func(p api.Port) bool { return f.is(p.Pod) && (f.named(p.Pod) || f.name == p.Name) }, nil
}

func policyFilter(_ context.Context, _ source, f *filter) (func(api.Policy) bool, error) {
	return func(p api.Policy) bool {
		return f.within(p.Name) && f.named(p.Name) && (f.pod == "" || slices.Contains(p.Pods, f.pod))
	}, nil
}

// ruleFilter asks for policies if it needs to know to which pods they apply.
func ruleFilter(ctx context.Context, s source, f *filter) (func(api.Rule) bool, error) {
	applies := map[string]bool{}
	if f.pod != "" {
		policies, err := s.Policies(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range policies {
			applies[p.Name] = slices.Contains(p.Pods, f.pod)
		}
	}
	return func(r api.Rule) bool {
		return f.within(r.Policy) && (f.named(r.Policy) || f.name == r.Key) && (f.pod == "" || applies[r.Policy])
	}, nil
}

func identityFilter(_ context.Context, _ source, f *filter) (func(api.Identity) bool, error) {
	return func(id api.Identity) bool {
		return (f.name == "" || f.name == strconv.Itoa(int(id.ID))) && (!f.aboutPods() || slices.ContainsFunc(id.Pods, f.is))
	}, nil
}

// nodeFilter knows names only: a node belongs to no namespace.
func nodeFilter(_ context.Context, _ source, f *filter) (func(api.Node) bool, error) {
	return func(n api.Node) bool { return (f.name == "" || f.name == n.Name) && !f.aboutPods() }, nil
}

// flowFilter asks for ports if it needs to know which objects are a pod's.
func flowFilter(ctx context.Context, s source, f *filter) (func(api.Flow) bool, error) {
	objects := map[string]bool{}
	if f.aboutPods() {
		ports, err := s.Ports(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			for _, kind := range []string{"port", "spoof", "egress-isolation", "ingress-isolation", "egress-pending", "ingress-pending"} {
				if f.is(p.Pod) {
					objects[fmt.Sprintf("%s/%d", kind, p.OFPort)] = true
				}
			}
		}
	}
	return func(flow api.Flow) bool {
		return (!f.aboutPods() || objects[flow.Object]) && (f.name == "" || strings.EqualFold(f.name, flow.Table) || f.name == flow.Object)
	}, nil
}
