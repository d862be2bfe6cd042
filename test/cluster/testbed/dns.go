package testbed

import (
	"context"
	_ "embed"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

//go:embed dns.yaml
var dnsManifest string

// installDNS runs the cluster's DNS and waits until it answers.
func (c *Cluster) installDNS(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	addrs, err := json.Marshal(strs(c.Plan.DNS))
	if err != nil {
		return err
	}
	policy := corev1.IPFamilyPolicySingleStack
	if len(c.Plan.DNS) > 1 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	manifest := strings.NewReplacer(
		"$CLUSTER_IPS", string(addrs), "$CLUSTER_IP", c.Plan.DNS[0].String(), "$FAMILIES", string(policy),
	).Replace(dnsManifest)
	if err := c.kubectl(ctx, []byte(manifest), "apply", "-f", "-"); err != nil {
		return err
	}
	return c.waitAvailable(ctx, client, "kube-system", "coredns")
}
