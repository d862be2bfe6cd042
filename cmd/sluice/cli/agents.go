package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/observe/across"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
	"github.com/sluice-cni/sluice/pkg/observe/kubeagents"
)

// agentFlags say where the agents of several nodes are found.
type agentFlags struct {
	node       string
	sockets    map[string]string
	kubeconfig string
	context    string
	namespace  string
}

func (f *agentFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.node, "node", "", "node whose agent is asked first; the default is the one of the source's pod")
	flags.StringToStringVar(&f.sockets, "agent", nil, "NODE=SOCKET of a further agent; may be repeated")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "ask agents in their pods, through the API server that this file names")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig file")
	flags.StringVar(&f.namespace, "agent-namespace", kubeagents.DefaultNamespace, "namespace of the agents' pods")
	_ = cmd.MarkFlagFilename("kubeconfig")
}

// throughAPI reports whether agents are asked through the API server: if the flags
// say so, and of a plugin of kubectl that is told of no socket.
func (a *app) throughAPI(cmd *cobra.Command, f *agentFlags) bool {
	if cmd.Flags().Changed("kubeconfig") || cmd.Flags().Changed("context") {
		return true
	}
	return a.plugin && len(f.sockets) == 0 && !cmd.Flags().Changed("socket")
}

// askAcross is ask for a trace, which may need several agents.
func (a *app) askAcross(cmd *cobra.Command, f *traceFlags, req api.TraceRequest) error {
	if f.dir != "" {
		return a.ask(cmd.Context(), f.dir, func(ctx context.Context, s source) error {
			return a.trace(ctx, one{s}, "", req)
		})
	}
	ctx, cancel := a.bounded(cmd.Context())
	defer cancel()
	return a.withAgents(ctx, cmd, &f.agents, req.From, func(agents across.Agents, node string) error {
		return a.trace(ctx, agents, node, req)
	})
}

// withAgents finds the agents that the flags say and the node to begin at, for a
// question about packets from a pod or an address.
func (a *app) withAgents(ctx context.Context, cmd *cobra.Command, f *agentFlags, from string, ask func(across.Agents, string) error) error {
	if !a.throughAPI(cmd, f) {
		s := &sockets{local: a.socket, known: f.sockets, clients: map[string]*client.Client{}}
		if len(s.known) > 0 && !cmd.Flags().Changed("socket") {
			s.local = ""
		}
		err := ask(s, f.node)
		if s.missed != "" && a.people() {
			fmt.Fprintf(render.Safe(a.streams.Err), "To have node %[1]s asked give its agent's socket (--agent %[1]s=SOCKET), or ask through the API server (--kubeconfig).\n", s.missed)
		}
		return errors.Join(late(ctx, advise(err, a.socket)), s.Close())
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules() // $KUBECONFIG, ~/.kube/config, the pod's own
	rules.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	cluster, err := kubeagents.New(config, f.namespace)
	if err != nil {
		return err
	}
	node := f.node
	if node == "" {
		node = cluster.NodeOf(ctx, from)
		if _, err := cluster.Agent(ctx, node); err != nil {
			node = "" // another agent knows what can be said without that one
		}
	}
	return late(ctx, ask(cluster, node))
}

// one is the agents where there is one.
type one struct{ source }

func (o one) Agent(_ context.Context, node string) (across.Agent, error) {
	if node != "" {
		return nil, fmt.Errorf("there is no agent of node %s: one node is simulated", node)
	}
	return simulated(o), nil
}

// simulated is a simulated node, on which no packet is real.
type simulated struct{ source }

var errSimulated = errors.New("a simulated node has no real packets")

func (simulated) LivePlan(context.Context, api.LiveRequest) (*api.LivePlan, error) {
	return nil, errSimulated
}

func (simulated) Live(context.Context, api.LiveRequest, func(*api.LiveLine) error) error {
	return errSimulated
}

// sockets are agents whose sockets can be reached: this node's, whose name is asked
// for when it matters, and those that are named.
type sockets struct {
	local string
	known map[string]string

	mu      sync.Mutex
	clients map[string]*client.Client
	// missed is the node whose agent was asked for and is not known.
	missed string
}

// Agent implements across.Agents.
func (s *sockets) Agent(ctx context.Context, node string) (across.Agent, error) {
	if socket, ok := s.known[node]; ok {
		return s.client(socket), nil
	}
	if node == "" && s.local == "" {
		// Any: it says itself whom to ask instead.
		return s.client(s.known[slices.Min(slices.Collect(maps.Keys(s.known)))]), nil
	}
	if node == "" {
		return s.client(s.local), nil
	}
	if s.local != "" {
		if status, err := s.client(s.local).Status(ctx); err == nil && status.Node == node {
			return s.client(s.local), nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed = node
	return nil, fmt.Errorf("no agent of node %s is reachable", node)
}

func (s *sockets) client(socket string) *client.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[socket] == nil {
		s.clients[socket] = client.New(socket)
	}
	return s.clients[socket]
}

// Close closes connections that are open.
func (s *sockets) Close() (err error) {
	for _, c := range s.clients {
		err = errors.Join(err, c.Close())
	}
	return err
}

// check checks the form of what the flags say.
func (f *agentFlags) check(dir string) error {
	for node, socket := range f.sockets {
		if node == "" || socket == "" {
			return fmt.Errorf("--agent: %q is not NODE=SOCKET", node+"="+socket)
		}
	}
	switch {
	case dir != "" && f.asked():
		return errors.New("-f simulates one node: it does not go with --node, --agent, --kubeconfig and --context")
	case len(f.sockets) > 0 && (f.kubeconfig != "" || f.context != ""):
		return errors.New("--agent does not go with --kubeconfig and --context: agents are asked by one way")
	}
	return nil
}

// asked reports whether a flag says that other agents than this node's be asked.
func (f *agentFlags) asked() bool {
	return f.node != "" || len(f.sockets) > 0 || f.kubeconfig != "" || f.context != ""
}
