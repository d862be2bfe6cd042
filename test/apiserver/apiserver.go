package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sluice-cni/sluice/test/controlplane"
	"github.com/sluice-cni/sluice/test/need"
)

// services are the ranges of ClusterIPs.
var services = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:10:96::/112")}

// startTimeout is how long each daemon may take until it serves. kube-apiserver
// takes about 4 s on an idle machine, ten times that in an emulated one, and more
// than five minutes there where many others use the machine too.
const startTimeout = 10 * time.Minute

// Options say what to run. The zero value is good for most tests.
type Options struct {
	// Dir is the folder for state, certificates and logs. If empty, a temp folder
	// is made, and removed by Close.
	Dir string
	// Controllers are the controllers to run in a kube-controller-manager, by the
	// names its --controllers flag knows, such as "namespace-controller" (without
	// it, a deleted namespace stays Terminating) or "serviceaccount-controller".
	// If empty there is no kube-controller-manager.
	Controllers []string
	// ServiceAccounts turns on the admission plugin that refuses pods whose
	// service account does not exist. It needs "serviceaccount-controller", and
	// that controller time: a namespace is then not ready for pods at once.
	ServiceAccounts bool
}

// APIServer is a running kube-apiserver with its etcd. Its methods are safe for
// concurrent use, except that Stop, Start and Close are for one owner.
type APIServer struct {
	dir       string
	temporary bool // dir is ours to remove
	options   Options
	plane     controlplane.Config

	// The administrator's ways in.
	config     *rest.Config
	client     kubernetes.Interface
	kubeconfig string

	etcd, server, controllers *process
}

// Start runs an API server until the test ends. Binaries that are missing skip
// the test, or fail it where CI is set.
func Start(t testing.TB, options Options) *APIServer {
	t.Helper()
	need.Tool(t, "etcd", "apt-get install etcd-server")
	commands := []string{"kube-apiserver", "kubectl"}
	if len(options.Controllers) > 0 {
		commands = append(commands, "kube-controller-manager")
	}
	for _, command := range commands {
		path, err := Binary(command)
		if err != nil {
			t.Fatal(err)
		}
		need.Tool(t, path, BuildCommand)
	}
	s, err := New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// New runs an API server and returns once it is ready and the namespace
// "default" is there. Close ends it.
func New(ctx context.Context, options Options) (_ *APIServer, err error) {
	s := &APIServer{dir: options.Dir, options: options}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "sluice-apiserver-"); err != nil {
			return nil, fmt.Errorf("make a folder for the API server: %w", err)
		}
		s.temporary = true
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()

	addr, err := loopback(controlplane.EtcdPort, controlplane.EtcdPeerPort, controlplane.ServerPort, controlplane.ControllersPort)
	if err != nil {
		return nil, err
	}
	s.plane = controlplane.Config{
		Dir: s.dir, Listen: addr, Serve: []netip.Addr{addr}, Services: services,
		// A loopback address is refused here, and an address of the machine's own
		// depends on the machine. Nothing uses the endpoint it becomes.
		Advertise: netip.MustParseAddr("192.0.2.1"),
	}
	if err := s.plane.WriteFiles(); err != nil {
		return nil, err
	}
	if s.kubeconfig, err = s.KubeconfigFor("admin", controlplane.Admin); err != nil {
		return nil, err
	}
	if s.config, err = s.ConfigFor("admin", controlplane.Admin); err != nil {
		return nil, err
	}
	if s.client, err = kubernetes.NewForConfig(s.config); err != nil {
		return nil, fmt.Errorf("make the admin client: %w", err)
	}
	if err := s.startEtcd(ctx); err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	if err := s.waitNamespace(ctx, "default"); err != nil {
		return nil, err
	}
	if len(options.Controllers) > 0 {
		if err := s.startControllers(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// URL returns the server's address, such as "https://127.8.4.2:6443".
func (s *APIServer) URL() string { return s.plane.URL() }

// Config returns the client configuration of the administrator. The caller may
// change it. It has no rate limit: the API server has its own.
func (s *APIServer) Config() *rest.Config { return rest.CopyConfig(s.config) }

// Client returns a client of the administrator.
func (s *APIServer) Client() kubernetes.Interface { return s.client }

// Stop ends kube-apiserver abruptly, as a crash does: connections break, and
// until Start nothing listens on its port. etcd goes on and keeps the objects.
func (s *APIServer) Stop() {
	if s.server != nil {
		s.server.kill()
		s.server = nil
	}
}

// Start starts a kube-apiserver that was stopped, at the same address, and
// returns once it is ready.
func (s *APIServer) Start(ctx context.Context) error {
	if s.server != nil {
		return errors.New("start kube-apiserver: it runs")
	}
	path, err := controlplane.Lookup("kube-apiserver")
	if err != nil {
		return err
	}
	if s.server, err = startProcess(s.dir, "kube-apiserver", path, s.serverFlags()...); err != nil {
		return err
	}
	return waitReady(ctx, s.server, func(ctx context.Context) error {
		return s.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// Close ends all daemons and removes what New made.
func (s *APIServer) Close() error {
	for _, p := range []*process{s.controllers, s.server, s.etcd} {
		if p != nil {
			p.kill()
		}
	}
	s.controllers, s.server, s.etcd = nil, nil, nil
	if !s.temporary {
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove the folder of the API server: %w", err)
	}
	return nil
}

func (s *APIServer) path(name string) string { return filepath.Join(s.dir, name) }

// waitReady calls check until it succeeds, the process ends or startTimeout is
// over.
func waitReady(ctx context.Context, p *process, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	var last error
	for {
		select {
		case <-p.done:
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is ready: %w; last answer: %v; the end of its log:\n%s",
				p.name, context.Cause(ctx), last, p.logTail())
		case <-poll.C:
			if last = check(ctx); last == nil {
				return nil
			}
		}
	}
}
