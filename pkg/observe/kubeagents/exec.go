package kubeagents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Command is what is run in the agent's container: it reads an api.TraceRequest
// from its standard input and writes an api.Explanation, or an api.Error.
var Command = []string{"sluice", "answer"}

// maxAnswer bounds an answer, in bytes. An explanation has some tens of thousands.
const maxAnswer = 4 << 20

// agent is the agent in a pod.
type agent struct {
	cluster *Cluster
	pod     string
}

// Trace implements across.Agent.
func (a *agent) Trace(ctx context.Context, req api.TraceRequest) (*api.Explanation, error) {
	question, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("write the question: %w", err)
	}
	answer, err := a.exec(ctx, question)
	if refusal := (api.Error{}); json.Unmarshal(answer, &refusal) == nil && refusal.Message != "" {
		return nil, errors.New(refusal.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("run %s in pod %s/%s: %w", strings.Join(Command, " "), a.cluster.namespace, a.pod, err)
	}
	x := &api.Explanation{}
	if err := json.Unmarshal(answer, x); err != nil {
		return nil, fmt.Errorf("the answer of the agent in pod %s/%s is not understood: %w", a.cluster.namespace, a.pod, err)
	}
	return x, nil
}

// exec runs the command and returns what it writes. What it says on standard error
// is part of the error.
func (a *agent) exec(ctx context.Context, input []byte) ([]byte, error) {
	at := a.cluster.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(a.cluster.namespace).Name(a.pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: Command, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := a.executor(at)
	if err != nil {
		return nil, err
	}
	out, said := &bounded{max: maxAnswer}, &bounded{max: 64 << 10}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: bytes.NewReader(input), Stdout: out, Stderr: said})
	if text := strings.TrimSpace(string(said.data)); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return out.data, err
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
