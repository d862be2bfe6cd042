package bed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// network is the name of the CNI network.
const network = "sluice"

// ifName is the name of a pod's interface.
const ifName = "eth0"

// plugin is the container runtime's side of CNI.
type plugin struct {
	lib  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

func newPlugin(b *Bed) (*plugin, error) {
	conf := map[string]any{"type": "sluice-cni", "socket": b.Socket()}
	if b.opts.RequestTimeout != "" {
		conf["requestTimeout"] = b.opts.RequestTimeout
	}
	text, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": network, "plugins": []any{conf}})
	if err != nil {
		return nil, err
	}
	list, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		return nil, fmt.Errorf("make the CNI configuration: %w", err)
	}
	exec := &nodeExec{RawExec: &invoke.RawExec{}, node: b.Node.Netns}
	return &plugin{lib: libcni.NewCNIConfigWithCacheDir([]string{b.bin}, b.path("cni"), exec), list: list}, nil
}

// nodeExec runs plugins in the node's network namespace.
type nodeExec struct {
	*invoke.RawExec
	version.PluginDecoder
	node *Netns
}

// ExecPlugin implements invoke.Exec.
func (e *nodeExec) ExecPlugin(ctx context.Context, path string, stdin []byte, env []string) (out []byte, err error) {
	// Two kinds of errors: libcni reads the type of the plugin's own.
	if failed := e.node.Do(func() error {
		out, err = e.RawExec.ExecPlugin(ctx, path, stdin, env)
		return nil
	}); failed != nil {
		return nil, failed
	}
	return out, err
}

func (p *Pod) runtimeConf() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: p.ContainerID, NetNS: p.Netns.Path(), IfName: ifName,
		Args: [][2]string{
			{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", p.Namespace}, {"K8S_POD_NAME", p.PodName},
			{"K8S_POD_INFRA_CONTAINER_ID", p.ContainerID}, {"K8S_POD_UID", p.UID},
		},
	}
}

// Status runs the CNI command STATUS.
func (b *Bed) Status(ctx context.Context) error {
	return cniError("STATUS", b.cni.lib.GetStatusNetworkList(ctx, b.cni.list))
}

// GC runs the CNI command GC, which detaches every pod but the given ones.
func (b *Bed) GC(ctx context.Context, valid ...*Pod) error {
	args := &libcni.GCArgs{}
	for _, p := range valid {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: p.ContainerID, IfName: ifName})
	}
	return cniError("GC", b.cni.lib.GCNetworkList(ctx, b.cni.list, args))
}

// Add runs the CNI command ADD for the pod, and sets its addresses.
func (p *Pod) Add(ctx context.Context) error {
	result, err := p.bed.cni.lib.AddNetworkList(ctx, p.bed.cni.list, p.runtimeConf())
	if err != nil {
		return cniError("ADD of pod "+p.Name, err)
	}
	current, err := types100.NewResultFromResult(result)
	if err != nil {
		return cniError("ADD of pod "+p.Name, err)
	}
	p.Addrs = nil
	for _, ip := range current.IPs {
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return cniError("ADD of pod "+p.Name, fmt.Errorf("address %v of the result is none", ip.Address))
		}
		p.Addrs = append(p.Addrs, a.Unmap())
	}
	return nil
}

// Check runs the CNI command CHECK for the pod.
func (p *Pod) Check(ctx context.Context) error {
	return cniError("CHECK of pod "+p.Name, p.bed.cni.lib.CheckNetworkList(ctx, p.bed.cni.list, p.runtimeConf()))
}

// Del runs the CNI command DEL for the pod; its network namespace stays.
func (p *Pod) Del(ctx context.Context) error {
	return cniError("DEL of pod "+p.Name, p.bed.cni.lib.DelNetworkList(ctx, p.bed.cni.list, p.runtimeConf()))
}

// cniError names the command; the plugin's own error can be had with errors.As
// as *types.Error.
func cniError(what string, err error) error {
	if err == nil {
		return nil
	}
	var own *types.Error
	if errors.As(err, &own) {
		return fmt.Errorf("CNI %s: code %d: %w", what, own.Code, err)
	}
	return fmt.Errorf("CNI %s: %w", what, err)
}
