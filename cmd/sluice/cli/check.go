package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/check"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
	"github.com/sluice-cni/sluice/pkg/version"
)

// What only this program sees: whether the agent answers, and of what build it is.
const (
	checkAgent   = "agent"
	checkVersion = "version"
)

var ownChecks = map[string]string{
	checkAgent:   "the agent answers on its socket",
	checkVersion: "the agent is of this program's build",
}

// checkNames are all checks, in the order in which they are reported.
func checkNames() []string { return append([]string{checkAgent, checkVersion}, check.Names()...) }

// checkFlags are the flags of check.
type checkFlags struct {
	req      api.CheckRequest
	policies bool
	verdicts api.VerdictRequest
	limit    time.Duration
}

func (a *app) newCheck() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look whether this node is as it should be",
		Long: `check has the agent compare what it wants with what is there, and changes nothing:

` + listChecks() + `
With --policies it asks the live bridge, by traces, about the connections between
all pods of this node, the node, and machines outside, on the ports that rules and
pods name and on one that none does, and holds the answers against what the
policies say by a reading of their own, which shares nothing with what computes
the flows. Of more connections than --max it draws that many, each pair of pods
equally often; --seed draws the same again.

The exit code is 0 if nothing has failed and 1 if something has.`,
		Example: `  # At 3 a.m., first of all
  sluice check

  # Do the flows do what the policies say?
  sluice check --policies

  # Every connection there is, for as long as it takes
  sluice check --policies --max 100000 --time 30m

  # Some checks only
  sluice check --only flows,ports -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return usage(err)
			}
			if !cmd.Flags().Changed("timeout") {
				a.timeout = 0 // each check has its own time
			}
			if f.policies {
				return a.checkVerdicts(cmd.Context(), f)
			}
			return a.checkNode(cmd.Context(), f.req)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.req.Only, "only", nil, "make these checks only")
	flags.StringSliceVar(&f.req.Skip, "skip", nil, "leave these checks out")
	flags.BoolVar(&f.policies, "policies", false, "hold the bridge's verdicts against what the policies say")
	flags.IntVar(&f.verdicts.Max, "max", 2000, "with --policies: trace at most that many connections")
	flags.Uint64Var(&f.verdicts.Seed, "seed", 0, "with --policies: draw the connections of this seed; 0 draws a seed")
	flags.DurationVar(&f.limit, "time", time.Minute, "with --policies: leave out what is not traced by then")
	for _, name := range []string{"only", "skip"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completeChecks)
	}
	return cmd
}

func listChecks() string {
	var out strings.Builder
	for _, name := range checkNames() {
		about := ownChecks[name]
		if about == "" {
			about = check.About(name)
		}
		fmt.Fprintf(&out, "  %-10s %s\n", name, about)
	}
	return out.String()
}

// completeChecks completes the last of a list of names.
func completeChecks(_ *cobra.Command, _ []string, given string) ([]string, cobra.ShellCompDirective) {
	before := given[:strings.LastIndex(given, ",")+1]
	var out []string
	for _, name := range checkNames() {
		if !slices.Contains(strings.Split(before, ","), name) {
			out = append(out, before+name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// check looks whether flags fit together.
func (f *checkFlags) check(cmd *cobra.Command) error {
	for flag, names := range map[string][]string{"--only": f.req.Only, "--skip": f.req.Skip} {
		if f.policies && len(names) > 0 {
			return fmt.Errorf("%s does not go with --policies", flag)
		}
		for _, n := range names {
			if !slices.Contains(checkNames(), n) {
				return fmt.Errorf("%s: there is no check %q; there are %s", flag, n, strings.Join(checkNames(), ", "))
			}
		}
	}
	for _, name := range []string{"max", "seed", "time"} {
		if !f.policies && cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s goes with --policies only", name)
		}
	}
	if f.verdicts.Max < 1 || f.verdicts.Max > 200_000 {
		return fmt.Errorf("--max: %d is not in 1-200000", f.verdicts.Max)
	}
	if f.limit < time.Second || f.limit > time.Hour {
		return fmt.Errorf("--time: %s is not in 1s-1h", f.limit)
	}
	f.verdicts.Seconds = int(f.limit.Seconds())
	return nil
}

// checkNode prints the agent's checks after this program's own.
func (a *app) checkNode(ctx context.Context, req api.CheckRequest) error {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	report, err := a.gather(ctx, req)
	if err != nil {
		return late(ctx, err)
	}
	if err := a.print(report, func(w io.Writer, s render.Style) error { return render.Checks(w, s, report) }); err != nil {
		return err
	}
	if report.Failed() {
		return exit(exitError)
	}
	return nil
}

// gather makes the checks that are asked for. An agent that does not answer is a
// check that has failed.
func (a *app) gather(ctx context.Context, req api.CheckRequest) (*api.CheckReport, error) {
	wanted := func(name string) bool {
		return (len(req.Only) == 0 || slices.Contains(req.Only, name)) && !slices.Contains(req.Skip, name)
	}
	own := func(name string) bool { return ownChecks[name] != "" }
	agents := api.CheckRequest{
		Only: slices.DeleteFunc(slices.Clone(req.Only), own), Skip: slices.DeleteFunc(slices.Clone(req.Skip), own),
	}
	if len(req.Only) > 0 && len(agents.Only) == 0 {
		agents.Skip = check.Names() // it says of what build it is all the same
	}
	c := client.New(a.socket)
	defer c.Close()
	p := a.newProgress("checked")
	begun := time.Now()
	report, err := c.Check(ctx, agents, p.show)
	p.clear()
	if ctx.Err() != nil {
		return nil, err
	}
	one := api.Check{Name: checkAgent, Status: api.CheckOK, Message: "the agent answers at " + a.socket, Millis: time.Since(begun).Milliseconds()}
	if err != nil {
		first, rest, _ := strings.Cut(advise(err, a.socket).Error(), "\n")
		one.Status, one.Message, one.Hint = api.CheckFail, first, strings.Join(strings.Fields(rest), " ")
		return &api.CheckReport{Time: begun, Checks: []api.Check{one}}, nil
	}
	var checks []api.Check
	if wanted(checkAgent) {
		checks = append(checks, one)
	}
	if wanted(checkVersion) {
		checks = append(checks, compareVersions(report.Version))
	}
	report.Checks = append(checks, report.Checks...)
	return report, nil
}

func compareVersions(agent string) api.Check {
	own := version.String()
	if agent == own {
		return api.Check{Name: checkVersion, Status: api.CheckOK, Message: "agent and sluice are " + own}
	}
	return api.Check{
		Name: checkVersion, Status: api.CheckWarn, Message: fmt.Sprintf("the agent is %s, and sluice is %s", agent, own),
		Hint: "use the sluice of the agent's image, or restart the agent that was upgraded",
	}
}

// checkVerdicts prints on which connections bridge and policies differ.
func (a *app) checkVerdicts(ctx context.Context, f checkFlags) error {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	c := client.New(a.socket)
	defer c.Close()
	p := a.newProgress("traced")
	report, err := c.CheckVerdicts(ctx, f.verdicts, p.show)
	p.clear()
	if err != nil {
		return late(ctx, advise(err, a.socket))
	}
	if err := a.print(report, func(w io.Writer, s render.Style) error { return render.Verdicts(w, s, report) }); err != nil {
		return err
	}
	if len(report.Differences) > 0 {
		return exit(exitError)
	}
	return nil
}
