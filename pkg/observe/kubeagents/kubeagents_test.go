package kubeagents

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// Of a node that has gone its agent's container seems to run for minutes; that its pod
// is not ready is known earlier.
func TestAnyAgentIsOneThatIsReady(t *testing.T) {
	pod := func(node string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "agent-" + node, Labels: map[string]string{
				"app.kubernetes.io/name": "sluice", "app.kubernetes.io/component": "agent",
			}},
			Spec: corev1.PodSpec{NodeName: node},
			Status: corev1.PodStatus{
				Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
				ContainerStatuses: []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
			},
		}
	}
	for want, pods := range map[string][2]corev1.ConditionStatus{
		"agent-a": {corev1.ConditionTrue, corev1.ConditionTrue},
		"agent-b": {corev1.ConditionUnknown, corev1.ConditionTrue},
	} {
		c := &Cluster{client: fake.NewClientset(pod("a", pods[0]), pod("b", pods[1])), namespace: "ns"}
		a, err := c.Agent(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := a.(*agent).pod; got != want {
			t.Errorf("of %v the agent is %s, want %s", pods, got, want)
		}
	}
	// One that is not ready may know why.
	c := &Cluster{client: fake.NewClientset(pod("a", corev1.ConditionFalse)), namespace: "ns"}
	if _, err := c.Agent(t.Context(), ""); err != nil {
		t.Error(err)
	}
}
