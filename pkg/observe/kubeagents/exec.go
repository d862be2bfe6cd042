package kubeagents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
)

// Command is what is run in the agent's container, with what is asked as its argument:
// it reads a question from its standard input and writes the agent's answer, or an
// api.Error.
var Command = []string{"sluice", "answer"}

// What is asked: an api.TraceRequest is answered with an api.Explanation, an
// api.LiveRequest with an api.LivePlan, or with an api.LiveLine on each line until its
// standard input ends.
const (
	AskTrace    = "trace"
	AskLivePlan = "live-plan"
	AskLive     = "live"
)

// maxAnswer bounds an answer, in bytes. An explanation has some tens of thousands.
const maxAnswer = 4 << 20

// agent is the agent in a pod.
type agent struct {
	cluster *Cluster
	pod     string
}

// Trace implements across.Agent.
func (a *agent) Trace(ctx context.Context, req api.TraceRequest) (*api.Explanation, error) {
	x := &api.Explanation{}
	if err := a.ask(ctx, AskTrace, req, x); err != nil {
		return nil, err
	}
	return x, nil
}

// LivePlan implements across.Agent.
func (a *agent) LivePlan(ctx context.Context, req api.LiveRequest) (*api.LivePlan, error) {
	plan := &api.LivePlan{}
	if err := a.ask(ctx, AskLivePlan, req, plan); err != nil {
		return nil, err
	}
	return plan, nil
}

// ask does one round trip.
func (a *agent) ask(ctx context.Context, what string, req, out any) error {
	question, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("write the question: %w", err)
	}
	answer := &bounded{max: maxAnswer}
	err = a.exec(ctx, what, bytes.NewReader(question), answer)
	if refusal := (api.Error{}); json.Unmarshal(answer.data, &refusal) == nil && refusal.Message != "" {
		return errors.New(refusal.Message)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer.data, out); err != nil {
		return fmt.Errorf("the answer of the agent in pod %s/%s is not understood: %w", a.cluster.namespace, a.pod, err)
	}
	return nil
}

// Live implements across.Agent. The command ends when its standard input does, which
// is with ctx, or when the API server loses this end.
func (a *agent) Live(ctx context.Context, req api.LiveRequest, fn func(*api.LiveLine) error) error {
	question, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("write the question: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, answer := io.Pipe()
	in, ask := io.Pipe()
	defer in.Close()
	defer out.Close()
	go func() { _, _ = ask.Write(question) }() // what reads it has an end
	failed := make(chan error, 1)
	go func() {
		err := a.exec(ctx, AskLive, in, answer)
		failed <- err
		answer.CloseWithError(err) // io.EOF for nil
	}()
	err = client.ReadLive(ctx, out, fn)
	if !errors.Is(err, client.ErrEnded) {
		return err
	}
	// Why the command has ended says more than that the stream has.
	select {
	case why := <-failed:
		return errors.Join(why, err)
	default:
		return err
	}
}

// exec runs the command. What it says on standard error is part of the error.
func (a *agent) exec(ctx context.Context, what string, in io.Reader, out io.Writer) error {
	command := append(slices.Clone(Command), what)
	at := a.cluster.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(a.cluster.namespace).Name(a.pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := a.executor(at)
	if err != nil {
		return err
	}
	said := &bounded{max: 64 << 10}
	if err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out, Stderr: said}); err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(said.data)); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return fmt.Errorf("run %s in pod %s/%s: %w", strings.Join(command, " "), a.cluster.namespace, a.pod, err)
}

// executor speaks WebSocket, and SPDY to API servers and proxies that don't, as
// kubectl does.
func (a *agent) executor(at *url.URL) (remotecommand.Executor, error) {
	websocket, err := remotecommand.NewWebSocketExecutor(a.cluster.config, http.MethodGet, at.String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(a.cluster.config, http.MethodPost, at)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}
