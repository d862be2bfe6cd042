package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
)

// maxQuestion bounds a question, in bytes, as the agent does.
const maxQuestion = 64 << 10

// newAnswer is what kubeagents.Command runs in an agent's container: questions and
// answers are those of the agent, as they are.
func (a *app) newAnswer() *cobra.Command {
	return &cobra.Command{
		Use:    "answer",
		Short:  "Read a question to trace from standard input, and write what this node's agent says",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.bounded(cmd.Context())
			defer cancel()
			out := json.NewEncoder(a.streams.Out)
			x, err := a.answer(ctx, cmd.InOrStdin())
			if err != nil {
				if err := out.Encode(api.Error{Message: late(ctx, advise(err, a.socket)).Error()}); err != nil {
					return err
				}
				return exit(exitError)
			}
			return out.Encode(x)
		},
	}
}

func (a *app) answer(ctx context.Context, in io.Reader) (*api.Explanation, error) {
	question, err := io.ReadAll(io.LimitReader(in, maxQuestion+1))
	if err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	if len(question) > maxQuestion {
		return nil, fmt.Errorf("read the question: it has more than %d bytes", maxQuestion)
	}
	var req api.TraceRequest
	if err := json.Unmarshal(question, &req); err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	c := client.New(a.socket)
	defer c.Close()
	return c.Trace(ctx, req)
}
