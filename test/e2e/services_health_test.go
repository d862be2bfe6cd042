package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/test/bed"
)

// A load balancer outside of the cluster learns from each node whether to send
// connections there, for a Service that keeps to the node and for all others.
func TestLoadBalancersLearnWhereToSend(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "health"
	n.namespace(t, ns, nil)
	near, far := n.pod(t, ns, "near", nil), n.Outside(partner4)
	local := n.service(t, ns, "local", func(s *corev1.ServiceSpec) {
		s.Type, s.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
	})
	says := func(port int, want int) {
		t.Helper()
		for family, from := range map[int]*bed.Host{4: n.Outside(other4), 6: n.Outside(other6)} {
			url := fmt.Sprintf("http://%s/healthz", netip.AddrPortFrom(n.Node.Addr(family), uint16(port)))
			eventually(t, fmt.Sprintf("%s answers %d", url, want), func(ctx context.Context) error {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err != nil {
					return err
				}
				resp, err := browser(from).Do(req)
				if err != nil {
					return err
				}
				if resp.Body.Close(); resp.StatusCode != want {
					return fmt.Errorf("it answers %s", resp.Status)
				}
				return nil
			})
		}
	}
	says(config.Default().ServiceHealthPort, http.StatusOK)
	check := int(local.Spec.HealthCheckNodePort)
	says(check, http.StatusServiceUnavailable)
	n.serves(t, ns, "local", far, &near.Host)
	says(check, http.StatusOK)
	n.serves(t, ns, "local", far)
	says(check, http.StatusServiceUnavailable)
}
