package apiserver

import (
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sluice-cni/sluice/test/need"
)

// TestServer shares one server among the tests that leave it as it is.
func TestServer(t *testing.T) {
	s := Start(t, Options{})
	t.Run("PodsCarryWhatAKubeletWouldReport", func(t *testing.T) { testPodStatus(t, s) })
	t.Run("RBACDecidesWhatAUserMayDo", func(t *testing.T) { testRBAC(t, s) })
	t.Run("KubectlErrorSaysWhatTheServerSaid", func(t *testing.T) { testKubectlError(t, s) })
}

func testPodStatus(t *testing.T, s *APIServer) {
	ctx := t.Context()
	cidrs := []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:10:244:1::/64")}
	if err := s.CreateNode(ctx, "n1", cidrs, netip.MustParseAddr("172.18.0.2"), netip.MustParseAddr("fd00::2")); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateNamespace(ctx, "shop", map[string]string{"team": "a"}); err != nil {
		t.Fatal(err)
	}
	created, err := s.CreatePod(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if created.UID == "" {
		t.Error("the pod has no uid")
	}
	v4, v6 := netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr("fd00:10:244:1::5")
	if err := s.SetPodStatus(ctx, "shop", "web", corev1.PodRunning, v4, v6); err != nil {
		t.Fatal(err)
	}
	got, err := s.Kubectl(ctx, "get", "pod", "-n", "shop", "web", "-o",
		"jsonpath={.spec.nodeName} {.status.phase} {.status.podIP} {.status.podIPs[*].ip}")
	if err != nil {
		t.Fatal(err)
	}
	if want := "n1 Running 10.244.1.5 10.244.1.5 fd00:10:244:1::5"; got != want {
		t.Errorf("pod: %q, want %q", got, want)
	}

	// A pod that has ended gives its addresses back.
	if err := s.SetPodStatus(ctx, "shop", "web", corev1.PodSucceeded); err != nil {
		t.Fatal(err)
	}
	pod, err := s.Client().CoreV1().Pods("shop").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Status.Phase != corev1.PodSucceeded || len(pod.Status.PodIPs) != 0 || pod.Status.PodIP != "" {
		t.Errorf("status of the ended pod: %+v", pod.Status)
	}

	if err := s.DeletePod(ctx, "shop", "web"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().CoreV1().Pods("shop").Get(ctx, "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get the deleted pod: %v, want not found", err)
	}
}

func TestObjectsOutliveAStoppedServer(t *testing.T) {
	ctx := t.Context()
	s := Start(t, Options{})
	if err := s.Apply(ctx, denyAll); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := s.Client().NetworkingV1().NetworkPolicies("default").Get(ctx, "deny-all", metav1.GetOptions{}); err == nil {
		t.Fatal("the stopped server answers")
	}
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().NetworkingV1().NetworkPolicies("default").Get(ctx, "deny-all", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
}

const denyAll = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-all, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
`

func testRBAC(t *testing.T, s *APIServer) {
	ctx := t.Context()
	config, err := s.ConfigFor("system:serviceaccount:kube-system:sluice-agent")
	if err != nil {
		t.Fatal(err)
	}
	agent, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.CoreV1().Pods("").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list pods without a role: %v, want forbidden", err)
	}
	for _, args := range [][]string{
		{"create", "clusterrole", "list-pods", "--verb=list", "--resource=pods"},
		{"create", "clusterrolebinding", "agent", "--clusterrole=list-pods", "--user=system:serviceaccount:kube-system:sluice-agent"},
	} {
		if _, err := s.Kubectl(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	// The authorizer reads bindings through a watch: wait for it.
	allowed := func() error {
		_, err := agent.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		return err
	}
	eventually(t, "list pods with a role", allowed)
}

func TestControllersRunWhenAskedFor(t *testing.T) {
	ctx := t.Context()
	s := Start(t, Options{
		Controllers:     []string{"namespace-controller", "serviceaccount-controller"},
		ServiceAccounts: true,
	})
	if err := s.CreateNamespace(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "get the default service account", func() error {
		_, err := s.Client().CoreV1().ServiceAccounts("shop").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if out, err := s.Kubectl(ctx, "delete", "namespace", "shop", "--timeout=60s"); err != nil {
		t.Errorf("delete namespace: %v: %s", err, out)
	}
}

func testKubectlError(t *testing.T, s *APIServer) {
	err := s.Apply(t.Context(), strings.Replace(denyAll, "Egress", "Sideways", 1))
	if err == nil || !strings.Contains(err.Error(), `Unsupported value: "Sideways"`) {
		t.Errorf("apply a bad policy: %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	s := Start(t, Options{})
	pids := []int{s.etcd.os.Pid, s.server.os.Pid}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("folder %s is still there: %v", s.dir, err)
	}
}

func TestVersionIsTheOneThatIsBuilt(t *testing.T) {
	gomod, err := os.ReadFile("../../build/kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "k8s.io/kubernetes " + Version; !strings.Contains(string(gomod), want) {
		t.Errorf("build/kubernetes/go.mod does not require %q", want)
	}
}

func TestMissingBinariesSayHowToBuildThem(t *testing.T) {
	need.Tool(t, "etcd", "apt-get install etcd-server")
	t.Setenv("SLUICE_CACHE", t.TempDir())
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	_, err := New(t.Context(), Options{})
	if err == nil || !strings.Contains(err.Error(), BuildCommand) {
		t.Errorf("start without binaries: %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the failed start left %v (%v)", left, err)
	}
}
