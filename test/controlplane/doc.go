// Package controlplane is what a Kubernetes control plane is started with:
// certificates, kubeconfigs and the flags of its daemons. It starts nothing: that
// is what test/apiserver does for tests of one process, and test/cluster for whole
// clusters.
package controlplane

import "path/filepath"

// The files of a control plane in its folder.
const (
	CACert         = "ca.crt"
	caKey          = "ca.key"
	serverCert     = "server.crt"
	serverKey      = "server.key"
	accountsKey    = "sa.key"
	etcdData       = "etcd"
	frontProxyCert = "front-proxy-ca.crt"
)

func (c *Config) path(name string) string { return filepath.Join(c.Dir, name) }
