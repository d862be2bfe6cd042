package random

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/pkg/oracle"
)

// Scenario is a small cluster made by hand for one thing that may go wrong
// between the meaning of a policy and the flows that enforce it.
type Scenario struct {
	Name string
	// Steps follow each other; Diff tells what changes between two of them.
	Steps []Step
}

// Step is a cluster with the verdicts that are right for it.
type Step struct {
	What    string
	Cluster *Cluster
	Want    []Want
}

// Want is the right verdict on a connection, on Cluster.Node.
type Want struct {
	Conn    oracle.Conn
	Allowed bool
}

// Probes returns the connections of a step.
func (s Step) Probes() []oracle.Conn {
	conns := make([]oracle.Conn, len(s.Want))
	for i, w := range s.Want {
		conns[i] = w.Conn
	}
	return conns
}

// script is a scenario as it is written down.
type script struct {
	name  string
	steps []scriptStep
}

// scriptStep changes what the step before left; the first one, the town.
type scriptStep struct {
	what string
	// namespaces and pods are YAML lists of objects that are added or replaced.
	namespaces, pods string
	// gone are pods that are no more, as "namespace/name".
	gone []string
	// policies, unless empty, replaces all policies: a YAML list of specs, with the
	// namespace as "in" and the name as "name" beside the fields of the spec.
	policies string
	// want has lines such as "allow red/web > red/db tcp/5432".
	want string
}

// town is what every scenario begins with: red/web, red/api, red/db and blue/api
// on the node that is asked about, red/far and blue/far on another one.
const town = `
- {metadata: {namespace: red, name: web, labels: {app: web}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.2}, {ip: "fd00:64::2"}]}}
- {metadata: {namespace: red, name: api, labels: {app: api}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: http, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.3}, {ip: "fd00:64::3"}]}}
- {metadata: {namespace: red, name: db, labels: {app: db}}, spec: {nodeName: node0, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.4}, {ip: "fd00:64::4"}]}}
- {metadata: {namespace: blue, name: api, labels: {app: api}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: http, containerPort: 9090}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.5}, {ip: "fd00:64::5"}]}}
- {metadata: {namespace: red, name: far, labels: {app: web}}, spec: {nodeName: node1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.1.2}, {ip: "fd00:64:0:1::2"}]}}
- {metadata: {namespace: blue, name: far, labels: {app: web}}, spec: {nodeName: node1, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.1.3}, {ip: "fd00:64:0:1::3"}]}}
`

const quarters = `
- {metadata: {name: red, labels: {kubernetes.io/metadata.name: red, team: r}}}
- {metadata: {name: blue, labels: {kubernetes.io/metadata.name: blue, team: b}}}
`

// Scenarios returns all scenarios.
var Scenarios = sync.OnceValue(func() (all []Scenario) {
	for _, s := range slices.Concat(meaningScripts, changeScripts, scaleScripts()) {
		w := &Cluster{Seed: "scenario " + s.name, Node: nodeName(0)}
		w.Nodes = []*corev1.Node{newNode(0), newNode(1)}
		replace(&w.Namespaces, mustParse[*corev1.Namespace](quarters))
		replace(&w.Pods, mustParse[*corev1.Pod](town))
		scenario := Scenario{Name: s.name}
		for _, step := range s.steps {
			w = w.clone()
			scenario.Steps = append(scenario.Steps, w.play(step))
		}
		all = append(all, scenario)
	}
	return all
})

// play applies a step to the cluster, which the step then holds.
func (w *Cluster) play(s scriptStep) Step {
	replace(&w.Namespaces, mustParse[*corev1.Namespace](s.namespaces))
	replace(&w.Pods, mustParse[*corev1.Pod](s.pods))
	w.Pods = slices.DeleteFunc(w.Pods, func(p *corev1.Pod) bool { return slices.Contains(s.gone, p.Namespace+"/"+p.Name) })
	if s.policies != "" {
		w.Policies = nil
		names := mustParse[struct{ In, Name string }](s.policies)
		for i, spec := range mustParse[networkingv1.NetworkPolicySpec](s.policies) {
			p := &networkingv1.NetworkPolicy{Spec: spec}
			p.Namespace, p.Name = names[i].In, names[i].Name
			w.Policies = append(w.Policies, p)
		}
	}
	step := Step{What: s.what, Cluster: w}
	for line := range strings.Lines(s.want) {
		verdict, text, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		conn, err := w.ParseConn(text)
		if err != nil || verdict != "allow" && verdict != "deny" {
			panic(fmt.Sprintf("scenario line %q: %v", line, err))
		}
		step.Want = append(step.Want, Want{conn, verdict == "allow"})
	}
	return step
}

// replace puts objects in the place of those of the same name, or adds them.
func replace[T interface {
	GetNamespace() string
	GetName() string
}](in *[]T, objects []T) {
	for _, o := range objects {
		i := slices.IndexFunc(*in, func(x T) bool { return x.GetNamespace() == o.GetNamespace() && x.GetName() == o.GetName() })
		if i < 0 {
			*in = append(*in, o)
		} else {
			(*in)[i] = o
		}
	}
}

// mustParse reads a YAML list that is part of this package.
func mustParse[T any](text string) (list []T) {
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		panic(fmt.Sprintf("parsing %s: %v", text, err))
	}
	return list
}
