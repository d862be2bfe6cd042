package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/test/cluster/own"
	"github.com/sluice-cni/sluice/test/cluster/suite"
	"github.com/sluice-cni/sluice/test/cluster/testbed"
	"github.com/sluice-cni/sluice/test/controlplane"
)

// whole are the sets of tests that have all tests between them, the quickest first.
var whole = append([]suite.Set{own.Set}, suite.Sets...)

// sets are the sets of tests there are.
var sets = append([]suite.Set{suite.Chosen}, whole...)

func testCommand(dir *string) *cobra.Command {
	var names []string
	var focus, out string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run end-to-end tests in the cluster, the project's own and Kubernetes', and report each",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := testbed.Open(*dir)
			if err != nil {
				return err
			}
			chosen, err := suite.Find(sets, names)
			if err != nil {
				return err
			}
			switch own := len(names) == 1 && names[0] == own.Set.Name; {
			case focus != "" && own:
				chosen[0].Focus = focus
			case focus != "":
				chosen = []suite.Set{{Name: "focus", Focus: focus}}
			}
			return runSets(cmd.Context(), c, chosen, out, timeout, cmd.OutOrStdout())
		},
	}
	var all []string
	for _, s := range whole {
		all = append(all, s.Name)
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&names, "set", all, "sets of tests; "+suite.Chosen.Name+" are a few of Kubernetes' own")
	flags.StringVar(&focus, "focus", "", "regular expression of the tests: of the project's own with --set own, else of all of Kubernetes'")
	flags.StringVar(&out, "report", "bin/cluster-report", "folder for logs and reports: report.txt, report.md, junit_*.xml")
	flags.DurationVar(&timeout, "timeout", 90*time.Minute, "time for each set")
	return cmd
}

// runSets runs sets of tests one after the other and reports them. The error says
// how many tests have not passed.
func runSets(ctx context.Context, c *testbed.Cluster, sets []suite.Set, dir string, timeout time.Duration, out io.Writer) error {
	var sections []suite.Section
	failed := 0
	for _, set := range sets {
		begin := time.Now()
		var results []suite.Result
		var err error
		if set.Name == own.Set.Name {
			var focus *regexp.Regexp
			if focus, err = regexp.Compile(set.Focus); err == nil {
				results, err = own.Run(ctx, c, focus, out)
			}
		} else {
			results, err = suite.Run(ctx, c, set, suite.Options{Dir: dir, Timeout: timeout, Progress: out})
		}
		if err != nil {
			return err
		}
		s := suite.Section{Set: set, Results: results, Took: time.Since(begin)}
		sections = append(sections, s)
		failed += s.Count(suite.Failed) + s.Count(suite.Unreached)
		// Written after each set: what has been found out is not lost with the next.
		if err := writeReports(c, dir, sections); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintln(out)
	if err := suite.WriteText(out, sections); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d tests have not passed; see %s", failed, dir)
	}
	return nil
}

func writeReports(c *testbed.Cluster, dir string, sections []suite.Section) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	title := fmt.Sprintf("Kubernetes %s, %d nodes, %s, cni %s",
		controlplane.Version, c.Options.Nodes, c.Options.Family, c.Options.CNI)
	for name, write := range map[string]func(io.Writer) error{
		"report.txt": func(w io.Writer) error { return suite.WriteList(w, sections) },
		"report.md":  func(w io.Writer) error { return suite.WriteMarkdown(w, title, sections) },
	} {
		var text strings.Builder
		if err := write(&text); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
