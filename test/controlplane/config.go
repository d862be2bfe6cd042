package controlplane

import (
	"fmt"
	"net/netip"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Admin is the group whose members may do everything.
const Admin = "system:masters"

// Config is one control plane.
type Config struct {
	// Dir is the folder of its files.
	Dir string
	// Listen is the address that all daemons listen on. Their ports are fixed.
	Listen netip.Addr
	// Serve are the addresses that kube-apiserver is reached at, as its certificate
	// has them.
	Serve []netip.Addr
	// Advertise is the address that becomes the endpoint of the Service
	// "kubernetes". It can't be a loopback address.
	Advertise netip.Addr
	// Services are the ranges of ClusterIPs, at most one of each family, the
	// primary first.
	Services []netip.Prefix

	ca *Authority
}

// Host returns the name by which a server at an address is dialled.
func hostPort(addr netip.Addr, port uint16) string { return netip.AddrPortFrom(addr, port).String() }

// URL returns the API server's address, such as "https://127.8.4.2:6443".
func (c *Config) URL() string { return "https://" + hostPort(c.Serve[0], ServerPort) }

// CA returns the authority; WriteFiles has made it.
func (c *Config) CA() *Authority { return c.ca }

// WriteFiles makes the authorities and writes the files the daemons read.
func (c *Config) WriteFiles() error {
	var err error
	if c.ca, err = NewAuthority("sluice-test"); err != nil {
		return err
	}
	// One of its own, for requests that kube-apiserver passes on to others.
	front, err := NewAuthority("sluice-test-front-proxy")
	if err != nil {
		return err
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	addrs := append([]netip.Addr{c.Listen}, c.Serve...)
	for _, cidr := range c.Services {
		addrs = append(addrs, cidr.Masked().Addr().Next()) // the Service "kubernetes"
	}
	server, err := c.ca.Server("kube-apiserver", names, addrs...)
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
	authority, err := encodeKey(c.ca.key)
	if err != nil {
		return fmt.Errorf("encode the authority's key: %w", err)
	}
	for name, content := range map[string][]byte{
		CACert: c.ca.pem, caKey: authority, serverCert: server.Cert, serverKey: server.Key,
		accountsKey: accounts, frontProxyCert: front.pem,
	} {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return fmt.Errorf("write the control plane's %s: %w", name, err)
		}
	}
	return nil
}

// ConfigFor returns the client configuration of a user in the given groups. What
// the user may do is what RBAC says. It has no rate limit: the API server has its
// own.
func (c *Config) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	id, err := c.ca.Client(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            c.URL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca.pem, CertData: id.Cert, KeyData: id.Key},
		QPS:             -1,
	}, nil
}

// WriteKubeconfig writes a client configuration to a file. The file holds the
// certificates too.
func WriteKubeconfig(path string, config *rest.Config) error {
	const name = "test"
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server: config.Host, CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, path)
}
