package apiserver

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"

	"github.com/sluice-cni/sluice/test/controlplane"
)

// ConfigFor returns the client configuration of a user in the given groups. What
// the user may do is what RBAC says. Like Config's it has no rate limit.
func (s *APIServer) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	return s.plane.ConfigFor(user, groups...)
}

// Kubeconfig returns the path of the administrator's kubeconfig.
func (s *APIServer) Kubeconfig() string { return s.kubeconfig }

// KubeconfigFor writes a kubeconfig of a user in the given groups and returns
// its path. The file holds the certificates too; it lives as long as the server.
func (s *APIServer) KubeconfigFor(user string, groups ...string) (string, error) {
	config, err := s.ConfigFor(user, groups...)
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp(s.dir, "*.kubeconfig")
	if err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	file.Close()
	err = controlplane.WriteKubeconfig(file.Name(), config)
	if err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return file.Name(), nil
}
