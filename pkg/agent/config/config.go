// Package config is the agent's configuration: a file of kind
// AgentConfiguration, and flags that override it.
package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // the format "json"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/pkg/nodes"
)

// APIVersion and Kind head a configuration file.
const (
	APIVersion = "agent.sluice.dev/v1alpha1"
	Kind       = "AgentConfiguration"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Config is the agent's configuration.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// NodeName is the name of this node's Node object; the host name if empty.
	NodeName string `json:"nodeName,omitempty"`
	// Kubeconfig is the path of a kubeconfig. Without one and without Manifests
	// the agent uses the service account of its pod.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Manifests is a folder of manifests to follow instead of an API server.
	Manifests string `json:"manifests,omitempty"`

	// OVSDB is the connection method of the Open_vSwitch database (ovsdb(7)).
	OVSDB string `json:"ovsdb,omitempty"`
	// OVSRunDir is the folder of ovs-vswitchd's pid file and sockets.
	OVSRunDir string `json:"ovsRunDir,omitempty"`
	// OpenFlow is how the bridge is spoken to: "native", over a connection that
	// stays open, or "ofctl", by running ovs-ofctl.
	OpenFlow string `json:"openflow,omitempty"`
	// Bridge is the name of the bridge that the agent owns.
	Bridge string `json:"bridge,omitempty"`
	// Gateway is the name of the bridge's port to the node's network stack.
	Gateway string `json:"gateway,omitempty"`
	// Datapath is "system", "netdev", or "auto": what the bridge has, else system
	// where the kernel has the openvswitch module, else netdev.
	Datapath string `json:"datapath,omitempty"`

	// PodCIDRs are the node's pod ranges, at most one of each family. Empty means
	// those of the Node object.
	PodCIDRs []string `json:"podCIDRs,omitempty"`
	// Mode is how packets get from node to node: "encap", "noEncap" or "hybrid".
	Mode nodes.Mode `json:"mode,omitempty"`
	// Tunnel is the type of the tunnel between nodes, "geneve" or "vxlan". With mode
	// noEncap there is none.
	Tunnel string `json:"tunnel,omitempty"`
	// MTU of the pods' interfaces, in bytes; zero means that of the uplink less what
	// the tunnel takes.
	MTU int `json:"mtu,omitempty"`

	// Services is who balances Services: "sluice", on the bridge, or "kube-proxy",
	// which stands for whoever does it in the node's kernel.
	Services string `json:"services,omitempty"`
	// ServiceCIDRs are ranges that the cluster takes ClusterIPs from, besides those of
	// ServiceCIDR objects. Connections to addresses of theirs that no Service has are
	// refused, and the kernel has one route for each. Where there are none of either,
	// each address is led to the bridge by itself.
	ServiceCIDRs []string `json:"serviceCIDRs,omitempty"`

	// ServiceHealthPort is the port, of all addresses of the node, where load balancers
	// ask at /healthz whether this node balances Services, as they ask kube-proxy. Zero
	// is none. It counts with services "sluice" only.
	ServiceHealthPort int `json:"serviceHealthPort,omitempty"`

	// Network is the "name" of the CNI configuration that is served.
	Network string `json:"network,omitempty"`
	// CNIConfDir and CNIBinDir are the container runtime's folders of network
	// configurations and of plugins, as the agent sees them.
	CNIConfDir string `json:"cniConfDir,omitempty"`
	CNIBinDir  string `json:"cniBinDir,omitempty"`
	// Socket is the path of the unix socket for the CNI plugin and the CLI.
	Socket string `json:"socket,omitempty"`
	// StatsFile keeps the statistics over restarts of the agent; empty means
	// "stats.json" beside the socket.
	StatsFile string `json:"statsFile,omitempty"`
	// RuleMetrics shows the statistics of each rule on /metrics: as many series as
	// there are rules on the node.
	RuleMetrics bool `json:"ruleMetrics,omitempty"`
	// HealthAddress is where /healthz, /readyz and /metrics are served, "host:port";
	// empty serves none.
	HealthAddress string `json:"healthAddress,omitempty"`
	// UIAddress is where the page is served to every user of the node, "host:port"
	// of a loopback address; empty serves it on the socket only, where `sluice ui`
	// finds it.
	UIAddress string `json:"uiAddress,omitempty"`

	// AuditLog keeps the verdicts that are told of.
	AuditLog AuditLog `json:"auditLog,omitempty"`

	// Logging is the format and verbosity of logs.
	Logging logsapi.LoggingConfiguration `json:"logging,omitempty"`
}

