package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
)

func (a *app) newGet() *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "get",
		Short: "List what is in force on this node",
		Long:  `get lists what the agent of this node enforces.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("what is to be listed? ports, policies, rules, identities, flows, nodes or status")
		},
	}
	flags := cmd.PersistentFlags()
	flags.StringVarP(&f.namespace, "namespace", "n", "", "only what belongs to this namespace")
	flags.StringVar(&f.pod, "pod", "", "only what concerns this pod: NAMESPACE/POD, or POD with --namespace")
	flags.StringVarP(&f.dir, "filename", "f", "", "ask a node simulated from the manifests in this folder, not the agent")
	_ = cmd.MarkPersistentFlagDirname("filename")
	_ = cmd.RegisterFlagCompletionFunc("namespace", a.completeNamespace)
	_ = cmd.RegisterFlagCompletionFunc("pod", a.completePod)
	cmd.AddCommand(
		newList(a, &f, "ports", "port", "the pods' ports on the bridge", "a port's name, or a pod", source.Ports, portFilter, render.Ports),
		newList(a, &f, "policies", "policy", "NetworkPolicies, and what they isolate", "a policy", source.Policies, policyFilter, render.Policies),
		newList(a, &f, "rules", "rule", "rules of policies in force", "the policy of the rules", source.Rules, ruleFilter, render.Rules),
		newList(a, &f, "identities", "identity", "classes of peers that no rule tells apart", "an identity's number", source.Identities, identityFilter, render.Identities),
		newList(a, &f, "flows", "flow", "flows the bridge should hold", "a table, or the object of the flows", source.Flows, flowFilter, render.Flows),
		newList(a, &f, "nodes", "node", "other nodes' ranges of pods, and the ways to them", "a node", source.Nodes, nodeFilter, render.Nodes),
		a.newStatus(&f),
	)
	for _, sub := range cmd.Commands() {
		checkArgs(sub)
	}
	cmd.Example = `  sluice get ports
  sluice get policies -n shop -o wide
  sluice get rules --pod shop/db
  sluice get flows IngressPolicy
  sluice get policies -f examples/guarded-database`
	return cmd
}

// newList returns the command that lists one kind of object: list fetches all,
// choose makes the test of which are wanted.
func newList[T any](a *app, f *filter, plural, singular, what, name string,
	list func(source, context.Context) ([]T, error),
	choose func(context.Context, source, *filter) (func(T) bool, error),
	layout func(io.Writer, render.Style, []T) error,
) *cobra.Command {
	return &cobra.Command{
		Use:               plural + " [NAME]",
		Aliases:           []string{singular},
		Short:             "List " + what,
		Long:              fmt.Sprintf("List %s. NAME is %s.", what, name),
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.name = ""; len(args) == 1 {
				f.name = args[0]
			}
			if err := f.check(); err != nil {
				return usage(err)
			}
			return a.ask(cmd.Context(), f.dir, func(ctx context.Context, s source) error {
				all, err := list(s, ctx)
				if err != nil {
					return err
				}
				wanted, err := choose(ctx, s, f)
				if err != nil {
					return err
				}
				chosen := []T{}
				for _, o := range all {
					if wanted(o) {
						chosen = append(chosen, o)
					}
				}
				if f.name != "" && len(chosen) == 0 {
					return fmt.Errorf("%s %q not found%s", singular, f.name, f)
				}
				return a.printList(chosen, len(chosen), plural, func(w io.Writer, s render.Style) error { return layout(w, s, chosen) })
			})
		},
	}
}

// printList prints a list, and says so where people would see nothing.
func (a *app) printList(list any, n int, plural string, layout func(io.Writer, render.Style) error) error {
	if n == 0 && a.people() {
		_, err := fmt.Fprintf(a.streams.Err, "No %s.\n", plural)
		return err
	}
	return a.print(list, layout)
}

func (a *app) newStatus(f *filter) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell how the agent is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), f.dir, func(ctx context.Context, s source) error {
				status, err := s.Status(ctx)
				if err != nil {
					return err
				}
				return a.print(status, func(w io.Writer, s render.Style) error { return render.Status(w, s, status) })
			})
		},
	}
}
