package install

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/test/apiserver"
)

const timeout = 2 * time.Minute

// TestTheRoleIsWhatTheAgentAsksFor runs what the agent reads the cluster with,
// as the manifest's service account and against a real API server: it gets all it
// asks for, and asks for all it may have.
func TestTheRoleIsWhatTheAgentAsksFor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	s := apiserver.Start(t, apiserver.Options{})
	testTakesManifests(t, s)
	granted := map[string]bool{}
	for _, m := range manifests(t) {
		if m.file != "sluice.yaml" {
			continue
		}
		for _, o := range m.objects {
			if role, ok := o.(*rbacv1.ClusterRole); ok {
				for _, r := range role.Rules {
					expand(t, granted, r)
				}
			}
		}
	}
	if out, err := s.Kubectl(ctx, "apply", "-f", "../../build/manifests/sluice.yaml"); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}

	asked := &requests{seen: map[string]bool{}}
	as, err := s.ConfigFor("system:serviceaccount:kube-system:sluice-agent")
	if err != nil {
		t.Fatal(err)
	}
	as.Wrap(asked.wrap)
	client, err := cluster.NewClient(as)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = cluster.NewAPISource(client, cluster.APIOptions{Services: true}).Run(ctx, func(events []cluster.Event) {
		for _, e := range events {
			if e.Problem != nil {
				t.Error(e.Problem)
			}
			if e.Synced {
				go asked.await(ctx, granted, stop)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for verb := range asked.list() {
		if !granted[verb] {
			t.Errorf("the agent asks to %s, which its role does not allow", verb)
		}
	}
	for verb := range granted {
		if !asked.list()[verb] {
			t.Errorf("the role allows to %s, which the agent does not ask for", verb)
		}
	}
	forbidden(t, as)
}

// testTakesManifests checks that the API server would take every manifest as it
// is: more than types say, as which rights exclude each other.
func testTakesManifests(t *testing.T, s *apiserver.APIServer) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for _, m := range manifests(t) {
		out, err := s.Kubectl(ctx, "apply", "--dry-run=server", "--validate=strict", "-f", "../../build/manifests/"+m.file)
		if err != nil {
			t.Errorf("%s: %v\n%s", m.file, err, out)
		}
	}
}

// expand adds each "verb resource" of a rule.
func expand(t *testing.T, into map[string]bool, r rbacv1.PolicyRule) {
	t.Helper()
	for _, all := range [][]string{r.Verbs, r.Resources, r.APIGroups} {
		if slices.Contains(all, "*") {
			t.Errorf("the rule %v allows everything", r)
		}
	}
	for _, verb := range r.Verbs {
		for _, resource := range r.Resources {
			into[verb+" "+resource] = true
		}
	}
}

// requests are those that a client has made.
type requests struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		verb := "list"
		if req.Method != http.MethodGet {
			verb = strings.ToLower(req.Method)
		} else if req.URL.Query().Get("watch") != "" {
			verb = "watch"
		}
		parts := strings.Split(req.URL.Path, "/")
		r.mu.Lock()
		r.seen[verb+" "+parts[len(parts)-1]] = true
		// A list that is asked for as a watch (WatchList) is allowed by the same verbs.
		if req.URL.Query().Get("sendInitialEvents") == "true" {
			r.seen["list "+parts[len(parts)-1]] = true
		}
		r.mu.Unlock()
		return next.RoundTrip(req)
	})
}

// await calls done once every verb has been seen, or it is clear that one won't
// be: lists come before the watches that follow them.
func (r *requests) await(ctx context.Context, verbs map[string]bool, done func()) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = wait.PollUntilContextCancel(ctx, 10*time.Millisecond, true, func(context.Context) (bool, error) {
		seen := r.list()
		for verb := range verbs {
			if !seen[verb] {
				return false, nil
			}
		}
		return true, nil
	})
	done()
}

func (r *requests) list() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]bool{}
	for k := range r.seen {
		all[k] = true
	}
	return all
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// forbidden checks that the account has no way to secrets, nor to change things.
func forbidden(t *testing.T, as *rest.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	client, err := kubernetes.NewForConfig(as)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{}); err == nil {
		t.Error("the account can read secrets")
	}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{}); err == nil {
		t.Error("the account can make namespaces")
	}
}
