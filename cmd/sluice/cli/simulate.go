package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// simulation is one run of simulate.
type simulation struct {
	*app
	dir      string
	services []string
	query    simulate.Query
	family   string
	expect   string
	strict   bool
	watch    bool

	problems *problems
	expected []simulate.Expectation
}

func (a *app) newSimulate() *cobra.Command {
	s := &simulation{app: a, problems: &problems{app: a}}
	cmd := &cobra.Command{
		Use:   "simulate -f DIR",
		Short: "Show who may speak to whom under the policies in a folder",
		Long: `simulate puts the pods and policies of a folder of manifests on a node of its own,
a private Open vSwitch that sends no packets and needs no root, and traces every
connection between them through the flows that a real node would have.

Every pod is taken to be on the simulated node. One without an address in its
status gets one from 10.244.0.0/16 and one from fd00:10:244::/64. Pods on the
host's network and finished ones are left out.

The table has a row for each source and a column for each service of each
destination. Without --port the services are the destination's named ports and the
port numbers in rules that may be about it, or else tcp/80. -o wide has a line for
each connection, with the rule or policies that decide; json and yaml have all;
-o expect prints lines as --expect reads them.`,
		Example: `  # The truth table of a folder
  sluice simulate -f examples/guarded-database

  # Why, for the connections to one pod
  sluice simulate -f examples/guarded-database --to shop/db -o wide

  # What a machine outside may reach, on one port
  sluice simulate -f examples/external-access --from 203.0.113.7 --port tcp/8443

  # As a test: exit code 4 if a verdict is not as expected, 5 if a manifest is wrong
  sluice simulate -f examples/tenants --expect examples/tenants/expected.txt --strict

  # Keep today's verdicts, and see what changes while the manifests are edited
  sluice simulate -f manifests -o expect > expected.txt
  sluice simulate -f manifests --watch`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			if !cmd.Flags().Changed("timeout") {
				s.timeout = 0 // a large folder takes its time
			}
			if s.watch {
				return s.follow(cmd.Context())
			}
			return s.once(cmd.Context())
		},
	}
	flags := cmd.Flags()
	addFolder(cmd, &s.dir, "folder of manifests, or a single one (required)")
	flags.StringArrayVar(&s.services, "port", nil, "PROTOCOL/PORT to try at every destination, or icmp; may be repeated")
	flags.StringArrayVar(&s.query.From, "from", nil, "only connections from NAMESPACE/POD, in which * stands for anything, or from an address, also one outside; may be repeated")
	flags.StringArrayVar(&s.query.To, "to", nil, "only connections to NAMESPACE/POD or an address; may be repeated")
	flags.StringVar(&s.family, "family", string(simulate.FirstFamily), "address family: 4, 6, both, or auto, which is IPv4 where both ends have it")
	flags.StringVar(&s.expect, "expect", "", "compare the connections in this file with their expected verdicts: lines of from, to, protocol, port, and allow or deny")
	flags.BoolVar(&s.strict, "strict", false, "exit with code 5 if a manifest or a policy has a problem")
	flags.BoolVar(&s.watch, "watch", false, "go on, and show what changes when the folder does")
	_ = cmd.RegisterFlagCompletionFunc("family", cobra.FixedCompletions([]string{"auto", "4", "6", "both"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// check reads what the flags say.
func (s *simulation) check() error {
	if s.dir == "" {
		return usagef("which manifests? Give a folder with -f")
	}
	for flag, patterns := range map[string][]string{"--from": s.query.From, "--to": s.query.To} {
		for _, p := range patterns {
			if err := simulate.CheckPattern(p); err != nil {
				return usagef("%s: %w", flag, err)
			}
		}
	}
	s.query.Services = nil
	for _, text := range s.services {
		service, err := simulate.ParseService(text)
		if err != nil {
			return usagef("--port: %w", err)
		}
		s.query.Services = append(s.query.Services, service)
	}
	switch f := simulate.Families(s.family); f {
	case simulate.FirstFamily, simulate.OnlyIPv4, simulate.OnlyIPv6, simulate.BothFamilies:
		s.query.Families = f
	default:
		return usagef("--family: %q is not 4, 6, both or auto", s.family)
	}
	if s.expect == "" {
		return nil
	}
	if len(s.services)+len(s.query.From)+len(s.query.To) > 0 {
		return usagef("--expect says itself which connections to try: it does not go with --port, --from and --to")
	}
	f, err := os.Open(s.expect)
	if err != nil {
		return fmt.Errorf("read expectations: %w", err)
	}
	defer f.Close()
	if s.expected, err = simulate.ParseExpectations(f); err != nil {
		return fmt.Errorf("read expectations: %s: %w", s.expect, err)
	}
	return nil
}

// once simulates the folder as it is.
func (s *simulation) once(ctx context.Context) (err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	c, bed, err := s.simulateFolder(ctx, s.dir, s.problems)
	if err != nil {
		return late(ctx, err)
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	if s.expect != "" {
		err = s.compare(ctx, c)
	} else if m, failed := s.matrix(ctx, c); failed != nil {
		err = failed
	} else {
		err = s.printMatrix(m)
	}
	return s.orProblems(late(ctx, err))
}

// orProblems makes problems an error, if they are to be one: verdicts about
// other input than was meant say nothing.
func (s *simulation) orProblems(err error) error {
	if s.strict && s.problems.any() && (err == nil || errors.As(err, new(exit))) {
		return exit(exitProblems)
	}
	return err
}

func (s *simulation) matrix(ctx context.Context, c *simulate.Cluster) (*simulate.Matrix, error) {
	p := s.newProgress("traced")
	defer p.clear()
	q := s.query
	q.Progress = p.show
	return c.Matrix(ctx, q)
}

func (s *simulation) printMatrix(m *simulate.Matrix) error {
	if s.output == formatExpect {
		return simulate.WriteExpectations(s.streams.Out, m)
	}
	if s.people() {
		for _, p := range m.LeftOut {
			fmt.Fprintf(s.streams.Err, "Left out: pod %s %s\n", p.Pod, p.Reason)
		}
	}
	return s.print(m, func(w io.Writer, style render.Style) error { return render.Matrix(w, style, m) })
}

// compare holds the expectations against the verdicts.
func (s *simulation) compare(ctx context.Context, c *simulate.Cluster) error {
	p := s.newProgress("traced")
	outcomes, err := c.Check(ctx, s.expected, s.query.Families, p.show)
	p.clear()
	if err != nil {
		return err
	}
	if err := s.print(outcomes, func(w io.Writer, style render.Style) error { return render.Outcomes(w, style, outcomes) }); err != nil {
		return err
	}
	for _, o := range outcomes {
		if !o.Holds {
			return exit(exitDiffers)
		}
	}
	return nil
}
