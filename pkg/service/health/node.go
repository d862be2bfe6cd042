package health

import (
	"net/http"
	"time"
)

// nodeReport is the body of the node's own answers.
type nodeReport struct {
	LastUpdated  time.Time `json:"lastUpdated"`
	CurrentTime  time.Time `json:"currentTime"`
	NodeEligible *bool     `json:"nodeEligible,omitempty"`
}

// ofNode answers /healthz with 200 if this node balances Services and stays, else
// 503, and /livez whether it leaves or not: connections that it has go on.
func (o *Options) ofNode() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		stays := !o.Leaving()
		o.answerOfNode(w, stays, &stays)
	})
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { o.answerOfNode(w, true, nil) })
	return mux
}

func (o *Options) answerOfNode(w http.ResponseWriter, well bool, eligible *bool) {
	now := time.Now().UTC()
	// The bridge is looked at just now.
	reply(w, well && o.Healthy(), nodeReport{LastUpdated: now, CurrentTime: now, NodeEligible: eligible})
}
