package agent

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/cni"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/metrics"
	"github.com/sluice-cni/sluice/pkg/verdict"
)

// listeners opens what an agent of a configuration serves, by the network of each
// listener.
func listeners(t *testing.T, change func(*config.Config)) (map[string]served, error) {
	t.Helper()
	// Not t.TempDir: with the test's name in it a path may be too long a socket.
	dir, err := os.MkdirTemp("/tmp", "sluice-agent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := config.Default()
	cfg.Socket, cfg.HealthAddress = filepath.Join(dir, "agent.sock"), ""
	change(cfg)
	enforcer := enforce.New(enforce.Config{Node: "node0"})
	a := &Agent{
		cfg: cfg, enforcer: enforcer, vswitchd: newVswitchd(dir), node: &node{}, cni: cni.NewServer(cni.Options{}),
		verdicts: verdict.New(verdict.Config{Node: "node0", Enforcer: enforcer}), metrics: metrics.New(metrics.Sources{}),
	}
	all, err := a.listen(t.Context())
	out := map[string]served{}
	for _, l := range all {
		t.Cleanup(func() { l.Close() })
		out[l.Addr().Network()] = l
	}
	return out, err
}

func TestThePageIsOnTheSocketAloneUnlessAskedFor(t *testing.T) {
	all, err := listeners(t, func(*config.Config) {})
	if err != nil || len(all) != 1 || all["unix"].Listener == nil {
		t.Errorf("without uiAddress it serves %v, %v", all, err)
	}
}

func TestAUIAddressHasThePageAndNothingThatChangesANode(t *testing.T) {
	all, err := listeners(t, func(c *config.Config) { c.UIAddress = "127.0.0.1:0" })
	if err != nil {
		t.Fatal(err)
	}
	page := all["tcp"]
	go func() { _ = http.Serve(page.Listener, page.Handler) }()
	for target, want := range map[string]int{
		"GET /ui/": http.StatusOK, "POST " + wire.Add.Path(): http.StatusNotFound, "GET /v1/check": http.StatusNotFound,
		"GET /v1/support-bundle": http.StatusNotFound, "GET /v1/flows": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(target, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+page.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s is answered with %d, want %d", target, resp.StatusCode, want)
		}
	}
}

func TestAnAddressThatCantBeHadLeavesNothingOpen(t *testing.T) {
	all, err := listeners(t, func(c *config.Config) { c.UIAddress = "127.0.0.1:0" })
	if err != nil {
		t.Fatal(err)
	}
	taken := all["tcp"].Addr().String()
	var socket string
	_, err = listeners(t, func(c *config.Config) { c.UIAddress, socket = taken, c.Socket })
	if err == nil || !strings.Contains(err.Error(), "uiAddress "+taken) {
		t.Errorf("error %v, want one that names uiAddress", err)
	}
	if c, err := net.Dial("unix", socket); err == nil {
		c.Close()
		t.Error("the socket is still served")
	}
}
