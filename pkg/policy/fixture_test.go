package policy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// world is a compiler with a model of what it has told.
type world struct {
	t testing.TB
	*Compiler
	model *model
	pods  map[string]*cluster.Pod
	next  uint32
}

func newWorld(t testing.TB) *world {
	return &world{t: t, Compiler: New("n1"), model: newModel(), pods: map[string]*cluster.Pod{}}
}

// shop returns a world of two namespaces with pods of both families, all but
// play/far on this node.
func shop(t testing.TB) *world {
	w := newWorld(t)
	w.namespace("shop", "team=a")
	w.namespace("play", "team=b,env=test")
	for _, p := range []*cluster.Pod{
		pod("shop/web", 1, "app=web"),
		pod("shop/api", 2, "app=api,tier=back", "http=8080"),
		pod("shop/db", 3, "app=db,tier=back", "pg=5432", "http=9090", "dns=53/UDP"),
		pod("play/web", 4, "app=web"),
		pod("play/api", 5, "app=api", "http=8081"),
	} {
		w.attach(p)
	}
	far := pod("play/far", 6, "app=far", "http=8082")
	far.Node = "n2"
	w.put(far)
	w.Update(cluster.Event{Synced: true})
	w.flush()
	return w
}

// pod makes a pod of node n1 with the addresses 10.0.0.N and fd00::N, and ports
// given as name=number or name=number/protocol.
func pod(name string, n int, labels string, ports ...string) *cluster.Pod {
	p := &cluster.Pod{Key: key(name), UID: "uid-" + name, Node: "n1", Labels: pairs(labels), IPs: podAddrs(n)}
	for _, text := range ports {
		name, number, _ := strings.Cut(text, "=")
		number, proto, ok := strings.Cut(number, "/")
		if !ok {
			proto = "TCP"
		}
		i, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			panic(err)
		}
		p.Ports = append(p.Ports, cluster.NamedPort{Name: name, Protocol: proto, Port: uint16(i)})
	}
	return p
}

func podAddrs(n int) []netip.Addr {
	return []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", n)), netip.MustParseAddr(fmt.Sprintf("fd00::%d", n))}
}

func key(text string) cluster.Key {
	ns, name, ok := strings.Cut(text, "/")
	if !ok {
		panic("not namespace/name: " + text)
	}
	return cluster.Key{Namespace: ns, Name: name}
}

func pairs(text string) map[string]string {
	out := map[string]string{}
	for _, l := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		k, v, _ := strings.Cut(l, "=")
		out[k] = v
	}
	return out
}

// attach puts a pod and its port.
func (w *world) attach(p *cluster.Pod) {
	w.put(p)
	w.SetPort(w.portOf(p))
}

// portOf makes the port of a pod.
func (w *world) portOf(p *cluster.Pod) LocalPort {
	w.next++
	return LocalPort{Name: "sl-" + p.Key.String(), OFPort: w.next, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(w.next)},
		Addrs: p.IPs, Pod: p.Key, UID: p.UID}
}

func (w *world) put(p *cluster.Pod) {
	w.pods[p.Key.String()] = p
	w.Update(cluster.Event{Pod: p})
}

// change puts an altered copy of a pod.
func (w *world) change(name string, f func(*cluster.Pod)) {
	p := *w.pods[name]
	f(&p)
	w.put(&p)
}

func (w *world) remove(name string) {
	w.Update(cluster.Event{Deleted: true, Pod: w.pods[name]})
}

func (w *world) namespace(name, labels string) {
	w.Update(cluster.Event{Namespace: &cluster.Namespace{Name: name, Labels: pairs(labels)}})
}

// policy puts a policy "namespace/name" with a spec in YAML.
func (w *world) policy(name, spec string) {
	w.t.Helper()
	w.Update(cluster.Event{Policy: policyOf(w.t, name, spec)})
}

func policyOf(t testing.TB, name, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	np := &networkingv1.NetworkPolicy{}
	np.Namespace, np.Name = key(name).Namespace, key(name).Name
	if err := yaml.UnmarshalStrict([]byte(spec), &np.Spec); err != nil {
		t.Fatalf("policy %s: %v", name, err)
	}
	return np
}

func (w *world) removePolicy(name string) {
	np := &networkingv1.NetworkPolicy{}
	np.Namespace, np.Name = key(name).Namespace, key(name).Name
	w.Update(cluster.Event{Deleted: true, Policy: np})
}

// flush brings the model up to date and returns what was told.
func (w *world) flush() flows.Delta {
	w.t.Helper()
	d, _ := w.flushAll()
	return d
}

func (w *world) flushAll() (flows.Delta, []Problem) {
	w.t.Helper()
	d, problems := w.Flush()
	if err := w.model.apply(d); err != nil {
		w.t.Fatalf("delta: %v", err)
	}
	if again, p := w.Flush(); !again.Empty() || len(p) > 0 {
		w.t.Fatalf("a second flush tells %+v, %v", again, p)
	}
	return d, problems
}

// expect flushes and checks connections, one a line: "shop/web > shop/db
// tcp/5432". An end is a pod, asked for in both families, or an address.
func (w *world) expect(allow bool, lines ...string) {
	w.t.Helper()
	w.flush()
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 4 || f[1] != ">" {
			w.t.Fatalf("not a connection: %q", line)
		}
		proto, port := service(w.t, f[3])
		asked := 0
		for _, src := range w.addrs(f[0]) {
			for _, dst := range w.addrs(f[2]) {
				if src.Is4() != dst.Is4() {
					continue
				}
				asked++
				if got := w.model.allowed(src, dst, proto, port); got != allow {
					w.t.Errorf("%s (%s > %s): allowed=%v, want %v\n%s", line, src, dst, got, allow, w.model.dump())
				}
			}
		}
		if asked == 0 {
			w.t.Fatalf("no family in common: %q", line)
		}
	}
}

func (w *world) allowed(lines ...string) { w.t.Helper(); w.expect(true, lines...) }
func (w *world) denied(lines ...string)  { w.t.Helper(); w.expect(false, lines...) }

func (w *world) addrs(end string) []netip.Addr {
	if p := w.pods[end]; p != nil {
		return p.IPs
	}
	return []netip.Addr{netip.MustParseAddr(end)}
}

func service(t testing.TB, text string) (uint8, uint16) {
	t.Helper()
	proto, number, _ := strings.Cut(text, "/")
	protos := map[string]uint8{"icmp": 1, "tcp": flows.TCP, "udp": flows.UDP, "sctp": flows.SCTP}
	if protos[proto] == 0 {
		t.Fatalf("not a protocol: %q", text)
	}
	if number == "" {
		return protos[proto], 0
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return protos[proto], uint16(n)
}

// ruleKeys returns the rules in force, sorted.
func (w *world) ruleKeys() []string {
	var out []string
	for k := range w.model.rules {
		out = append(out, string(k))
	}
	slices.Sort(out)
	return out
}
