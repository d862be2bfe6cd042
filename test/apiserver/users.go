package apiserver

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// writePKI makes the authority and the files kube-apiserver reads.
func (s *APIServer) writePKI() error {
	var err error
	if s.ca, err = newAuthority("sluice-test"); err != nil {
		return err
	}
	server, err := s.ca.server("kube-apiserver", s.addr.AsSlice())
	if err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	accounts, err := encodeKey(key)
	if err != nil {
		return fmt.Errorf("encode the service account key: %w", err)
	}
	for name, content := range map[string][]byte{
		"ca.crt": s.ca.pem, "server.crt": server.cert, "server.key": server.key, "sa.key": accounts,
	} {
		if err := os.WriteFile(s.path(name), content, 0o600); err != nil {
			return fmt.Errorf("write the API server's %s: %w", name, err)
		}
	}
	return nil
}

// ConfigFor returns the client configuration of a user in the given groups. What
// the user may do is what RBAC says. Like Config's it has no rate limit.
func (s *APIServer) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	id, err := s.ca.client(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: s.URL(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData: s.ca.pem, CertData: id.cert, KeyData: id.key,
		},
		QPS: -1,
	}, nil
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
	const name = "test"
	err = clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server: config.Host, CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, file.Name())
	if err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return file.Name(), nil
}
