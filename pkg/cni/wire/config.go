package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"
)

// Defaults and limits of the configuration.
const (
	DefaultSocket = "/run/sluice/agent.sock"
	// DefaultTimeout ends a request well before the kubelet's own two minutes, so
	// that the kubelet sees what was wrong instead of its own deadline.
	DefaultTimeout = 30 * time.Second
	MinTimeout     = time.Second
	MaxTimeout     = 5 * time.Minute

	maxName   = 253 // characters of a network name, as of a Kubernetes object
	maxSocket = 107 // bytes of sockaddr_un.sun_path without its terminator, unix(7)
	maxMTU    = 65535
	minMTU    = 1280 // the least an IPv6 link can have, RFC 8200 section 5
)

// Config is the plugin configuration: the keys that Sluice uses. The CNI
// specification lets runtimes and other tools add keys; they are ignored.
type Config struct {
	CNIVersion string
	// Name is the network's name; GC is about the attachments made under it.
	Name string
	// Socket is the path of the agent's socket.
	Socket string
	// Timeout bounds one request to the agent.
	Timeout time.Duration
	// MTU of the pod's interface in bytes, or 0 for the agent's choice.
	MTU int
	DNS types.DNS
	// prevResult is kept as it is until somebody needs it: a result that other
	// plugins have spoilt must not be in the way of DEL.
	prevResult map[string]json.RawMessage
	// Valid are the attachments that GC keeps; HasValid tells an empty list, which
	// means that none is valid, from an absent one.
	Valid    []types.GCAttachment
	HasValid bool
}

// ParseConfig reads and checks a plugin configuration. Its errors are
// *types.Error with a code of the CNI specification and name the field.
func ParseConfig(data []byte) (*Config, error) {
	if len(data) > MaxBody {
		return nil, types.NewError(types.ErrInvalidNetworkConfig,
			fmt.Sprintf("network configuration has %d bytes, at most %d are allowed", len(data), MaxBody), "")
	}
	// Fields decode one by one, so that an error can name the one it is about.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "network configuration is not a JSON object", err.Error())
	}
	if fields == nil {
		return nil, types.NewError(types.ErrDecodingFailure, "network configuration is not a JSON object", "it is null")
	}
	c := &Config{Socket: DefaultSocket, Timeout: DefaultTimeout}
	p := parser{fields: fields}
	p.version(c)
	p.name(c)
	p.socket(c)
	p.timeout(c)
	p.mtu(c)
	p.decode("dns", &c.DNS)
	p.unsupported()
	p.decode("prevResult", &c.prevResult)
	p.valid(c)
	if p.err != nil {
		return nil, p.err
	}
	return c, nil
}

// PrevResult returns the result of the plugins before, or for CHECK that of ADD.
// That there is none is an error.
func (c *Config) PrevResult() (types.Result, error) {
	p := parser{}
	if c.prevResult == nil {
		p.invalid("prevResult", "is missing")
		return nil, p.err
	}
	// A stored result may lack its version; it has then that of the configuration.
	object := maps.Clone(c.prevResult)
	object["cniVersion"] = json.RawMessage(strconv.Quote(c.CNIVersion))
	raw, err := json.Marshal(object)
	if err == nil {
		var result types.Result
		if result, err = version.NewResult(c.CNIVersion, raw); err == nil {
			return result, nil
		}
	}
	p.fail(types.ErrDecodingFailure, "prevResult", "%v", err)
	return nil, p.err
}

// parser decodes the fields of a configuration and keeps its first error.
type parser struct {
	fields map[string]json.RawMessage
	err    *types.Error
}

func (p *parser) fail(code uint, field, format string, args ...any) {
	if p.err == nil {
		p.err = types.NewError(code, "network configuration: "+field+": "+fmt.Sprintf(format, args...), "")
	}
}

func (p *parser) invalid(field, format string, args ...any) {
	p.fail(types.ErrInvalidNetworkConfig, field, format, args...)
}

