package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// The ports the daemons listen on, all on the instance's own address.
const (
	etcdPort        = 2379
	etcdPeerPort    = 2380
	serverPort      = 6443
	controllersPort = 10257
)

// serviceCIDR is the range of ClusterIPs.
const serviceCIDR = "10.96.0.0/16"

// loopback finds an address in 127.0.0.0/8 on which the ports are free.
//
// An address of its own, and not free ports of 127.0.0.1: those could be taken
// by someone else between the look and the bind, or while the API server is
// stopped.
func loopback(ports ...uint16) (netip.Addr, error) {
	var errs []error
	for range 20 {
		// Not 127.0.0.0/16 and 127.255.0.0/16, where other things live.
		addr := netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
		err := bindable(addr, ports)
		if err == nil {
			return addr, nil
		}
		errs = append(errs, err)
	}
	return netip.Addr{}, fmt.Errorf("find a free loopback address: %w", errors.Join(errs...))
}

func bindable(addr netip.Addr, ports []uint16) error {
	for _, port := range ports {
		l, err := net.Listen("tcp4", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}

func (s *APIServer) hostPort(port uint16) string { return netip.AddrPortFrom(s.addr, port).String() }

func (s *APIServer) url(port uint16) string { return "https://" + s.hostPort(port) }

func (s *APIServer) startEtcd(ctx context.Context) error {
	path, err := exec.LookPath("etcd")
	if err != nil {
		return fmt.Errorf("start etcd: %w (run: apt-get install etcd-server)", err)
	}
	client, peer := "http://"+s.hostPort(etcdPort), "http://"+s.hostPort(etcdPeerPort)
	s.etcd, err = startProcess(s.dir, "etcd", path,
		"--name=test",
		"--data-dir="+s.path("etcd"),
		"--unsafe-no-fsync", // what a power failure leaves is of no interest
		"--listen-client-urls="+client,
		"--advertise-client-urls="+client,
		"--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer,
		"--initial-cluster=test="+peer,
		"--log-level=warn",
	)
	if err != nil {
		return err
	}
	return waitReady(ctx, s.etcd, func(ctx context.Context) error { return healthy(ctx, client+"/health") })
}

func healthy(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, body)
	}
	return nil
}

func (s *APIServer) serverFlags() []string {
	flags := []string{
		"--etcd-servers=http://" + s.hostPort(etcdPort),
		"--bind-address=" + s.addr.String(),
		// A loopback address is refused here, and an address of the machine's own
		// depends on the machine. Nothing uses the endpoint it becomes.
		"--advertise-address=192.0.2.1",
		"--secure-port=" + strconv.Itoa(serverPort),
		"--tls-cert-file=" + s.path("server.crt"),
		"--tls-private-key-file=" + s.path("server.key"),
		"--client-ca-file=" + s.path("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + s.path("sa.key"),
		"--service-account-signing-key-file=" + s.path("sa.key"),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
	}
	if !s.options.ServiceAccounts {
		flags = append(flags, "--disable-admission-plugins=ServiceAccount")
	}
	return flags
}

func (s *APIServer) startControllers(ctx context.Context) error {
	path, err := lookup("kube-controller-manager")
	if err != nil {
		return err
	}
	kubeconfig, err := s.KubeconfigFor("system:kube-controller-manager")
	if err != nil {
		return err
	}
	s.controllers, err = startProcess(s.dir, "kube-controller-manager", path,
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address="+s.addr.String(),
		"--secure-port="+strconv.Itoa(controllersPort),
		"--tls-cert-file="+s.path("server.crt"),
		"--tls-private-key-file="+s.path("server.key"),
		"--controllers="+strings.Join(s.options.Controllers, ","),
		"--root-ca-file="+s.path("ca.crt"),
		"--service-account-private-key-file="+s.path("sa.key"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
	)
	if err != nil {
		return err
	}
	return waitReady(ctx, s.controllers, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.hostPort(controllersPort))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// waitNamespace waits until a namespace that the API server makes by itself is
// there: readiness does not tell.
func (s *APIServer) waitNamespace(ctx context.Context, name string) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := s.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("wait for namespace %s: %w", name, err)
	}
	return nil
}
