package support

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/check"
	"github.com/sluice-cni/sluice/pkg/check/verdicts"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Config says what to collect from.
type Config struct {
	Agent    *config.Config
	Enforcer *enforce.Enforcer
	Observer *observe.Observer
	Checker  *check.Checker
	Store    *verdicts.Store
	Bridge   *openflow.Bridge
	// Vswitchd returns the control socket of the ovs-vswitchd that runs now.
	Vswitchd func() (*unixctl.Client, error)
}

// Register mounts POST /v1/support-bundle on a mux, answered by a tar archive
// that is sent as it is made.
func (c Config) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/support-bundle", func(w http.ResponseWriter, r *http.Request) {
		var req api.BundleRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&req); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(api.Error{Message: "request: " + err.Error()})
			return
		}
		parts := c.parts()
		w.Header().Set("Content-Type", "application/x-tar")
		w.Header().Set(api.BundleFiles, strconv.Itoa(len(parts)+1))
		var redact *redactor
		if req.Redact {
			redact = newRedactor(c.Store.Names(), append(c.Store.Addrs(), c.portAddrs(r.Context())...))
			redact.name("node", c.Agent.NodeName)
		}
		// Who has gone away gets no answer, and a stream that breaks off is noticed.
		_ = collect(r.Context(), flushing{w}, c.Agent.NodeName, parts, redact)
	})
}

// portAddrs are the addresses of this node's ports, whose pods the cluster may
// not know.
func (c Config) portAddrs(ctx context.Context) (out []netip.Addr) {
	ports, _ := c.Observer.Ports(ctx) // addresses are replaced all the same
	for _, p := range ports {
		for _, text := range p.Addrs {
			if a, err := netip.ParseAddr(text); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// flushing sends at once what is written.
type flushing struct{ w http.ResponseWriter }

// Write implements io.Writer.
func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}

// Node collects what there is to see of a node without its agent, as a tar
// archive. cfg says where things are; count hears how many files there will be.
func Node(ctx context.Context, out io.Writer, cfg *config.Config, count func(int)) error {
	vswitchd := func() (*unixctl.Client, error) { return find(cfg, "ovs-vswitchd") }
	parts := slices.Concat(versionParts(cfg), ovsParts(cfg, vswitchd), hostParts(cfg))
	count(len(parts) + 1)
	return collect(ctx, out, cfg.NodeName, parts, nil)
}

// parts are all there are, what is looked at first in front.
func (c Config) parts() []part {
	o := c.Observer
	agent := []part{
		{"check.json", "sluice check", asJSON(func(ctx context.Context) (*api.CheckReport, error) {
			return c.Checker.Run(ctx, api.CheckRequest{}, nil)
		})},
		{"status.json", "sluice get status", asJSON(o.Status)},
		{"ports.json", "sluice get ports", asJSON(o.Ports)},
		{"policies.json", "sluice get policies: all of the cluster, with problems", asJSON(o.Policies)},
		{"rules.json", "sluice get rules", asJSON(o.Rules)},
		{"identities.json", "sluice get identities", asJSON(o.Identities)},
		{"nodes.json", "sluice get nodes", asJSON(o.Nodes)},
		{"flows/desired.txt", "the flows that the bridge should hold", c.desired},
		{"flows/actual.txt", "the flows that it holds, with counters", c.actual},
		{"flows/differences.txt", "in what the two differ; empty if in nothing", c.differences},
		{"flows/groups.txt", "the groups that it should hold and those that it holds", c.groups},
		{"agent/config.yaml", "the agent's configuration with defaults and flags; files by their paths only", c.config},
		{"agent/metrics.txt", "/metrics", c.health("metrics")},
		{"agent/readyz.txt", "/readyz", c.health("readyz")},
		{"agent/goroutines.txt", "what the agent is doing", func(_ context.Context, w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 1) }},
	}
	return slices.Concat(agent, versionParts(c.Agent), ovsParts(c.Agent, c.Vswitchd), hostParts(c.Agent))
}

// asJSON makes a part of an answer.
func asJSON[A any](ask func(context.Context) (A, error)) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		a, err := ask(ctx)
		if err != nil {
			return err
		}
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		return out.Encode(a)
	}
}

func (c Config) desired(ctx context.Context, w io.Writer) error {
	list, err := c.Observer.Flows(ctx)
	for _, f := range list {
		if _, err := fmt.Fprintf(w, "%s # %s %s\n", f.Text, f.Table, f.Object); err != nil {
			return err
		}
	}
	return err
}

func (c Config) actual(ctx context.Context, w io.Writer) error {
	return c.Bridge.EachFlow(ctx, openflow.DumpOptions{Stats: true}, func(f *flows.Flow) error {
		_, err := fmt.Fprintf(w, "n_packets=%d,n_bytes=%d,%s # %s %s\n", f.Stats.PacketCount, f.Stats.ByteCount,
			openflow.Text(f), flows.Table(f.Table), flows.Cookie(f.Cookie))
		return err
	})
}

func (c Config) differences(ctx context.Context, w io.Writer) error {
	both, err := c.Enforcer.Compare(ctx)
	if err != nil {
		return err
	}
	for _, d := range check.Differences(both) {
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
	}
	for _, d := range check.GroupDifferences(both) {
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) groups(ctx context.Context, w io.Writer) error {
	both, err := c.Enforcer.Compare(ctx)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name   string
		groups []*openflow.Group
	}{{"desired", both.DesiredGroups}, {"actual", both.ActualGroups}} {
		for _, g := range l.groups {
			if _, err := fmt.Fprintf(w, "%s: %s\n", l.name, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// config has no secrets: what is secret is in files that it names.
func (c Config) config(_ context.Context, w io.Writer) error {
	text, err := yaml.Marshal(c.Agent)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// health asks the agent's own endpoint.
func (c Config) health(what string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		if c.Agent.HealthAddress == "" {
			return fmt.Errorf("healthAddress is empty")
		}
		host, port, err := net.SplitHostPort(c.Agent.HealthAddress)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "localhost"
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/"+what, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := fmt.Fprintln(w, "#", resp.Status); err != nil {
			return err
		}
		_, err = io.Copy(w, resp.Body)
		return err
	}
}

func buildInfo(w io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("the program has no build information")
	}
	_, err := fmt.Fprintln(w, info)
	return err
}
