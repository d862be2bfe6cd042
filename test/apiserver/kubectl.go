package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sluice-cni/sluice/test/controlplane"
)

// Kubectl runs kubectl as the administrator and returns what it prints. The
// error carries what it says on standard error.
func (s *APIServer) Kubectl(ctx context.Context, args ...string) (string, error) {
	return s.kubectl(ctx, "", args...)
}

// Apply runs `kubectl apply` on manifests in YAML.
func (s *APIServer) Apply(ctx context.Context, manifests string) error {
	_, err := s.kubectl(ctx, manifests, "apply", "-f", "-")
	return err
}

func (s *APIServer) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	path, err := controlplane.Lookup("kubectl")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--kubeconfig=" + s.kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	// Discovery is cached under the home folder otherwise, by host and port.
	cmd.Env = append(cmd.Environ(), "KUBECACHEDIR="+s.path("kubectl-cache"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}
