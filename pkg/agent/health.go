package agent

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-cni/sluice/pkg/enforce"
)

// healthTime bounds a health check: an enforcer that does not answer by then is
// stuck.
const healthTime = 5 * time.Second

// healthMux serves /healthz (the loop turns), /readyz (pods can be attached) and
// /metrics.
func (a *Agent) healthMux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", probe(func(ctx context.Context) error { return a.enforcer.Look(ctx, func(enforce.View) {}) }))
	mux.Handle("GET /readyz", probe(a.ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.Gatherer(), promhttp.HandlerOpts{}))
	return mux
}

func probe(check func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTime)
		defer cancel()
		if err := check(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
}

// restConfig returns how to reach the API server: by a kubeconfig, or as a pod.
func restConfig(kubeconfig string) (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}
