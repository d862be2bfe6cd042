package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
	"github.com/sluice-cni/sluice/pkg/observe/kubeagents"
)

// maxQuestion bounds a question, in bytes, as the agent does that follows packets.
const maxQuestion = 128 << 10

// newAnswer is what kubeagents.Command runs in an agent's container: questions and
// answers are those of the agent, as they are.
func (a *app) newAnswer() *cobra.Command {
	return &cobra.Command{
		Use:       "answer [trace|live-plan|live]",
		Short:     "Read a question to trace from standard input, and write what this node's agent says",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{kubeagents.AskTrace, kubeagents.AskLivePlan, kubeagents.AskLive},
		Hidden:    true,
		RunE: func(cmd *cobra.Command, args []string) error {
			what := kubeagents.AskTrace
			if len(args) > 0 {
				what = args[0]
			}
			c := client.New(a.socket)
			defer c.Close()
			if what == kubeagents.AskLive {
				return a.answerLive(cmd.Context(), c, cmd.InOrStdin())
			}
			ctx, cancel := a.bounded(cmd.Context())
			defer cancel()
			var x any
			var err error
			if what == kubeagents.AskLivePlan {
				x, err = answer(ctx, cmd.InOrStdin(), c.LivePlan)
			} else {
				x, err = answer(ctx, cmd.InOrStdin(), c.Trace)
			}
			if err != nil {
				x = api.Error{Message: late(ctx, advise(err, a.socket)).Error()}
			}
			return errors.Join(a.write(x), failed(err))
		},
	}
}

// failed is the exit code of an error that the answer tells of.
func failed(err error) error {
	if err != nil {
		return exit(exitError)
	}
	return nil
}

func (a *app) write(x any) error {
	out := json.NewEncoder(a.streams.Out)
	out.SetEscapeHTML(false)
	return out.Encode(x)
}

// answer reads a question and asks it.
func answer[Q, A any](ctx context.Context, in io.Reader, ask func(context.Context, Q) (A, error)) (x A, err error) {
	question, err := io.ReadAll(io.LimitReader(in, maxQuestion+1))
	if err != nil {
		return x, fmt.Errorf("read the question: %w", err)
	}
	if len(question) > maxQuestion {
		return x, fmt.Errorf("read the question: it has more than %d bytes", maxQuestion)
	}
	var req Q
	if err := json.Unmarshal(question, &req); err != nil {
		return x, fmt.Errorf("read the question: %w", err)
	}
	return ask(ctx, req)
}

// answerLive follows packets until its input ends: whoever asked has gone then, in
// whatever way.
func (a *app) answerLive(ctx context.Context, c *client.Client, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	question := json.NewDecoder(io.LimitReader(in, maxQuestion+1))
	var req api.LiveRequest
	err := question.Decode(&req)
	if err != nil {
		err = fmt.Errorf("read the question: %w", err)
	} else {
		go func() {
			_, _ = io.Copy(io.Discard, in)
			cancel()
		}()
		err = c.Live(ctx, req, func(l *api.LiveLine) error { return a.write(l) })
	}
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return errors.Join(a.write(api.LiveLine{Ended: advise(err, a.socket).Error()}), failed(err))
}
