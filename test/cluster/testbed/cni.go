package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/controlplane"
)

// installCNI installs what networks pods. The API server, which in other clusters
// is on a node, asks pods that serve APIs and those that it is the proxy of: so
// control has routes to pods whatever networks them. It is the router between
// subnets too.
func (c *Cluster) installCNI(ctx context.Context) error {
	ranges, err := c.podRanges(ctx)
	if err != nil {
		return err
	}
	for i := range c.Plan.Nodes {
		if err := c.routePods(Control, i, ranges[i]); err != nil {
			return err
		}
	}
	switch c.Options.CNI {
	case Sluice:
		return c.installSluice(ctx)
	case PTP:
		return c.installPTP(ranges)
	}
	return nil
}

// podRanges returns the ranges of each node's pods.
func (c *Cluster) podRanges(ctx context.Context) ([][]netip.Prefix, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	ranges := make([][]netip.Prefix, len(c.Plan.Nodes))
	for i, n := range c.Plan.Nodes {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		for _, text := range node.Spec.PodCIDRs {
			cidr, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("read the pod ranges of %s: %w", n.Name, err)
			}
			ranges[i] = append(ranges[i], cidr)
		}
	}
	return ranges, nil
}

// routePods makes the routes from a network namespace to a node's pods.
func (c *Cluster) routePods(from string, node int, ranges []netip.Prefix) error {
	n := c.Plan.Nodes[node]
	if err := c.Netns(from).Do(func() error { return routes(ranges, addrs(n.Addrs)) }); err != nil {
		return fmt.Errorf("route from %s to pods of %s: %w", from, n.Name, err)
	}
	return nil
}

// installSluice installs Sluice as a user does.
func (c *Cluster) installSluice(ctx context.Context) error {
	if !c.Options.Proxy {
		// The Service "kubernetes" is reached only once Sluice runs, so it is told where
		// the API server is.
		client, err := c.Client()
		if err != nil {
			return err
		}
		server := c.Plan.Subnets[0].Router[0].Addr().String()
		_, err = client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "sluice-api-server"},
			Data: map[string]string{
				"KUBERNETES_SERVICE_HOST": server,
				"KUBERNETES_SERVICE_PORT": strconv.Itoa(controlplane.ServerPort),
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("tell Sluice where the API server is: %w", err)
		}
	}
	manifest, err := os.ReadFile(c.Options.Manifest)
	if err == nil {
		manifest, err = configure(manifest, c.agentFields(), portmap)
	}
	if err != nil {
		return err
	}
	return c.kubectl(ctx, manifest, "apply", "-f", "-")
}

// agentFields are the fields to set in the agent's configuration.
func (c *Cluster) agentFields() map[string]string {
	fields := map[string]string{"services": "sluice"}
	if c.Options.Proxy {
		fields["services"] = "kube-proxy"
	}
	maps.Copy(fields, c.Options.Agent)
	return fields
}

// kubectl runs kubectl as the administrator.
func (c *Cluster) kubectl(ctx context.Context, stdin []byte, args ...string) error {
	path, err := controlplane.Lookup("kubectl")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "KUBECACHEDIR="+c.Path("kubectl-cache"))
	cmd.Stdin = bytes.NewReader(stdin)
	var out []byte
	err = c.Netns(Control).Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// installPTP configures the reference plugins on each node, and makes the routes
// between nodes. Those to another subnet are control's.
func (c *Cluster) installPTP(ranges [][]netip.Prefix) error {
	for i, n := range c.Plan.Nodes {
		if err := c.writePTP(n.Name, ranges[i]); err != nil {
			return fmt.Errorf("configure the plugins of %s: %w", n.Name, err)
		}
		for _, from := range c.neighbours(n) {
			if err := c.routePods(from, i, ranges[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// neighbours are the other nodes of a node's subnet.
func (c *Cluster) neighbours(n Node) []string {
	var names []string
	for _, o := range c.Plan.Nodes {
		if o.Name != n.Name && o.Subnet == n.Subnet {
			names = append(names, o.Name)
		}
	}
	return names
}

// routes adds routes to ranges via the address of their family.
func routes(ranges []netip.Prefix, via []netip.Addr) error {
	for _, to := range ranges {
		for _, addr := range via {
			if addr.Is4() != to.Addr().Is4() {
				continue
			}
			if err := addRoute(to, addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// writePTP writes a node's network configuration, at once: containerd watches the
// folder.
func (c *Cluster) writePTP(name string, ranges []netip.Prefix) error {
	var subnets [][]map[string]string
	var routes []map[string]string
	for _, r := range ranges {
		subnets = append(subnets, []map[string]string{{"subnet": r.String()}})
		routes = append(routes, map[string]string{"dst": netip.PrefixFrom(unspecified(r.Addr()), 0).String()})
	}
	text, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0",
		"name":       "pods",
		"plugins": []any{
			map[string]any{
				"type": "ptp", "mtu": c.Options.MTU,
				"ipam": map[string]any{"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": subnets, "routes": routes},
			},
			portmap,
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	node, err := c.Node(name)
	if err != nil {
		return err
	}
	// The node's root, as its processes see it.
	dir := fmt.Sprintf("/proc/%d/root/etc/cni/net.d", node.PID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp := filepath.Join(dir, "ptp.new")
	if err := os.WriteFile(temp, text, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(dir, "10-ptp.conflist"))
}
