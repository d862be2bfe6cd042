// Package kubeagents finds Sluice's agents among the pods of a cluster and asks them
// through the API server, which runs a command in the agent's container for whoever
// may do that ("create" on pods/exec in the agents' namespace). Agents listen to
// nobody else for that: the command asks over the agent's own socket.
package kubeagents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sluice-cni/sluice/pkg/observe/across"
)

// What an agent's pod is known by: see build/chart.
const (
	selector  = "app.kubernetes.io/name=sluice,app.kubernetes.io/component=agent"
	container = "agent"
	// DefaultNamespace is where the manifests put it.
	DefaultNamespace = "kube-system"
)

// Cluster finds the agents of a cluster's nodes. It is safe for concurrent use.
type Cluster struct {
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
}

// New returns the agents in a namespace of the cluster that config leads to.
func New(config *rest.Config, namespace string) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return &Cluster{config: config, client: client, namespace: namespace}, nil
}

// Agent implements across.Agents. For the empty name it is the agent of the first node
// by name, of those that are ready if there are any.
func (c *Cluster) Agent(ctx context.Context, node string) (across.Agent, error) {
	options := metav1.ListOptions{LabelSelector: selector}
	name := "any node"
	if node != "" {
		name = "node " + node
		options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
	}
	list, err := c.client.CoreV1().Pods(c.namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("find the agent of %s: %w", name, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !runs(p) })
	if len(pods) == 0 {
		return nil, fmt.Errorf("no agent of %s is reachable: no pod in namespace %s with the labels %s runs there", name, c.namespace, selector)
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		return cmp.Or(-cmp.Compare(readiness(a), readiness(b)), cmp.Compare(a.Spec.NodeName, b.Spec.NodeName), cmp.Compare(a.Name, b.Name))
	})
	return &agent{cluster: c, pod: pods[0].Name}, nil
}

// runs reports whether the agent's container in a pod does.
func runs(p corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == container && s.State.Running != nil
	})
}

// readiness is 1 of a pod that is ready, and 0 of others: of a node that has gone the
// agent's container runs for minutes, as far as the API server knows.
func readiness(p corev1.Pod) int {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return 1
		}
	}
	return 0
}

// NodeOf returns the node that a pod ("namespace/name") is bound to. It is empty for
// what is no pod, and if the API server does not tell: agents know, too.
func (c *Cluster) NodeOf(ctx context.Context, pod string) string {
	namespace, name, ok := strings.Cut(pod, "/")
	if !ok {
		return ""
	}
	p, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return p.Spec.NodeName
}

// errTooLong ends an answer that is longer than any explanation.
var errTooLong = errors.New("the answer is too long")

// bounded keeps what is written to it up to a number of bytes.
type bounded struct {
	data []byte
	max  int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > b.max {
		return 0, errTooLong
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
