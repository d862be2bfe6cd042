package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/test/apiserver"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/need"
)

// emulated is true in the machine of test/kernel.
var emulated = os.Getenv("SLUICE_KERNEL") != ""

var (
	datapathFlag = flag.String("sluice.datapath", choose(emulated, sandbox.System, sandbox.Netdev), "datapath of the bridge: netdev or system")
	slowFlag     = flag.Int("sluice.slow", choose(emulated, 10, 1), "how many times slower than usual this machine is")
)

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// soon is the time for what is to happen. It happens in milliseconds, but others
// may use the machine too.
func soon() time.Duration { return time.Duration(*slowFlag) * 30 * time.Second }

// silence is how long an answer that must not come is waited for.
func silence() time.Duration { return time.Duration(min(*slowFlag, 5)) * 300 * time.Millisecond }

// suite is what the tests share, each part made when the first test needs it.
var suite struct {
	sync.Mutex
	api    *apiserver.APIServer
	node   *node
	nodes  int    // how many nodes there have been
	bin    string // folder of the binaries
	closed bool
}

func TestMain(m *testing.M) {
	flag.Parse()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		if err := closeSuite(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(130)
	}()
	status := m.Run()
	if err := closeSuite(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	os.Exit(status)
}

func closeSuite() error {
	suite.Lock()
	defer suite.Unlock()
	suite.closed = true
	var errs []error
	if suite.node != nil {
		errs = append(errs, suite.node.Close())
	}
	if suite.api != nil {
		errs = append(errs, suite.api.Close())
	}
	if suite.bin != "" {
		errs = append(errs, os.RemoveAll(suite.bin))
	}
	return errors.Join(errs...)
}

// agentUser is the API user that agents are.
const agentUser = "sluice-agent"

// sharedAPI returns the API server.
func sharedAPI(t testing.TB) *apiserver.APIServer {
	t.Helper()
	need.Root(t)
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	need.Tool(t, "etcd", "apt-get install etcd-server")
	for _, command := range []string{"kube-apiserver", "kubectl"} {
		path, err := apiserver.Binary(command)
		if err != nil {
			t.Fatal(err)
		}
		need.Tool(t, path, apiserver.BuildCommand)
	}
	suite.Lock()
	defer suite.Unlock()
	if suite.closed {
		t.Fatal("interrupted")
	}
	if suite.api != nil {
		return suite.api
	}
	api, err := apiserver.New(context.Background(), apiserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	suite.api = api
	if err := grant(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	return api
}

// grant gives the agents' user what an agent needs, and nothing else.
func grant(ctx context.Context, api *apiserver.APIServer) error {
	read := []string{"get", "list", "watch"}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: agentUser},
		Rules: []rbacv1.PolicyRule{
			{Verbs: read, APIGroups: []string{""}, Resources: []string{"pods", "namespaces", "nodes", "services"}},
			{Verbs: read, APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies", "servicecidrs"}},
			{Verbs: read, APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}},
		},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: agentUser},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: agentUser},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: agentUser}},
	}
	rbac := api.Client().RbacV1()
	if _, err := rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the agent's role: %w", err)
	}
	if _, err := rbac.ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("bind the agent's role: %w", err)
	}
	return nil
}

// sharedNode returns the node that tests share.
func sharedNode(t testing.TB) *node {
	t.Helper()
	api := sharedAPI(t)
	suite.Lock()
	defer suite.Unlock()
	if suite.node == nil {
		suite.node = startNode(t, api, bed.Options{Outside: outside}, 24, 64)
	}
	return suite.node
}

// ownNode returns a node for this test alone, with pod ranges of the given sizes.
func ownNode(t testing.TB, bits4, bits6 int, opts bed.Options) *node {
	t.Helper()
	api := sharedAPI(t)
	suite.Lock()
	defer suite.Unlock()
	n := startNode(t, api, opts, bits4, bits6)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// startNode makes a Node object with pod ranges of its own, and starts the node.
// The suite is locked.
func startNode(t testing.TB, api *apiserver.APIServer, opts bed.Options, bits4, bits6 int) *node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*soon()) // the binaries may have to be built
	defer cancel()
	if opts.Bin = os.Getenv(bed.BinEnv); opts.Bin == "" {
		if suite.bin == "" {
			dir, err := os.MkdirTemp("", "sluice-e2e-")
			if err != nil {
				t.Fatal(err)
			}
			if err := bed.Build(ctx, dir); err != nil {
				os.RemoveAll(dir)
				t.Fatal(err)
			}
			suite.bin = dir
		}
		opts.Bin = suite.bin
	}
	suite.nodes++
	i := byte(suite.nodes)
	cidr4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, i, 0}), bits4)
	cidr6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0, 0x10, 2, 0x44, 0, i}), bits6)
	kubeconfig, err := api.KubeconfigFor(agentUser)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(api.URL()[len("https://"):])
	if err != nil {
		t.Fatal(err)
	}
	opts.Datapath, opts.NodeName, opts.Number = *datapathFlag, fmt.Sprintf("node%d", i), 1+i
	opts.PodCIDRs, opts.Kubeconfig, opts.Forward = []netip.Prefix{}, kubeconfig, addr
	if err := api.CreateNode(ctx, opts.NodeName, []netip.Prefix{cidr4, cidr6}, bed.NodeAddrs(opts.Number)...); err != nil {
		t.Fatal(err)
	}
	b, err := bed.Start(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	return &node{Bed: b, api: api, name: opts.NodeName, gateways: []netip.Addr{cidr4.Addr().Next(), cidr6.Addr().Next()}}
}
