package cli

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// twoNodes are node-a with pods shop/frontend, shop/visitor and shop/locked, of which
// the last may send nothing, and node-b with shop/db, which the frontend may reach on
// TCP 5432, and shop/web, which serves a Service. Each has an Open vSwitch of its
// own. It returns the flags that lead to both agents.
func twoNodes(t *testing.T, mode nodes.Mode) (a, b string) {
	t.Helper()
	sockets, _ := twoBeds(t, mode, flows.Watch{})
	return sockets[0], sockets[1]
}

// twoBeds are twoNodes that tell of verdicts, their sockets and themselves.
func twoBeds(t *testing.T, mode nodes.Mode, watch flows.Watch) (sockets []string, beds []*simulate.Bed) {
	t.Helper()
	needOVS(t)
	range4 := map[string]string{"node-a": "10.244.0.0/24", "node-b": "10.244.1.0/24"}
	range6 := map[string]string{"node-a": "fd00:10:244::/64", "node-b": "fd00:10:244:1::/64"}
	var all []*cluster.Node
	for i, name := range []string{"node-a", "node-b"} {
		internal := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}
		all = append(all, &cluster.Node{
			Name: name, Internal: internal, Addrs: internal,
			PodCIDRs: []netip.Prefix{netip.MustParsePrefix(range4[name]), netip.MustParsePrefix(range6[name])},
		})
	}
	events := []cluster.Event{{Namespace: &cluster.Namespace{Name: "shop"}}, {Node: all[0]}, {Node: all[1]}}
	pods := map[string][]*cluster.Pod{}
	for _, p := range []struct{ name, node, host string }{
		{"frontend", "node-a", "5"}, {"locked", "node-a", "6"}, {"visitor", "node-a", "7"}, {"db", "node-b", "5"}, {"web", "node-b", "6"},
	} {
		key := cluster.Key{Namespace: "shop", Name: p.name}
		addrs := []netip.Addr{
			netip.MustParseAddr(strings.Replace(range4[p.node], ".0/24", "."+p.host, 1)),
			netip.MustParseAddr(strings.Replace(range6[p.node], "::/64", "::"+p.host, 1)),
		}
		pod := &cluster.Pod{Key: key, UID: p.name, Node: p.node, IPs: addrs, Labels: map[string]string{"app": p.name}}
		pods[p.node] = append(pods[p.node], pod)
		events = append(events, cluster.Event{Pod: pod})
	}
	from := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "frontend"}}}
	for _, policy := range []*networkingv1.NetworkPolicy{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "lock"}, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "locked"}}, PolicyTypes: []networkingv1.PolicyType{"Egress"}}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db-guard"}, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}, PolicyTypes: []networkingv1.PolicyType{"Ingress"},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{from}}}}},
	} {
		events = append(events, cluster.Event{Policy: cluster.TrimPolicy(policy)})
	}
	events = append(events,
		cluster.Event{Service: &cluster.Service{
			Key: cluster.Key{Namespace: "shop", Name: "web"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
			Ports: []cluster.ServicePort{{Name: "http", Protocol: "TCP", Port: 80}}}},
		cluster.Event{Slice: &cluster.EndpointSlice{
			Key: cluster.Key{Namespace: "shop", Name: "web-1"}, Service: "web",
			Ports:     []cluster.EndpointPort{{Name: "http", Protocol: "TCP", Port: 8080}},
			Endpoints: []cluster.Endpoint{{Addr: netip.MustParseAddr("10.244.1.6"), Ready: true, Serving: true, Node: "node-b"}}}},
		cluster.Event{Synced: true})
	dir, err := os.MkdirTemp("/tmp", "sluice-cli-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, n := range all {
		bed, err := simulate.Start(t.Context(), simulate.Options{
			Node: n.Name, PodCIDRs: n.PodCIDRs, Addrs: n.Addrs, Others: &simulate.Others{Mode: mode, Nodes: all}, Watch: watch,
			OnProblem: func(err error) { t.Error(err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		bed.Register(mux)
		if bed.Verdicts != nil {
			bed.Verdicts.Register(mux)
		}
		server := &http.Server{Handler: mux}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if err := bed.Close(); err != nil {
				t.Error(err)
			}
		})
		for _, p := range pods[n.Name] {
			if err := bed.Attach(t.Context(), p.Key, p.UID, p.IPs); err != nil {
				t.Fatal(err)
			}
		}
		bed.Emit(events)
		if err := bed.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("unix", filepath.Join(dir, n.Name))
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(listener)
		sockets, beds = append(sockets, filepath.Join(dir, n.Name)), append(beds, bed)
	}
	return sockets, beds
}

func TestOneTraceTellsOfBothNodes(t *testing.T) {
	a, b := twoNodes(t, nodes.Encap)
	both := []string{"--agent", "node-a=" + a, "--agent", "node-b=" + b}
	for _, tc := range []struct {
		file, args string
		code       int
	}{
		{"across-allowed.txt", "shop/frontend shop/db 5432", exitDone},
		{"across-denied-egress.txt", "shop/locked shop/db 5432", exitDenied},
		{"across-denied-ingress.txt", "10.244.0.7 shop/db 5432", exitDenied},
		{"across-back.txt", "shop/web shop/locked 80", exitDone},
		{"across-ipv6.txt", "shop/frontend shop/web icmp --family 6", exitDone},
		{"across-service.txt", "shop/frontend svc:shop/web", exitDone},
		{"across-outside.txt", "203.0.113.7 shop/db 5432", exitDenied},
		{"across-node-port.txt", "203.0.113.7 svc:shop/web --node node-a", exitDone},
		{"across-wide.txt", "shop/frontend shop/web 8080 -o wide", exitDone},
	} {
		t.Run(tc.file, func(t *testing.T) {
			r := run(t, append(append([]string{"trace"}, strings.Fields(tc.args)...), both...)...)
			r.want(t, tc.code, "")
			golden(t, tc.file, r.out)
		})
	}
	for format, read := range map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": func(d []byte, v any) error { return yaml.UnmarshalStrict(d, v) }} {
		t.Run(format, func(t *testing.T) {
			r := run(t, append([]string{"trace", "shop/frontend", "svc:shop/web", "-o", format}, both...)...)
			r.want(t, exitDone, "")
			var x api.Explanation
			if err := read([]byte(r.out), &x); err != nil {
				t.Fatal(err)
			}
			if x.Node != "node-a" || x.Verdict != api.Allowed || x.Service == nil || x.Next == nil || x.Next.Answer == nil {
				t.Fatalf("answer %+v", x)
			}
			want := api.TraceRequest{From: "10.244.0.5", To: "10.244.1.6", Protocol: "tcp", Port: 8080, Arrival: &api.Arrival{Node: "node-a", By: api.ByTunnel, TunnelSource: "192.0.2.1", SourcePort: 40000}}
			if got := x.Next.Ask; *got.Arrival != *want.Arrival || got.To != want.To || got.From != want.From || got.Port != want.Port {
				t.Errorf("asked %+v by %+v", got, got.Arrival)
			}
			if n := x.Next.Answer; n.Node != "node-b" || n.Ingress == nil || n.From.Pod != "shop/frontend" || n.To.Pod != "shop/web" {
				t.Errorf("the second half is %+v", n)
			}
		})
	}
	t.Run("one that is not reached", func(t *testing.T) {
		r := run(t, "trace", "shop/frontend", "shop/db", "5432", "--socket", a)
		r.want(t, exitIncomplete, "--agent node-b=SOCKET")
		golden(t, "across-not-asked.txt", r.out)
		r = run(t, "trace", "shop/frontend", "shop/db", "5432", "--socket", b)
		r.want(t, exitIncomplete, "--agent node-a=SOCKET")
		golden(t, "across-not-asked-first.txt", r.out)
		// A verdict that denies is one, whatever others say.
		run(t, "trace", "shop/locked", "shop/db", "5432", "--socket", a).want(t, exitDenied, "")
		run(t, "trace", "shop/visitor", "shop/db", "5432", "--socket", b).want(t, exitDenied, "--agent node-a=SOCKET")
		run(t, "trace", "shop/frontend", "shop/db", "5432", "--agent", "node-a="+a, "--agent", "node-b=/nowhere").want(t, exitIncomplete, "")
	})
	t.Run("answer", func(t *testing.T) {
		var out, errs bytes.Buffer
		question := `{"from": "10.244.0.6", "to": "10.244.1.5", "protocol": "tcp", "port": 5432, "arrival": {"node": "node-a", "by": "encap", "tunnelSource": "192.0.2.9"}}`
		code := Run(t.Context(), []string{"sluice", "answer", "--socket", b}, Streams{In: strings.NewReader(question), Out: &out, Err: &errs})
		var x api.Explanation
		if err := json.Unmarshal(out.Bytes(), &x); err != nil || code != exitDone || errs.Len() > 0 {
			t.Fatalf("exit code %d, %v, %s%s", code, err, out.String(), errs.String())
		}
		if x.Verdict != api.Denied || !strings.Contains(x.Reason, "the tunnel takes from another node only") {
			t.Errorf("from a foreign end of the tunnel: %s: %s", x.Verdict, x.Reason)
		}
		for _, bad := range []string{"", strings.Repeat(" ", maxQuestion+1), `{"from": "10.244.0.6", "to": "10.244.1.5", "protocol": "tcp", "port": 1, "arrival": {"by": "bogus"}}`} {
			out.Reset()
			code := Run(t.Context(), []string{"sluice", "answer", "--socket", b}, Streams{In: strings.NewReader(bad), Out: &out, Err: &errs})
			var refusal api.Error
			if err := json.Unmarshal(out.Bytes(), &refusal); err != nil || code != exitError || refusal.Message == "" || errs.Len() > 0 {
				t.Errorf("exit code %d, %v, %s%s", code, err, out.String(), errs.String())
			}
		}
	})
}

func TestOneTraceTellsOfBothNodesWithoutATunnel(t *testing.T) {
	a, b := twoNodes(t, nodes.NoEncap)
	r := run(t, "trace", "shop/frontend", "shop/db", "5432", "--agent", "node-a="+a, "--agent", "node-b="+b)
	r.want(t, exitDone, "")
	golden(t, "across-routed.txt", r.out)
}
