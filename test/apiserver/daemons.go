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
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/sluice-cni/sluice/test/controlplane"
)

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

func (s *APIServer) startEtcd(ctx context.Context) error {
	path, err := exec.LookPath("etcd")
	if err != nil {
		return fmt.Errorf("start etcd: %w (run: apt-get install etcd-server)", err)
	}
	s.etcd, err = startProcess(s.dir, "etcd", path, s.plane.EtcdFlags()...)
	if err != nil {
		return err
	}
	return waitReady(ctx, s.etcd, func(ctx context.Context) error { return healthy(ctx, s.plane.EtcdURL()+"/health") })
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
	flags := s.plane.ServerFlags(s.plane.Listen)
	if !s.options.ServiceAccounts {
		flags = append(flags, "--disable-admission-plugins=ServiceAccount")
	}
	return flags
}

func (s *APIServer) startControllers(ctx context.Context) error {
	path, err := controlplane.Lookup("kube-controller-manager")
	if err != nil {
		return err
	}
	kubeconfig, err := s.KubeconfigFor("system:kube-controller-manager")
	if err != nil {
		return err
	}
	s.controllers, err = startProcess(s.dir, "kube-controller-manager", path,
		s.plane.ControllersFlags(kubeconfig, s.options.Controllers...)...)
	if err != nil {
		return err
	}
	return waitReady(ctx, s.controllers, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", netip.AddrPortFrom(s.plane.Listen, controlplane.ControllersPort).String())
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
