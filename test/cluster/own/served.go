package own

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/sluice-cni/sluice/test/bed"
)

const (
	// telling is where pods tell who they are, over TCP and UDP; served is the port
	// of Services that lead there.
	telling = 7071
	served  = 80
)

// tell has a host say its name to whoever asks, and whom it takes that one for.
func tell(h *bed.Host) (stop func() error, err error) {
	var sockets []io.Closer
	stop = func() error {
		var errs []error
		for _, s := range sockets {
			errs = append(errs, s.Close())
		}
		return errors.Join(errs...)
	}
	text := func(client netip.AddrPort) []byte { return fmt.Appendf(nil, "%s %s", h.Name, client.Addr().Unmap()) }
	for _, a := range h.Addrs {
		at := netip.AddrPortFrom(a, telling)
		err := h.Do(func() error {
			l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			sockets = append(sockets, l)
			u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			sockets = append(sockets, u)
			go tellConnections(l, text)
			go tellDatagrams(u, text)
			return nil
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("have %s tell who it is: %w", h.Name, err), stop())
		}
	}
	return stop, nil
}

func tellConnections(l *net.TCPListener, text func(netip.AddrPort) []byte) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return // closed
		}
		_, _ = c.Write(text(c.RemoteAddr().(*net.TCPAddr).AddrPort())) // the client sees an error too
		c.Close()
	}
}

func tellDatagrams(u *net.UDPConn, text func(netip.AddrPort) []byte) {
	buffer := make([]byte, 100)
	for {
		_, from, err := u.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // else an ICMP error that an answer has met with
			_, _ = u.WriteToUDPAddrPort(text(from), from)
		}
	}
}

// told is what a client is told.
type told struct {
	who  string     // by whom
	seen netip.Addr // whom it is taken for
	own  netip.Addr // the address it has
}

// ask asks who answers at an address. A datagram may be lost, as in reach: UDP asks
// three times within the given time.
func ask(ctx context.Context, from *bed.Host, network string, at netip.AddrPort, wait time.Duration) (t told, err error) {
	tries := 1
	if network == "udp" {
		tries = 3
	}
	for range tries {
		if t, err = askOnce(ctx, from, network, at, wait/time.Duration(tries)); !silent(err) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%s asks %s %s: %w", from.Name, network, at, err)
	}
	return t, err
}

func askOnce(ctx context.Context, from *bed.Host, network string, at netip.AddrPort, wait time.Duration) (told, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := from.Dial(ctx, network, at)
	if err != nil {
		return told{}, err
	}
	defer c.Close()
	return listen(c, wait)
}

// listen asks on a connection.
func listen(c net.Conn, wait time.Duration) (t told, err error) {
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return t, err
	}
	switch own := c.LocalAddr().(type) {
	case *net.TCPAddr:
		t.own = own.AddrPort().Addr().Unmap()
	case *net.UDPAddr:
		t.own = own.AddrPort().Addr().Unmap()
		if _, err := c.Write([]byte("who?")); err != nil {
			return t, err
		}
	}
	text := make([]byte, 200)
	n, err := c.Read(text)
	if err != nil {
		return t, err
	}
	who, seen, _ := strings.Cut(string(text[:n]), " ")
	t.who = who
	t.seen, err = netip.ParseAddr(seen)
	return t, err
}

// silent reports whether an error is that nothing was answered.
func silent(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// led asks at an address until each of the hosts wanted has answered. No other may.
func led(ctx context.Context, from *bed.Host, network string, at netip.AddrPort, want ...string) error {
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	// The chance that one of two is missed in all of them is one in 10⁸.
	for i := 0; i < 28 && (i < 4 || len(missing) > 0); i++ {
		t, err := ask(ctx, from, network, at, answers)
		if err != nil {
			return err
		}
		wanted := false
		for _, w := range want {
			wanted = wanted || w == t.who
		}
		if !wanted {
			return fmt.Errorf("%s is led to %s by %s %s, want %s", from.Name, t.who, network, at, want)
		}
		delete(missing, t.who)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s is never led to %v by %s %s", from.Name, missing, network, at)
	}
	return nil
}

// unanswered checks that nobody answers at an address.
func unanswered(ctx context.Context, from *bed.Host, network string, at netip.AddrPort) error {
	t, err := askOnce(ctx, from, network, at, silence)
	if err == nil {
		return fmt.Errorf("%s is led to %s by %s %s", from.Name, t.who, network, at)
	}
	if silent(err) {
		return nil
	}
	return err
}

// clusterAddrs are where a Service is in the cluster.
func clusterAddrs(s *corev1.Service) (all []netip.AddrPort) {
	for _, ip := range s.Spec.ClusterIPs {
		all = append(all, netip.AddrPortFrom(netip.MustParseAddr(ip), served))
	}
	return all
}

// nodePorts are where a Service is on a node; both protocols have the same port.
func nodePorts(s *corev1.Service, node *bed.Host) (all []netip.AddrPort) {
	for _, ip := range s.Spec.ClusterIPs {
		if a := node.Addr(familyOf(netip.MustParseAddr(ip))); a.IsValid() {
			all = append(all, netip.AddrPortFrom(a, uint16(s.Spec.Ports[0].NodePort)))
		}
	}
	return all
}

// over calls f for each of some addresses, over TCP and UDP, all at once.
func over(addrs []netip.AddrPort, f func(network string, at netip.AddrPort) error) error {
	errs := make([]error, len(addrs)*len(networks))
	var all sync.WaitGroup
	for i, at := range addrs {
		for j, network := range networks {
			all.Go(func() { errs[i*len(networks)+j] = f(network, at) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// service makes a Service of pods with a label. It goes with the namespace.
func (e *env) service(ctx context.Context, name, label, value string, change func(*corev1.ServiceSpec)) (*corev1.Service, error) {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{label: value}, IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicyPreferDualStack),
			Ports: []corev1.ServicePort{
				{Name: "t", Protocol: corev1.ProtocolTCP, Port: served, TargetPort: intstr.FromInt32(telling)},
				{Name: "u", Protocol: corev1.ProtocolUDP, Port: served, TargetPort: intstr.FromInt32(telling)},
			},
		},
	}
	if change != nil {
		change(&s.Spec)
	}
	made, err := e.client.CoreV1().Services(namespace).Create(ctx, s, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create service %s: %w", name, err)
	}
	return made, nil
}
