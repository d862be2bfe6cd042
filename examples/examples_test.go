package examples

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/cluster/manifest"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/test/apiserver"
)

func TestEveryFolderIsListed(t *testing.T) {
	files, err := filepath.Glob("*/expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, f := range files {
		folders = append(folders, filepath.Dir(f))
	}
	if want := slices.Sorted(slices.Values(Names)); !slices.Equal(folders, want) {
		t.Errorf("folders are %v, Names has %v", folders, want)
	}
}

// load reads the manifests of an example for the oracle, and gives each pod an
// address of both families.
func load(t *testing.T, folder string) *oracle.Cluster {
	t.Helper()
	c := &oracle.Cluster{}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range manifest.Parse(path, data).Objects {
			switch o := o.Value.(type) {
			case *corev1.Namespace:
				if o.Labels == nil {
					o.Labels = make(map[string]string)
				}
				o.Labels[corev1.LabelMetadataName] = o.Name
				c.Namespaces = append(c.Namespaces, o)
			case *corev1.Pod:
				n := len(c.Pods) + 1
				o.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.0.0.%d", n)}, {IP: fmt.Sprintf("fd00::%d", n)}}
				c.Pods = append(c.Pods, o)
			case *networkingv1.NetworkPolicy:
				c.Policies = append(c.Policies, o)
			}
		}
	}
	return c
}

// endpoint finds the end of a connection over IPv6 or IPv4. It is not ok if the
// end has no address of that family.
func endpoint(t *testing.T, c *oracle.Cluster, e End, v6 bool) (_ oracle.Endpoint, ok bool) {
	t.Helper()
	if e.Outside() {
		return oracle.Endpoint{Addr: e.Addr}, e.Addr.Is6() == v6
	}
	for _, pod := range c.Pods {
		if pod.Namespace == e.Namespace && pod.Name == e.Name {
			addr := netip.MustParseAddr(pod.Status.PodIPs[0].IP)
			if v6 {
				addr = netip.MustParseAddr(pod.Status.PodIPs[1].IP)
			}
			return oracle.Endpoint{Pod: oracle.Key{Namespace: e.Namespace, Name: e.Name}, Addr: addr}, true
		}
	}
	t.Errorf("pods.yaml has no pod %s", e)
	return oracle.Endpoint{}, false
}

func TestExpectationsAreWhatTheOracleSays(t *testing.T) {
	for _, name := range Names {
		t.Run(name, func(t *testing.T) {
			c := load(t, name)
			list, err := ReadExpected(name)
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]bool)
			for _, x := range list {
				asked := false
				for _, v6 := range []bool{false, true} {
					src, ok := endpoint(t, c, x.From, v6)
					dst, too := endpoint(t, c, x.To, v6)
					if !ok || !too {
						continue
					}
					asked = true
					v := c.Judge(oracle.Conn{Src: src, Dst: dst, Protocol: corev1.Protocol(x.Protocol), Port: x.Port})
					if v.Allowed != x.Allow {
						t.Errorf("%s, but the oracle says allowed=%t: %+v", x, v.Allowed, v)
					}
				}
				if !asked {
					t.Errorf("%s: the ends have no family in common", x)
				}
				x.Allow, x.Because = false, ""
				if seen[x.String()] {
					t.Errorf("%s -> %s %s/%d stands twice", x.From, x.To, x.Protocol, x.Port)
				}
				seen[x.String()] = true
			}
			for _, pod := range c.Pods {
				involved := func(x Expectation) bool {
					return x.From.String() == pod.Namespace+"/"+pod.Name || x.To.String() == pod.Namespace+"/"+pod.Name
				}
				if !slices.ContainsFunc(list, involved) {
					t.Errorf("no line is about pod %s/%s", pod.Namespace, pod.Name)
				}
			}
		})
	}
}

func TestAllFoldersLoadTogetherWithoutAProblem(t *testing.T) {
	events, err := cluster.ReadFolder(".", cluster.FolderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Problem != nil {
			t.Error(e.Problem)
		}
		if e.Pod != nil && (len(e.Pod.IPs) > 0 || len(e.Pod.Ports) == 0) {
			t.Errorf("pod %s has addresses %v and ports %v; it should have ports only", e.Pod.Key, e.Pod.IPs, e.Pod.Ports)
		}
	}
}

func TestAPIServerTakesTheManifestsAsTheyAre(t *testing.T) {
	s := apiserver.Start(t, apiserver.Options{})
	for _, name := range Names {
		for _, file := range []string{"namespaces.yaml", "pods.yaml", "policies.yaml"} {
			data, err := os.ReadFile(filepath.Join(name, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Apply(t.Context(), string(data)); err != nil {
				t.Errorf("%s/%s: %v", name, file, err)
			}
		}
	}
}

func TestParseExpectedNamesLineAndField(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"a/b a/c TCP 1", "line 2: has 4 fields"},
		{"a a/c TCP 1 allow", `line 2: from: "a" is neither NAMESPACE/POD nor an address`},
		{"a/b 10.0.0.300 TCP 1 allow", `line 2: to: "10.0.0.300"`},
		{"a/b a/c TPC 1 allow", `line 2: protocol and port: "TPC/1"`},
		{"a/b a/c TCP 0 allow", `line 2: protocol and port: "TCP/0"`},
		{"a/b a/c TCP 65536 allow", `line 2: protocol and port: "TCP/65536"`},
		{"a/b a/c TCP 1 maybe", `line 2: verdict: "maybe"`},
	} {
		_, err := ParseExpected(strings.NewReader("# from to\n" + test.line + "\n"))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want %s", test.line, err, test.want)
		}
	}
}
