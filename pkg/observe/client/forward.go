package client

import (
	"encoding/json"
	"net/http"
	"net/http/httputil"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Forward returns a handler that hands requests on to the agent, whatever they
// ask, and streams as they come. What may be asked is for the caller to say.
func (c *Client) Forward() http.Handler {
	return &httputil.ReverseProxy{
		Transport: c.http.Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "agent", "agent"
			// Whom a browser came from is not the agent's business.
			for _, name := range []string{"Origin", "Referer", "Cookie", "Authorization"} {
				r.Out.Header.Del(name)
			}
		},
		FlushInterval: -1, // at once
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // who asked has gone away
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			_ = json.NewEncoder(w).Encode(api.Error{Message: "ask the agent at " + c.socket + ": " + err.Error()})
		},
	}
}
