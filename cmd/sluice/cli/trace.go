package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/observe/across"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// traceFlags are the flags of trace.
type traceFlags struct {
	protocol string
	port     uint16
	family   int
	dir      string
	live     bool
	count    int
	agents   agentFlags
}

func (a *app) newTrace() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace FROM TO [PROTOCOL/PORT]",
		Short: "Follow a connection's first packet through the tables of the bridge",
		Long: `trace asks ovs-vswitchd what it would do with the first packet of a connection,
and says at each table what the packet meets, and behind each verdict the rule and
the policy. No packet is sent.

FROM and TO are pods (NAMESPACE/POD) or addresses. Without a protocol it is TCP;
icmp has no port.

Where the two are on different nodes the agents of both are asked, the second one
about the packet as it arrives there, and what they say is put together. Agents are
found by their sockets (--socket for this node's, --agent NODE=SOCKET), or with
--kubeconfig, --context or as a plugin of kubectl in their pods, by running a command
there: that needs the right to "create" pods/exec in their namespace.

TO may be a Service too, svc:NAMESPACE/NAME:PORT, by the number or the name of its
port. Then, and for an address of a Service, it is said which endpoint was chosen
and what policies make of it. Another connection may get another endpoint.

With --live it follows real packets instead, of new connections and of live ones,
from the moment on: at each table that such a packet crosses the bridge makes a
copy of it, and does with the packet what it does anyway. FROM or TO may then be
- for anybody, and the protocol may be left out. It ends after --count packets or
--timeout. A packet that leaves for another node is followed there too, to whoever
of a Service's endpoints it goes; one that does not arrive there is LOST between the
nodes. With - for TO it is followed on the first node only.

The exit code is 0 if the connection is allowed, 3 if it is denied, 6 if nobody who
was asked denies it, but a node on its way was not asked, and 7 if it was lost.`,
		Example: `  # May the frontend speak to the database?
  sluice trace shop/frontend shop/db tcp/5432

  # The same over IPv6, with every flow the packet meets
  sluice trace shop/frontend shop/db --protocol tcp --port 5432 --family 6 -o wide

  # A Service: who serves it, and may it be reached?
  sluice trace shop/frontend svc:shop/api:http

  # The next three packets that anybody really sends to the database
  sluice trace --live - shop/db tcp/5432 --count 3

  # The next one from a pod to a Service, through both nodes, within five minutes
  kubectl sluice trace --live shop/frontend svc:shop/api:http --timeout 5m

  # Pods of different nodes, from a machine with a kubeconfig
  kubectl sluice trace shop/frontend shop/db tcp/5432

  # A machine outside of the cluster, on a node simulated from manifests
  sluice trace -f examples/external-access 203.0.113.7 edge/gateway 8443`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: a.completeEnds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.live {
				req, err := f.liveRequest(args, a.timeout)
				if err == nil {
					err = f.agents.check("")
				}
				if err != nil {
					return usage(err)
				}
				return a.live(cmd, &f, req)
			}
			req, err := f.request(args)
			if err != nil {
				return usage(err)
			}
			if err := f.agents.check(f.dir); err != nil {
				return usage(err)
			}
			return a.askAcross(cmd, &f, req)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.live, "live", false, "follow real packets, not a thought one")
	flags.IntVar(&f.count, "count", 1, "with --live: how many packets to follow")
	flags.StringVar(&f.protocol, "protocol", "", "tcp, udp, sctp or icmp, in place of the argument")
	flags.Uint16Var(&f.port, "port", 0, "destination port, in place of the argument")
	flags.IntVar(&f.family, "family", 0, "address family, 4 or 6; the default is the first that both ends have")
	f.agents.add(cmd)
	addFolder(cmd, &f.dir, "ask a node simulated from the manifests in this folder, not the agent")
	return cmd
}

// request reads the arguments of trace.
func (f *traceFlags) request(args []string) (req api.TraceRequest, err error) {
	service, toService := strings.CutPrefix(args[1], api.ServicePrefix)
	for i, name := range []string{"FROM", "TO"} {
		var err error
		if i == 1 && toService {
			err = checkService(service)
		} else {
			err = checkEnd(args[i])
		}
		if err != nil {
			return req, fmt.Errorf("%s: %w", name, err)
		}
	}
	req = api.TraceRequest{From: args[0], To: args[1], Family: f.family}
	if f.family != 0 && f.family != 4 && f.family != 6 {
		return req, fmt.Errorf("--family: %d is not 4 or 6", f.family)
	}
	if toService && len(args) == 2 && f.protocol == "" && f.port == 0 {
		return req, nil
	}
	to, err := f.service(args)
	if err != nil {
		return req, err
	}
	req.Protocol, req.Port = to.Protocol, to.Port
	return req, nil
}

// service reads the protocol and port, from wherever they stand.
func (f *traceFlags) service(args []string) (to simulate.Service, err error) {
	what, text := "--protocol and --port", f.protocol
	switch {
	case len(args) == 3 && (f.protocol != "" || f.port != 0):
		return to, fmt.Errorf("%s stands both as an argument and as --protocol or --port", args[2])
	case len(args) == 3:
		what, text = "PROTOCOL/PORT", args[2]
	case text == "" && f.port == 0:
		return to, fmt.Errorf("what is to be traced? Give PROTOCOL/PORT, as in tcp/80")
	case text == "":
		text = fmt.Sprint(f.port)
	case f.port != 0:
		text = fmt.Sprintf("%s/%d", text, f.port)
	}
	if to, err = simulate.ParseService(text); err != nil {
		return to, fmt.Errorf("%s: %w", what, err)
	}
	return to, nil
}

// checkEnd checks the form of a pod or address.
func checkEnd(text string) error {
	if _, err := netip.ParseAddr(text); err == nil {
		return nil
	}
	if namespace, name, ok := strings.Cut(text, "/"); !ok || namespace == "" || name == "" || strings.ContainsAny(name, "/:") || strings.Contains(namespace, ":") {
		return fmt.Errorf("%q is neither NAMESPACE/POD nor an address", text)
	}
	return nil
}

// checkService checks the form of a Service with its port.
func checkService(text string) error {
	service, port, said := strings.Cut(text, ":")
	if namespace, name, ok := strings.Cut(service, "/"); !ok || namespace == "" || name == "" || strings.Contains(name, "/") || said && port == "" {
		return fmt.Errorf("%q is not svc:NAMESPACE/NAME:PORT", api.ServicePrefix+text)
	}
	return nil
}

func (a *app) trace(ctx context.Context, agents across.Agents, node string, req api.TraceRequest) error {
	x, err := across.Trace(ctx, agents, node, req)
	if err != nil {
		return err
	}
	if err := a.print(x, func(w io.Writer, s render.Style) error { return render.Explanation(w, s, x) }); err != nil {
		return err
	}
	return exitOf(x.Verdict)
}

// addFolder adds the flag -f.
func addFolder(cmd *cobra.Command, dir *string, help string) {
	cmd.Flags().StringVarP(dir, "filename", "f", "", help)
	_ = cmd.MarkFlagDirname("filename")
}
