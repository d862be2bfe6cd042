package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
)

// verdicts is a run of watch.
type verdicts struct {
	*app
	query  api.WatchQuery
	filter filter
	policy string
	status bool
}

func (a *app) newWatch() *cobra.Command {
	v := &verdicts{app: a}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow the verdicts of this node as they are given",
		Long: `watch shows what policies deny, packet by packet, with the policies that it is owed
to; with --allowed also each connection that begins, with the rules that allow it.

A filter holds if it does for either end; all filters have to hold. Without --last
it shows only what comes from now on; an interrupt ends it. json has an event on
each line. If the agent ends, or is replaced, it waits for the next one and goes on.

What a flood has more of than the agent looks at is not shown, but counted:
--status says how many there were. The exit code is 0, or 1 if there is no agent at
the beginning.`,
		Example: `  # What is denied on this node, from now on
  sluice watch

  # Why can't the frontend reach anything? The last events, and what follows
  sluice watch --pod shop/frontend --last 20

  # Whatever a policy denies or allows
  sluice watch --policy shop/db-guard --allowed

  # Spoofed packets of a namespace, for other programs
  sluice watch -n shop --verdict spoofed -o json | jq .from.pod

  # The last 100 events, and how many there were of which no event was made
  sluice watch --last 100 --follow=false
  sluice watch --status`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.check(); err != nil {
				return usage(err)
			}
			if v.status {
				return v.showStatus(cmd.Context())
			}
			if v.query.Follow && !cmd.Flags().Changed("timeout") {
				v.timeout = 0
			}
			return v.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&v.filter.namespace, "namespace", "n", "", "only what concerns pods of this namespace")
	flags.StringVar(&v.filter.pod, "pod", "", "only what concerns this pod: NAMESPACE/POD, or POD with --namespace")
	flags.StringVar(&v.policy, "policy", "", "only what is owed to this policy: NAMESPACE/NAME, or NAME with --namespace")
	flags.StringSliceVar(&v.query.Verdicts, "verdict", nil, "only these verdicts: denied, allowed, spoofed or invalid; may be repeated")
	flags.StringVar(&v.query.Direction, "direction", "", "only what is denied at this side: egress or ingress")
	flags.BoolVar(&v.query.Allows, "allowed", false, "also connections that are allowed; the bridge tells of them only while somebody asks")
	flags.IntVar(&v.query.Last, "last", 0, "begin with up to so many of the last events")
	flags.BoolVar(&v.query.Follow, "follow", true, "go on with events as they come")
	flags.BoolVar(&v.status, "status", false, "show how many verdicts there were, and how many of them became events")
	_ = cmd.RegisterFlagCompletionFunc("namespace", a.completeNamespace)
	_ = cmd.RegisterFlagCompletionFunc("pod", a.completePod)
	_ = cmd.RegisterFlagCompletionFunc("verdict", cobra.FixedCompletions([]string{api.Denied, api.Allowed, api.Spoofed, api.Invalid}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("direction", cobra.FixedCompletions([]string{"egress", "ingress"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// check reads what the flags say.
func (v *verdicts) check() error {
	if err := v.filter.check(); err != nil {
		return err
	}
	v.query.Pod, v.query.Namespace, v.query.Policy = v.filter.pod, v.filter.namespace, v.policy
	if v.policy != "" && !strings.Contains(v.policy, "/") {
		if v.filter.namespace == "" {
			return fmt.Errorf("--policy: %q has no namespace: give NAMESPACE/NAME, or --namespace", v.policy)
		}
		v.query.Policy = v.filter.namespace + "/" + v.policy
	}
	for _, verdict := range v.query.Verdicts {
		v.query.Allows = v.query.Allows || verdict == api.Allowed
	}
	if _, err := api.ParseWatchQuery(v.query.Values()); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if v.status && v.query.Last > 0 {
		return errors.New("--status has no events: it does not go with --last")
	}
	if !v.status && !v.query.Follow && v.query.Last == 0 {
		return errors.New("--follow=false without --last shows nothing")
	}
	return nil
}

func (v *verdicts) run(ctx context.Context) (err error) {
	bounded, cancel := v.bounded(ctx)
	defer cancel()
	c := client.New(v.socket)
	defer func() { err = errors.Join(err, c.Close()) }()
	err = v.follow(bounded, c)
	if bounded.Err() != nil && v.query.Follow {
		return nil // an interrupt, or --timeout, is how it is meant to end
	}
	return late(bounded, advise(err, v.socket))
}

// againTime is how long after the end of a stream the next one is asked for,
// againLast how many events that one may begin with: as many as an agent gives.
const (
	againTime = 500 * time.Millisecond
	againLast = 1024
)

// follow shows the stream of the agent and, after it has ended, of the one that
// takes the agent's place, with what that has told of before it was found.
func (v *verdicts) follow(ctx context.Context, c *client.Client) error {
	query, shown := v.query, shownUpTo(time.Now())
	var unwritten error
	again := false
	for {
		err := c.Watch(ctx, query, func(line api.WatchLine) error {
			if e := line.Event; e != nil {
				if again && !e.Time.After(shown.at) {
					return nil
				}
				if e.Time.After(shown.at) {
					shown = shownUpTo(e.Time)
				}
			}
			unwritten = v.show(line)
			return unwritten
		})
		if ctx.Err() != nil || unwritten != nil || !v.query.Follow || !again && !errors.Is(err, client.ErrEnded) {
			return err
		}
		if errors.Is(err, client.ErrEnded) {
			fmt.Fprintln(v.streams.Err, "The agent has ended the stream; waiting for it, or the next one, to go on.")
		}
		again, query.Last = true, againLast
		select {
		case <-time.After(againTime):
		case <-ctx.Done():
			return err
		}
		shown.adjust()
	}
}

// upTo is the time of the last event that was shown, and when that was here.
type upTo struct{ at, heard time.Time }

func shownUpTo(at time.Time) upTo { return upTo{at, time.Now()} }

// clockError is by how much a clock that was not set is off, at most.
const clockError = time.Second

// adjust follows the node's clock if it was set back: by it the last event was
// earlier. What comes would else be taken for what was shown.
func (u *upTo) adjust() {
	if heard := time.Now().Round(0).Add(-time.Since(u.heard)); heard.Add(clockError).Before(u.at) {
		u.at = heard
	}
}

// show prints a line of the stream.
func (v *verdicts) show(line api.WatchLine) error {
	if line.Lost > 0 {
		if _, err := fmt.Fprintf(v.streams.Err, "%d events were lost: they came faster than they were read here.\n", line.Lost); err != nil {
			return err
		}
	}
	if line.Event == nil {
		return nil
	}
	switch v.output {
	case formatJSON:
		out := json.NewEncoder(v.streams.Out)
		out.SetEscapeHTML(false)
		return out.Encode(line.Event)
	case formatYAML:
		data, err := yaml.Marshal(line.Event)
		if err != nil {
			return fmt.Errorf("write an event: %w", err)
		}
		_, err = v.streams.Out.Write(append([]byte("---\n"), data...))
		return err
	}
	return v.print(line.Event, func(w io.Writer, s render.Style) error { return render.Event(w, s, line.Event) })
}

func (v *verdicts) showStatus(ctx context.Context) (err error) {
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	c := client.New(v.socket)
	defer func() { err = errors.Join(err, c.Close()) }()
	status, err := c.WatchStatus(ctx)
	if err != nil {
		return late(ctx, advise(err, v.socket))
	}
	return v.print(status, func(w io.Writer, s render.Style) error { return render.WatchStatus(w, s, status) })
}
