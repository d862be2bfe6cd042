package ui

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

// guarded answers as a node does: the page, and anything below /v1/.
func guarded() http.Handler {
	mux := http.NewServeMux()
	Register(mux)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("answered")) })
	mux.HandleFunc("/cni/", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("attached")) })
	return Guard(mux)
}

func ask(h http.Handler, method, target, host string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestOnlyReadersOfThisMachineAreAnswered(t *testing.T) {
	const here = "127.0.0.1:10352"
	for name, c := range map[string]struct {
		method, target, host string
		headers              []string
		want                 int
	}{
		"page":                            {"GET", "/ui/", here, nil, 200},
		"root":                            {"GET", "/", here, nil, 302},
		"question":                        {"GET", "/v1/ports", here, nil, 200},
		"question of the page":            {"GET", "/v1/watch", here, []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"trace":                           {"POST", "/v1/trace", here, []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"by name":                         {"GET", "/v1/ports", "localhost:10352", nil, 200},
		"by IPv6":                         {"GET", "/v1/ports", "[::1]:10352", nil, 200},
		"question written by hand":        {"GET", "/v1/ports", here, []string{"Sec-Fetch-Site", "none"}, 200},
		"address written by hand":         {"GET", "/ui/", here, []string{"Sec-Fetch-Site", "none"}, 200},
		"link of another site":            {"GET", "/ui/", here, []string{"Sec-Fetch-Site", "cross-site"}, 200},
		"name that is made to lead here":  {"GET", "/v1/ports", "evil.example:10352", nil, 403},
		"host that begins like this one":  {"GET", "/ui/", "127.0.0.1.evil.example", nil, 403},
		"no host":                         {"GET", "/ui/", "", nil, 403},
		"address of another":              {"GET", "/ui/", "192.0.2.1:10352", nil, 403},
		"question of another site":        {"GET", "/v1/ports", here, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"question of another port":        {"GET", "/v1/ports", here, []string{"Sec-Fetch-Site", "same-site"}, 403},
		"trace of another site":           {"POST", "/v1/trace", here, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"trace of another origin":         {"POST", "/v1/trace", here, []string{"Origin", "http://127.0.0.1:9999"}, 403},
		"what attaches pods":              {"POST", "/cni/add", here, nil, 404},
		"what the page does not ask":      {"GET", "/v1/flows", here, nil, 404},
		"change":                          {"DELETE", "/v1/ports", here, nil, 404},
		"trace that is none":              {"GET", "/v1/trace", here, nil, 404},
		"way around":                      {"GET", "/ui/../cni/add", here, nil, 404},
		"way around, written differently": {"GET", "/ui/%2e%2e/cni/add", here, nil, 404},
	} {
		if w := ask(guarded(), c.method, c.target, c.host, c.headers...); w.Code != c.want {
			t.Errorf("%s: %s %s is answered with %d %q, want %d", name, c.method, c.target, w.Code, w.Body, c.want)
		} else if w.Header().Get("Cross-Origin-Resource-Policy") != "same-origin" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: another site may use the answer: %v", name, w.Header())
		}
	}
}

func TestThePageIsBehindItsToken(t *testing.T) {
	const here = "127.0.0.1:4000"
	d := Behind(guarded())
	question := strings.Replace(d.Path(), Prefix, "/v1/ports", 1)
	if w := ask(d, "GET", d.Path(), here); w.Code != 200 || !strings.Contains(w.Body.String(), "<title>Sluice") {
		t.Errorf("the page is answered with %d", w.Code)
	}
	if w := ask(d, "GET", question, here); w.Body.String() != "answered" {
		t.Errorf("its questions are answered with %d %s", w.Code, w.Body)
	}
	for _, p := range []string{"/", "/ui/", "/v1/ports", "/AAAA/ui/", d.Path()[1:5] + "/ui/"} {
		if w := ask(d, "GET", "/"+strings.TrimPrefix(p, "/"), here); w.Code != 404 {
			t.Errorf("%s is answered with %d", p, w.Code)
		}
	}
	if w := ask(d, "GET", question, "evil.example"); w.Code != 403 {
		t.Errorf("a host elsewhere is answered with %d", w.Code)
	}
	if w := ask(d, "GET", d.Ticket(), here); w.Header().Get("Location") != d.Path() {
		t.Errorf("the ticket leads to %q", w.Header().Get("Location"))
	}
	if w := ask(d, "GET", d.Ticket(), here); w.Code != 404 {
		t.Errorf("the ticket used twice is answered with %d", w.Code)
	}
	if other := Behind(guarded()); other.Path() == d.Path() {
		t.Error("two runs have the same token")
	}
}

var (
	externalRE = regexp.MustCompile(`(?:https?:)?//[a-z0-9]`)
	markupRE   = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTML|srcdoc`)
	inlineRE   = regexp.MustCompile(`<script>|<style|\sstyle=|\son[a-z]+=`)
	importRE   = regexp.MustCompile(`from "\./([^"]+)"`)
	spaces     = []string{"http://www.w3.org/2000/svg"}
)

// The page needs nothing of others, runs nothing inline, and makes no markup of
// what it is told.
func TestThePageStandsAlone(t *testing.T) {
	err := fs.WalkDir(embedded, "page", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(embedded, file)
		text := string(data)
		for _, s := range spaces {
			text = strings.ReplaceAll(text, s, "")
		}
		for what, re := range map[string]*regexp.Regexp{"leads elsewhere": externalRE, "makes markup": markupRE} {
			if m := re.FindString(text); m != "" {
				t.Errorf("%s %s: %s", file, what, m)
			}
		}
		if path.Ext(file) == ".html" && inlineRE.MatchString(text) {
			t.Errorf("%s has something inline: %s", file, inlineRE.FindString(text))
		}
		for _, m := range importRE.FindAllStringSubmatch(text, -1) {
			if _, err := fs.Stat(embedded, "page/"+m[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		w := ask(guarded(), "GET", Prefix+strings.TrimPrefix(strings.TrimSuffix(file, "index.html"), "page/"), "localhost")
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s is served with %d %v", file, w.Code, w.Header())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
