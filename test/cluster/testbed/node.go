package testbed

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sluice-cni/sluice/test/cache"
	"github.com/sluice-cni/sluice/test/cluster/daemon"
	"github.com/sluice-cni/sluice/test/cluster/node"
	"github.com/sluice-cni/sluice/test/controlplane"
)

// NodeCommand is the subcommand of the cluster command that is a node's first
// process. Its argument is the file of the node's configuration.
const NodeCommand = "node"

// pauseImage is the image of pods' first containers.
const pauseImage = "registry.k8s.io/pause:3.10.1"

// nodeConfigDir is where the node's daemons find their files, in the node.
const nodeConfigDir = "/etc/kubernetes"

// startNode starts a node. It comes up by itself.
func (c *Cluster) startNode(n Node) error {
	config, err := c.nodeConfig(n)
	if err != nil {
		return fmt.Errorf("configure %s: %w", n.Name, err)
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	file := c.Path("nodes", n.Name, "node.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	// It holds keys.
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	cgroups, err := c.makeCgroups(n.Name)
	if err != nil {
		return fmt.Errorf("make the cgroups of %s: %w", n.Name, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return daemon.Start(c.Path("daemons"), daemon.Spec{
		Name: n.Name, Args: []string{self, NodeCommand, file}, Log: c.Log(n.Name),
		Netns: c.netnsPath(n.Name), Cgroups: cgroups,
		Clone: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	})
}

// nodeConfig returns all that a node is told.
func (c *Cluster) nodeConfig(n Node) (*node.Config, error) {
	shared, err := cache.Path()
	if err != nil {
		return nil, err
	}
	plugins, err := cache.Path("cluster", "cni")
	if err != nil {
		return nil, err
	}
	files, err := c.nodeFiles(n)
	if err != nil {
		return nil, err
	}
	daemons, err := c.nodeDaemons(n)
	if err != nil {
		return nil, err
	}
	var underlay *node.Underlay
	if c.Options.HostOVS {
		underlay = &node.Underlay{
			Bridge: "br-uplink", Link: uplink, Addrs: n.Addrs, Routers: addrs(c.Plan.Subnets[n.Subnet].Router),
		}
	}
	return &node.Config{
		Underlay: underlay,
		Name:     n.Name, Dir: c.Path("nodes", n.Name), Share: []string{shared, c.Options.Dir}, Logs: c.Path("log"),
		Plugins: plugins, Images: c.archives, Pause: pauseImage,
		Files: files, Daemons: daemons,
	}, nil
}

// nodeDaemons are the node's daemons besides containerd.
func (c *Cluster) nodeDaemons(n Node) ([]node.Daemon, error) {
	kubelet, err := controlplane.Lookup("kubelet")
	if err != nil {
		return nil, err
	}
	var ips []string
	for _, a := range addrs(n.Addrs) {
		ips = append(ips, a.String())
	}
	daemons := []node.Daemon{{Name: "kubelet", Args: []string{
		kubelet, "--config=" + nodeConfigDir + "/kubelet.json", "--kubeconfig=" + nodeConfigDir + "/kubelet.kubeconfig",
		"--hostname-override=" + n.Name, "--node-ip=" + strings.Join(ips, ","), "--v=2",
	}}}
	if c.Options.Proxy {
		proxy, err := controlplane.Lookup("kube-proxy")
		if err != nil {
			return nil, err
		}
		daemons = append(daemons, node.Daemon{Name: "kube-proxy", Args: []string{
			proxy, "--config=" + nodeConfigDir + "/proxy.json", "--v=2",
		}})
	}
	return daemons, nil
}

// nodeFiles are the files of the node's daemons, by their path in the node.
func (c *Cluster) nodeFiles(n Node) (map[string]string, error) {
	serving, err := c.plane.CA().Server(n.Name, []string{n.Name}, addrs(n.Addrs)...)
	if err != nil {
		return nil, err
	}
	kubeconfig := c.Path("nodes", n.Name, "kubelet.kubeconfig")
	if err := os.MkdirAll(filepath.Dir(kubeconfig), 0o755); err != nil {
		return nil, err
	}
	if err := c.writeKubeconfig(kubeconfig, "system:node:"+n.Name, "system:nodes"); err != nil {
		return nil, err
	}
	files := map[string]string{
		"kubelet.crt": string(serving.Cert),
		"kubelet.key": string(serving.Key),
		"resolv.conf": "nameserver " + c.Plan.DNS[0].String() + "\n",
	}
	for name, from := range map[string]string{
		"ca.crt": c.Path(Control, controlplane.CACert), "kubelet.kubeconfig": kubeconfig,
		"proxy.kubeconfig": c.Path(Control, "kube-proxy.kubeconfig"),
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	// JSON is YAML.
	for name, config := range map[string]map[string]any{"kubelet.json": c.kubeletConfig(n), "proxy.json": c.proxyConfig(n)} {
		text, err := json.MarshalIndent(config, "", "  ")
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	placed := make(map[string]string, len(files))
	for name, content := range files {
		placed[filepath.Join(nodeConfigDir, name)] = content
	}
	// The machine's own names are not the node's.
	placed["/etc/hosts"] = "127.0.0.1 localhost\n::1 localhost\n" + n.Addrs[0].Addr().String() + " " + n.Name + "\n"
	placed["/etc/resolv.conf"] = files["resolv.conf"]
	return placed, nil
}

// kubeletConfig is a KubeletConfiguration, kubelet.config.k8s.io/v1beta1.
func (c *Cluster) kubeletConfig(n Node) map[string]any {
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": nodeConfigDir + "/ca.crt"},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              nodeConfigDir + "/kubelet.crt",
		"tlsPrivateKeyFile":        nodeConfigDir + "/kubelet.key",
		"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               c.nodeCgroup(n.Name),
		"failCgroupV1":             false,
		"failSwapOn":               false,
		// Otherwise it would set them, and they are the machine's.
		"protectKernelDefaults": true,
		"clusterDomain":         "cluster.local",
		"clusterDNS":            strs(c.Plan.DNS),
		"resolvConf":            nodeConfigDir + "/resolv.conf",
		// A node's disk is the machine's, and how full that is, is not its concern.
		"evictionHard": map[string]any{
			"nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%", "memory.available": "100Mi",
		},
		// An image that has been collected can't be pulled again.
		"imageGCHighThresholdPercent": 100,
		"imageMaximumGCAge":           "0s",
		"nodeStatusUpdateFrequency":   "5s",
		"serializeImagePulls":         false,
		"volumePluginDir":             "/var/lib/kubelet/volumeplugins",
	}
}

// proxyConfig is a KubeProxyConfiguration, kubeproxy.config.k8s.io/v1alpha1.
func (c *Cluster) proxyConfig(n Node) map[string]any {
	return map[string]any{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"mode":             "nftables",
		"clientConnection": map[string]any{"kubeconfig": nodeConfigDir + "/proxy.kubeconfig"},
		"clusterCIDR":      controlplane.Join(c.Plan.Pods),
		"hostnameOverride": n.Name,
		// The sizes of conntrack's tables are the machine's.
		"conntrack": map[string]any{
			"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
		},
	}
}

func strs(addrs []netip.Addr) []string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
	}
	return list
}
