package ui

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// questions are what the page asks, below /v1/. All of them read only.
var questions = []string{
	"pipeline", "status", "ports", "policies", "rules", "identities", "nodes", "watch", "watch/status",
}

// Guard lets browsers of this machine read: the page, what it asks, and traces.
// It refuses all else, and what another site has made a browser ask:
//
//   - a Host that is not of this machine, which is how a name that another site
//     points here would arrive (DNS rebinding);
//   - questions that the browser says come from elsewhere (Sec-Fetch-Site), and
//     traces from another Origin.
func Guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		switch {
		case !ofThisMachine(r.Host):
			refuse(w, http.StatusForbidden, "the page is served to this machine only, and not as "+r.Host)
		case !reads(r):
			refuse(w, http.StatusNotFound, "the page does not ask this")
		case origins.Check(r) != nil, strings.HasPrefix(r.URL.Path, "/v1/") && foreign(r):
			refuse(w, http.StatusForbidden, "another site asks")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// reads reports whether a request only asks.
func reads(r *http.Request) bool {
	p := r.URL.Path
	if r.Method == http.MethodPost {
		return p == "/v1/trace"
	}
	if p == "/" {
		return r.Method == http.MethodGet // leads to the page
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || path.Clean(p) != strings.TrimSuffix(p, "/") {
		return false
	}
	question, ok := strings.CutPrefix(p, "/v1/")
	return ok && slices.Contains(questions, question) || strings.HasPrefix(p, Prefix)
}

// foreign reports whether a browser says that another site asks: neither the page
// nor a person who has written the address. Programs that are no browsers say
// nothing.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// ofThisMachine reports whether a Host header names a loopback address.
func ofThisMachine(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback()
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Who has gone away gets no answer.
	_ = json.NewEncoder(w).Encode(api.Error{Message: why})
}
