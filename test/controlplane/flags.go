package controlplane

import (
	"net/netip"
	"strconv"
	"strings"
)

// The ports the daemons listen on.
const (
	EtcdPort        = 2379
	EtcdPeerPort    = 2380
	ServerPort      = 6443
	ControllersPort = 10257
	SchedulerPort   = 10259
)

// EtcdURL returns the address of etcd for its clients. It asks for nothing.
func (c *Config) EtcdURL() string { return "http://" + hostPort(c.Listen, EtcdPort) }

// EtcdFlags are the flags of etcd.
func (c *Config) EtcdFlags() []string {
	peer := "http://" + hostPort(c.Listen, EtcdPeerPort)
	return []string{
		"--name=test",
		"--data-dir=" + c.path(etcdData),
		"--unsafe-no-fsync", // what a power failure leaves is of no interest
		"--listen-client-urls=" + c.EtcdURL(),
		"--advertise-client-urls=" + c.EtcdURL(),
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=test=" + peer,
		"--log-level=warn",
	}
}

// ServerFlags are the flags of kube-apiserver, which listens on an address that
// may be unspecified.
func (c *Config) ServerFlags(bind netip.Addr) []string {
	return []string{
		"--etcd-servers=" + c.EtcdURL(),
		"--bind-address=" + bind.String(),
		"--advertise-address=" + c.Advertise.String(),
		"--secure-port=" + strconv.Itoa(ServerPort),
		"--tls-cert-file=" + c.path(serverCert),
		"--tls-private-key-file=" + c.path(serverKey),
		"--client-ca-file=" + c.path(CACert),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path(accountsKey),
		"--service-account-signing-key-file=" + c.path(accountsKey),
		"--service-cluster-ip-range=" + Join(c.Services),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
	}
}

// AggregatorFlags are the flags with which kube-apiserver serves extensions: they
// come to know whom a request is from, and of kubelets.
func (c *Config) AggregatorFlags(kubeletClient string) []string {
	return []string{
		"--kubelet-certificate-authority=" + c.path(CACert),
		"--kubelet-client-certificate=" + c.path(kubeletClient+".crt"),
		"--kubelet-client-key=" + c.path(kubeletClient+".key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + c.path(frontProxyCert),
		"--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
	}
}

// ControllersFlags are the flags of kube-controller-manager with the controllers
// that its --controllers flag knows by the given names.
func (c *Config) ControllersFlags(kubeconfig string, controllers ...string) []string {
	return append(clientFlags(kubeconfig),
		"--bind-address="+c.Listen.String(),
		"--secure-port="+strconv.Itoa(ControllersPort),
		"--tls-cert-file="+c.path(serverCert),
		"--tls-private-key-file="+c.path(serverKey),
		"--controllers="+strings.Join(controllers, ","),
		"--root-ca-file="+c.path(CACert),
		"--service-account-private-key-file="+c.path(accountsKey),
		"--use-service-account-credentials=true",
	)
}

// SigningFlags are the flags with which kube-controller-manager signs
// certificates.
func (c *Config) SigningFlags() []string {
	return []string{
		"--cluster-signing-cert-file=" + c.path(CACert),
		"--cluster-signing-key-file=" + c.path(caKey),
	}
}

// SchedulerFlags are the flags of kube-scheduler.
func (c *Config) SchedulerFlags(kubeconfig string) []string {
	return append(clientFlags(kubeconfig),
		"--bind-address="+c.Listen.String(),
		"--secure-port="+strconv.Itoa(SchedulerPort),
	)
}

// clientFlags are those of a daemon there is only one of.
func clientFlags(kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false",
	}
}

// Join writes prefixes as flags take them: with commas between.
func Join(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}