// AuditLog says which verdicts are kept in a file, as lines of JSON.
type AuditLog struct {
	// Path is an absolute path; empty keeps none.
	Path string `json:"path,omitempty"`
	// MaxSizeMB is the size at which a new file is begun, in megabytes, MaxFiles how
	// many older ones are kept.
	MaxSizeMB int `json:"maxSizeMB,omitempty"`
	MaxFiles  int `json:"maxFiles,omitempty"`
	// Allowed keeps connections that are allowed, too.
	Allowed bool `json:"allowed,omitempty"`
}

// Default returns the configuration that holds where nothing is said.
func Default() *Config {
	c := &Config{
		APIVersion: APIVersion, Kind: Kind,
		OVSDB: "unix:/var/run/openvswitch/db.sock", OVSRunDir: "/var/run/openvswitch", OpenFlow: "native",
		Bridge: "br-sluice", Gateway: "sluice0", Datapath: "auto",
		Mode: nodes.Encap, Tunnel: "geneve", Services: "sluice", ServiceHealthPort: 10256,
		Network: "sluice", CNIConfDir: "/etc/cni/net.d", CNIBinDir: "/opt/cni/bin",
		Socket: "/run/sluice/agent.sock", HealthAddress: "127.0.0.1:10351",
		AuditLog: AuditLog{MaxSizeMB: 100, MaxFiles: 5},
	}
	logsapi.SetRecommendedLoggingConfiguration(&c.Logging)
	return c
}

// Load reads a file over the defaults. A field the agent does not know is an
// error.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read configuration %s: larger than %d bytes", path, maxFile)
	}
	c := Default()
	c.APIVersion, c.Kind = "", ""
	if err := yaml.UnmarshalStrict(data, c); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// AddFlags adds the flags that override the file.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.NodeName, "node-name", c.NodeName, "name of this node's Node object (default: the host name)")
	fs.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "kubeconfig of the API server (default: the pod's service account)")
	fs.StringVar(&c.Manifests, "manifests", c.Manifests, "folder of manifests to follow instead of an API server")
	fs.StringVar(&c.OVSDB, "ovsdb", c.OVSDB, "connection method of the Open_vSwitch database")
	fs.StringVar(&c.OVSRunDir, "ovs-run-dir", c.OVSRunDir, "folder of ovs-vswitchd's pid file and sockets")
	fs.StringVar(&c.OpenFlow, "openflow", c.OpenFlow, "how the bridge is spoken to: native, or ofctl to run ovs-ofctl")
	fs.StringVar(&c.Bridge, "bridge", c.Bridge, "name of the bridge the agent owns")
	fs.StringVar(&c.Gateway, "gateway", c.Gateway, "name of the bridge's port to the node's network stack")
	fs.StringVar(&c.Datapath, "datapath", c.Datapath, "datapath of the bridge: auto, system or netdev")
	fs.StringSliceVar(&c.PodCIDRs, "pod-cidrs", c.PodCIDRs, "the node's pod ranges (default: those of the Node object)")
	fs.StringVar((*string)(&c.Mode), "mode", string(c.Mode), "how packets get from node to node: encap, noEncap or hybrid")
	fs.StringVar(&c.Tunnel, "tunnel", c.Tunnel, "type of the tunnel between nodes: geneve or vxlan")
	fs.IntVar(&c.MTU, "mtu", c.MTU, "MTU of the pods' interfaces, in bytes; 0 for what the uplink and the tunnel leave")
	fs.StringVar(&c.Services, "services", c.Services, "who balances Services: sluice or kube-proxy")
	fs.StringSliceVar(&c.ServiceCIDRs, "service-cidrs", c.ServiceCIDRs, "the ranges of ClusterIPs, besides those of ServiceCIDR objects")
	fs.IntVar(&c.ServiceHealthPort, "service-health-port", c.ServiceHealthPort, "port where load balancers ask whether this node balances Services; 0 for none")
	fs.StringVar(&c.Network, "network", c.Network, "name of the CNI network that is served")
	fs.StringVar(&c.CNIConfDir, "cni-conf-dir", c.CNIConfDir, "the container runtime's folder of network configurations")
	fs.StringVar(&c.CNIBinDir, "cni-bin-dir", c.CNIBinDir, "the container runtime's folder of plugins")
	fs.StringVar(&c.Socket, "socket", c.Socket, "unix socket for the CNI plugin and the CLI")
	fs.StringVar(&c.StatsFile, "stats-file", c.StatsFile, "where statistics are kept over restarts (default: stats.json beside the socket)")
	fs.BoolVar(&c.RuleMetrics, "rule-metrics", c.RuleMetrics, "show the statistics of each rule on /metrics")
	fs.StringVar(&c.HealthAddress, "health-address", c.HealthAddress, "where /healthz, /readyz and /metrics are served; empty for nowhere")
	fs.StringVar(&c.AuditLog.Path, "audit-log", c.AuditLog.Path, "file that keeps the verdicts that are told of, as lines of JSON; empty for none")
	fs.IntVar(&c.AuditLog.MaxSizeMB, "audit-log-max-size", c.AuditLog.MaxSizeMB, "size at which a new audit log is begun, in megabytes")
	fs.IntVar(&c.AuditLog.MaxFiles, "audit-log-max-files", c.AuditLog.MaxFiles, "how many older audit logs are kept")
	fs.BoolVar(&c.AuditLog.Allowed, "audit-log-allowed", c.AuditLog.Allowed, "keep connections that are allowed in the audit log, too")
	fs.StringVar(&c.UIAddress, "ui-address", c.UIAddress, "loopback address where the page is served to every user of the node; empty for the socket only")
	logsapi.AddFlags(&c.Logging, fs)
}

