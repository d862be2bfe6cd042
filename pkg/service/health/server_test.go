package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/service"
)

// start runs a server on the loopback interface until the test ends.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	o.Host = "127.0.0.1"
	s := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// free returns a port that nobody has.
func free(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// ask returns the answer at a port as "status weight body", or "closed".
func ask(port uint16) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", port))
	if err != nil {
		return "closed"
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || !json.Valid(body) || r.Header.Get("Content-Type") != "application/json" {
		return fmt.Sprintf("not JSON (%v): %q", err, body)
	}
	return fmt.Sprint(r.StatusCode, " ", r.Header.Get("X-Load-Balancing-Endpoint-Weight"), " ", string(body))
}

// until waits until the answer at a port is the one wanted.
func until(t *testing.T, port uint16, want string) {
	t.Helper()
	late := time.Now().Add(10 * time.Second)
	for {
		got := ask(port)
		if got == want {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("port %d answers %q, want %q", port, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func body(name string, local int, healthy bool) string {
	return fmt.Sprintf(`{"service":{"namespace":"shop","name":%q},"localEndpoints":%d,"serviceProxyHealthy":%t}`+"\n", name, local, healthy)
}

func check(name string, port uint16, local int) service.HealthCheck {
	return service.HealthCheck{Service: cluster.Key{Namespace: "shop", Name: name}, Port: port, LocalEndpoints: local}
}

func TestAnswersFollowTheEndpoints(t *testing.T) {
	var sick atomic.Bool
	s, port := start(t, Options{Healthy: func() bool { return !sick.Load() }}), free(t)
	s.Set([]service.HealthCheck{check("web", port, 0)})
	until(t, port, "503 0 "+body("web", 0, true))
	s.Set([]service.HealthCheck{check("web", port, 2)})
	until(t, port, "200 2 "+body("web", 2, true))
	sick.Store(true)
	until(t, port, "503 2 "+body("web", 2, false))
}

func TestTheNodeSaysWhetherItBalancesServices(t *testing.T) {
	var sick, leaves atomic.Bool
	port := free(t)
	start(t, Options{Healthy: func() bool { return !sick.Load() }, Leaving: leaves.Load, NodePort: port})
	for _, c := range []struct {
		sick, leaves  bool
		healthz, live int
	}{{false, false, 200, 200}, {false, true, 503, 200}, {true, false, 503, 503}} {
		sick.Store(c.sick)
		leaves.Store(c.leaves)
		for path, want := range map[string]int{"healthz": c.healthz, "livez": c.live, "": 404} {
			eventually := time.Now().Add(10 * time.Second)
			for {
				resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", port, path))
				if err != nil && time.Now().Before(eventually) {
					time.Sleep(5 * time.Millisecond) // it is not open yet
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != want || err != nil {
					t.Errorf("/%s of %+v: %d %s, %v", path, c, resp.StatusCode, text, err)
				}
				if eligible := fmt.Sprintf(`"nodeEligible":%t`, !c.leaves); path == "healthz" && !strings.Contains(string(text), eligible) {
					t.Errorf("/%s of %+v: %s, want %s", path, c, text, eligible)
				}
				break
			}
		}
	}
}

func TestPortsFollowTheServices(t *testing.T) {
	s, a, b := start(t, Options{OnProblem: func(err error) { t.Error(err) }}), free(t), free(t)
	s.Set([]service.HealthCheck{check("web", a, 1), check("api", b, 1)})
	until(t, a, "200 1 "+body("web", 1, true))
	until(t, b, "200 1 "+body("api", 1, true))
	// The ports are swapped: each is closed before it is opened anew.
	s.Set([]service.HealthCheck{check("web", b, 1), check("api", a, 1)})
	until(t, a, "200 1 "+body("api", 1, true))
	until(t, b, "200 1 "+body("web", 1, true))
	s.Set([]service.HealthCheck{check("web", b, 1)})
	until(t, a, "closed")
	until(t, b, "200 1 "+body("web", 1, true))
}

func TestAPortThatIsTakenIsOpenedOnceItIsFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, b := uint16(taken.Addr().(*net.TCPAddr).Port), free(t)
	problems := make(chan error, 10)
	s := start(t, Options{OnProblem: func(err error) { problems <- err }, Retry: 10 * time.Millisecond})
	s.Set([]service.HealthCheck{check("web", a, 1), check("api", b, 1)})
	until(t, b, "200 1 "+body("api", 1, true))
	want := fmt.Sprintf("health check of Service shop/web: spec.healthCheckNodePort: open port %d: listen tcp 127.0.0.1:%d: bind: %v", a, a, syscall.EADDRINUSE)
	select {
	case err := <-problems:
		if err.Error() != want {
			t.Errorf("problem %q, want %q", err, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no problem is told of")
	}
	taken.Close()
	until(t, a, "200 1 "+body("web", 1, true))
	if len(problems) > 0 {
		t.Errorf("told again: %v", <-problems)
	}
}
