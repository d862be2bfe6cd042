package cli

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveUI runs sluice ui and returns the address that it prints, and what ends it
// and tells the exit code.
func serveUI(t *testing.T, args ...string) (address string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs buffer
	code := make(chan int, 1)
	go func() { code <- Run(ctx, append([]string{"sluice", "ui"}, args...), Streams{Out: &out, Err: &errs}) }()
	stop = func() int { cancel(); return <-code }
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(out.String(), "\n"); time.Sleep(10 * time.Millisecond) {
		if len(code) > 0 || time.Now().After(deadline) {
			t.Fatalf("no address is printed; exit code %d, stderr %q", stop(), errs.String())
		}
	}
	return strings.TrimSpace(out.String()), stop
}

func fetch(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func TestUIShowsANodeUntilItIsInterrupted(t *testing.T) {
	needOVS(t)
	for name, args := range map[string][]string{
		"of an agent":  {"--socket", agent(t, "guarded-database")},
		"of manifests": {"-f", examples + "guarded-database"},
	} {
		t.Run(name, func(t *testing.T) {
			page, stop := serveUI(t, args...)
			if !strings.HasPrefix(page, "http://127.0.0.1:") {
				t.Errorf("it prints %q", page)
			}
			if status, text := fetch(t, "GET", page, ""); status != http.StatusOK || !strings.Contains(text, "<title>Sluice</title>") {
				t.Errorf("the page is answered with %d %.80s", status, text)
			}
			questions := strings.TrimSuffix(page, "ui/") + "v1/"
			if status, text := fetch(t, "GET", questions+"ports", ""); status != http.StatusOK || !strings.Contains(text, "shop/db") {
				t.Errorf("ports are answered with %d %s", status, text)
			}
			if status, text := fetch(t, "GET", questions+"pipeline", ""); status != http.StatusOK || !strings.Contains(text, `"ingress-isolation"`) {
				t.Errorf("the pipeline is answered with %d %s", status, text)
			}
			trace := `{"from":"shop/frontend","to":"shop/db","protocol":"tcp","port":5432}`
			if status, text := fetch(t, "POST", questions+"trace", trace); status != http.StatusOK || !strings.Contains(text, `"verdict":"denied"`) {
				t.Errorf("a trace is answered with %d %s", status, text)
			}
			root := page[:strings.Index(page[len("http://"):], "/")+len("http://")]
			for _, p := range []string{"/", "/ui/", "/v1/ports"} {
				if status, _ := fetch(t, "GET", root+p, ""); status != http.StatusNotFound {
					t.Errorf("%s without the token is answered with %d", p, status)
				}
			}
			if code := stop(); code != exitDone {
				t.Errorf("exit code %d after an interrupt", code)
			}
			if c, err := net.Dial("tcp", strings.TrimPrefix(root, "http://")); err == nil {
				c.Close()
				t.Error("the port is still open")
			}
		})
	}
}

func TestUISaysWhyThereIsNoPage(t *testing.T) {
	run(t, "ui", "--socket", filepath.Join(t.TempDir(), "agent.sock")).want(t, exitError, "there is no such socket")
	run(t, "ui", "--port", "70000").want(t, exitUsage, "port")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	needOVS(t)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	run(t, "ui", "--socket", agent(t, "guarded-database"), "--port", port).want(t, exitError, "open a port for the page")
}