// decode reads a field and reports whether it is there.
func (p *parser) decode(field string, into any) bool {
	raw, ok := p.fields[field]
	if !ok || string(raw) == "null" || p.err != nil {
		return false
	}
	if err := json.Unmarshal(raw, into); err != nil {
		reason := err.Error()
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			reason = fmt.Sprintf("is a %s where a %s is expected", wrong.Value, wrong.Type)
		}
		p.fail(types.ErrDecodingFailure, field, "%s", reason)
		return false
	}
	return true
}

func (p *parser) version(c *Config) {
	// Configurations older than the key are of version 0.1.0, as in the library.
	c.CNIVersion = "0.1.0"
	supported := version.All.SupportedVersions()
	if p.decode("cniVersion", &c.CNIVersion) && !slices.Contains(supported, c.CNIVersion) {
		p.fail(types.ErrIncompatibleCNIVersion, "cniVersion", "%q is not supported, only %s are",
			c.CNIVersion, strings.Join(supported, ", "))
	}
}

func (p *parser) name(c *Config) {
	if !p.decode("name", &c.Name) || c.Name == "" {
		p.invalid("name", "is missing")
		return
	}
	if len(c.Name) > maxName {
		p.invalid("name", "has %d characters, at most %d are allowed", len(c.Name), maxName)
		return
	}
	if err := utils.ValidateNetworkName(c.Name); err != nil {
		p.invalid("name", "%q has characters other than letters, digits, '_', '.' and '-', or begins with none of the first two", c.Name)
	}
}

func (p *parser) socket(c *Config) {
	if !p.decode("socket", &c.Socket) {
		return
	}
	switch {
	case !filepath.IsAbs(c.Socket):
		p.invalid("socket", "%q is not an absolute path", c.Socket)
	case len(c.Socket) > maxSocket:
		p.invalid("socket", "has %d bytes, a unix socket path has at most %d", len(c.Socket), maxSocket)
	case strings.ContainsRune(c.Socket, 0):
		p.invalid("socket", "contains a zero byte")
	}
}

func (p *parser) timeout(c *Config) {
	var text string
	if !p.decode("requestTimeout", &text) {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.invalid("requestTimeout", `%q is not a duration such as "30s"`, text)
		return
	}
	if d < MinTimeout || d > MaxTimeout {
		p.invalid("requestTimeout", "%s is not between %s and %s", d, MinTimeout, MaxTimeout)
		return
	}
	c.Timeout = d
}

func (p *parser) mtu(c *Config) {
	if p.decode("mtu", &c.MTU) && c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU) {
		p.invalid("mtu", "%d is not between %d and %d, or 0 for the agent's choice", c.MTU, minMTU, maxMTU)
	}
}

// unsupported refuses keys whose silent neglect would surprise whoever set them.
func (p *parser) unsupported() {
	var ipam struct {
		Type string `json:"type"`
	}
	if p.decode("ipam", &ipam) && ipam.Type != "" {
		p.fail(types.ErrUnsupportedField, "ipam.type", "%q is not supported: Sluice assigns addresses of the node's podCIDRs itself", ipam.Type)
	}
	var masquerade bool
	if p.decode("ipMasq", &masquerade) && masquerade {
		p.fail(types.ErrUnsupportedField, "ipMasq", "true is not supported: the agent masquerades by itself")
	}
	var object map[string]json.RawMessage
	p.decode("runtimeConfig", &object)
}

func (p *parser) valid(c *Config) {
	const field = "cni.dev/valid-attachments"
	_, c.HasValid = p.fields[field]
	if !p.decode(field, &c.Valid) {
		return
	}
	for i, a := range c.Valid {
		if a.ContainerID == "" || a.IfName == "" {
			p.invalid(fmt.Sprintf("%s[%d]", field, i), "lacks its containerID or ifname")
			return
		}
	}
}
