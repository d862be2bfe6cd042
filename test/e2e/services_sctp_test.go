package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/test/bed"
)

// sctpSocket opens an SCTP socket of the kind that is used as a TCP one is (RFC
// 6458, section 4), with a time limit for all it does.
func sctpSocket(h *bed.Host, a netip.AddrPort, use func(fd int, a unix.Sockaddr) error) (*os.File, error) {
	domain, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()})
	if a.Addr().Is4() {
		domain, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	var f *os.File
	err := h.Do(func() error {
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err != nil {
			return fmt.Errorf("open an SCTP socket: %w", err)
		}
		f = os.NewFile(uintptr(fd), "sctp "+a.String())
		limit := unix.NsecToTimeval(int64(4 * silence()))
		for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
				return err
			}
		}
		return use(fd, sa)
	})
	if err != nil && f != nil {
		f.Close()
	}
	return f, err
}

// tellsSCTP has a host tell who it is to whoever associates with it.
func tellsSCTP(t testing.TB, h *bed.Host, port uint16) {
	t.Helper()
	for _, a := range h.Addrs {
		f, err := sctpSocket(h, netip.AddrPortFrom(a, port), func(fd int, a unix.Sockaddr) error {
			return errors.Join(unix.Bind(fd, a), unix.Listen(fd, 16))
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.FileListener(f) // the runtime waits for associations
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, h.Name) //nolint:errcheck // the client sees it
				c.Close()
			}
		}()
	}
}

// askSCTP returns who answers an association.
func askSCTP(from *bed.Host, to netip.AddrPort) (string, error) {
	f, err := sctpSocket(from, to, func(fd int, a unix.Sockaddr) error { return unix.Connect(fd, a) })
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := make([]byte, 200)
	size, err := unix.Read(int(f.Fd()), text)
	if err != nil {
		return "", err
	}
	if size == 0 {
		return "", io.ErrUnexpectedEOF
	}
	return string(text[:size]), nil
}

func TestSCTPServiceLeadsToItsEndpoints(t *testing.T) {
	if *datapathFlag != sandbox.System {
		t.Skip("SCTP Services are refused here: the tracker can't translate SCTP (docs/sctp.md)")
	}
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "sctp-service"
	n.namespace(t, ns, nil)
	one, two, client := n.pod(t, ns, "one", nil), n.pod(t, ns, "two", nil), n.pod(t, ns, "client", nil)
	tellsSCTP(t, &one.Host, telling)
	tellsSCTP(t, &two.Host, telling)
	s := n.service(t, ns, "web", func(s *corev1.ServiceSpec) {
		s.Ports = []corev1.ServicePort{{Name: "s", Protocol: corev1.ProtocolSCTP, Port: 80, TargetPort: intstr.FromInt32(telling)}}
	})
	n.serves(t, ns, "web", &one.Host, &two.Host)
	for _, to := range frontends(s, 80) {
		for _, from := range []*bed.Host{&client.Host, &one.Host, n.Node} {
			eventually(t, fmt.Sprintf("%s to sctp %s finds both", from.Name, to), func(ctx context.Context) error {
				found := map[string]bool{}
				for range 16 {
					who, err := askSCTP(from, to)
					if err != nil {
						return err
					}
					found[who] = true
				}
				if len(found) != 2 || !found[one.Name] || !found[two.Name] {
					return fmt.Errorf("found %v", found)
				}
				return nil
			})
		}
	}
}