// StatsPath is StatsFile, or what it means if it is empty.
func (c *Config) StatsPath() string {
	if c.StatsFile != "" {
		return c.StatsFile
	}
	return filepath.Join(filepath.Dir(c.Socket), "stats.json")
}

// TrafficPath is where the totals of traffic are kept: "traffic.json" beside the
// statistics.
func (c *Config) TrafficPath() string {
	return filepath.Join(filepath.Dir(c.StatsPath()), "traffic.json")
}

// Complete fills in what follows from the machine.
func (c *Config) Complete() error {
	if c.NodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("nodeName: not set, and the host has no name: %w", err)
		}
		c.NodeName = strings.ToLower(name)
	}
	return nil
}

// Validate returns every fault of the configuration, each with its field.
func (c *Config) Validate() error {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if c.APIVersion != APIVersion {
		fault("apiVersion", "%q, want %q", c.APIVersion, APIVersion)
	}
	if c.Kind != Kind {
		fault("kind", "%q, want %q", c.Kind, Kind)
	}
	if c.Kubeconfig != "" && c.Manifests != "" {
		fault("manifests", "can't be set together with kubeconfig")
	}
	if !strings.HasPrefix(c.OVSDB, "unix:") && !strings.HasPrefix(c.OVSDB, "tcp:") {
		fault("ovsdb", "%q is not unix:PATH or tcp:HOST:PORT", c.OVSDB)
	}
	for field, name := range map[string]string{"bridge": c.Bridge, "gateway": c.Gateway} {
		if name == "" || len(name) > 15 || strings.ContainsAny(name, "/ \t\n") {
			fault(field, "%q is not the name of an interface (1 to 15 characters)", name)
		}
	}
	if c.Bridge == c.Gateway {
		fault("gateway", "must not be the bridge's own port %q", c.Bridge)
	}
	if c.OpenFlow != "native" && c.OpenFlow != "ofctl" {
		fault("openflow", "%q is not native or ofctl", c.OpenFlow)
	}
	switch c.Datapath {
	case "auto", "system", "netdev":
	default:
		fault("datapath", "%q is not auto, system or netdev", c.Datapath)
	}
	if _, err := c.Prefixes(); err != nil {
		errs = append(errs, err)
	}
	if !slices.Contains(nodes.Modes, c.Mode) {
		fault("mode", "%q is not encap, noEncap or hybrid", c.Mode)
	}
	if !slices.Contains(nodes.Tunnels, c.Tunnel) {
		fault("tunnel", "%q is not geneve or vxlan", c.Tunnel)
	}
	if c.MTU != 0 && (c.MTU < 1280 || c.MTU > 65535) {
		fault("mtu", "%d is not 0 or in 1280-65535", c.MTU)
	}
	if c.Services != "sluice" && c.Services != "kube-proxy" {
		fault("services", "%q is not sluice or kube-proxy", c.Services)
	}
	if _, err := c.ServicePrefixes(); err != nil {
		errs = append(errs, err)
	}
	if c.ServiceHealthPort < 0 || c.ServiceHealthPort > 65535 {
		fault("serviceHealthPort", "%d is not in 0-65535", c.ServiceHealthPort)
	}
	if c.Network == "" {
		fault("network", "is empty")
	}
	if !filepath.IsAbs(c.Socket) || len(c.Socket) > 107 {
		fault("socket", "%q is not an absolute path of at most 107 bytes", c.Socket)
	}
	if c.StatsFile != "" && !filepath.IsAbs(c.StatsFile) {
		fault("statsFile", "%q is not an absolute path", c.StatsFile)
	}
	if c.HealthAddress != "" {
		if _, _, err := net.SplitHostPort(c.HealthAddress); err != nil {
			fault("healthAddress", "%v", err)
		}
	}
	if a := c.AuditLog; a.Path != "" {
		if !filepath.IsAbs(a.Path) {
			fault("auditLog.path", "%q is not an absolute path", a.Path)
		}
		if a.MaxSizeMB < 1 || a.MaxSizeMB > 100_000 {
			fault("auditLog.maxSizeMB", "%d is not in 1-100000", a.MaxSizeMB)
		}
		if a.MaxFiles < 1 || a.MaxFiles > 1000 {
			fault("auditLog.maxFiles", "%d is not in 1-1000", a.MaxFiles)
		}
	}
	if c.UIAddress != "" {
		if a, err := netip.ParseAddrPort(c.UIAddress); err != nil || !a.Addr().IsLoopback() {
			fault("uiAddress", "%q is not a port of a loopback address, such as 127.0.0.1:10352", c.UIAddress)
		}
	}
	if err := logsapi.Validate(&c.Logging, nil, nil).ToAggregate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Prefixes returns PodCIDRs as prefixes.
func (c *Config) Prefixes() ([]netip.Prefix, error) {
	out, err := prefixes("podCIDRs", c.PodCIDRs)
	if err != nil {
		return nil, err
	}
	seen := map[bool]bool{}
	for i, p := range out {
		if seen[p.Addr().Is4()] {
			return nil, fmt.Errorf("podCIDRs[%d]: %s is the second range of its family", i, p)
		}
		seen[p.Addr().Is4()] = true
	}
	return out, nil
}

// ServicePrefixes returns ServiceCIDRs as prefixes.
func (c *Config) ServicePrefixes() ([]netip.Prefix, error) {
	return prefixes("serviceCIDRs", c.ServiceCIDRs)
}

func prefixes(field string, texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("%s[%d]: %s has bits set outside its mask", field, i, s)
		}
		out = append(out, p)
	}
	return out, nil
}

// Override sets what was given on the command line over what a file says.
func (c *Config) Override(given *pflag.FlagSet) error {
	own := pflag.NewFlagSet("override", pflag.ContinueOnError)
	c.AddFlags(own)
	var errs []error
	given.Visit(func(f *pflag.Flag) {
		if own.Lookup(f.Name) == nil {
			return // --config itself
		}
		value := f.Value.String()
		if s, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(s.GetSlice(), ",")
		}
		if err := own.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", f.Name, err))
		}
	})
	return errors.Join(errs...)
}
