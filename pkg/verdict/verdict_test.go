package verdict_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/verdict"
)

func intOrString(port int) intstr.IntOrString { return intstr.FromInt(port) }

// A port that floods is told of at its own rate. What is not told of is counted,
// and one packet of another port is told of all the same.
func TestAFloodIsSampledAndCountedAndHidesNoOtherPort(t *testing.T) {
	const flood = 2000
	b := newBed(t, flows.Watch{PerPort: 50, Denied: 200, Allowed: 200})
	events := b.Verdicts.Read(api.WatchFilter{}, 0)
	defer events.Close()
	begin := time.Now()
	for i := range uint16(flood) {
		b.connect(podC, podB, 1000+i, 80, 1) // more at once a dummy port does not take
		if i == flood/2 {
			b.connect(podA, podB, 999, 81, 1)
		}
	}
	got := map[string]uint64{}
	for got["shop/a"] == 0 || got["shop/c"] == 0 {
		for _, e := range b.next(events) {
			if e.Verdict != api.Denied || e.Direction != "ingress" || !slices.Equal(e.Policies, []string{"shop/guard"}) || e.To.Pod != "shop/b" {
				t.Fatalf("event %+v", e)
			}
			got[e.From.Pod]++
		}
	}
	s := b.await(func(s api.WatchStatus) bool { return s.Denied >= flood+1 && s.Sampled+s.Missed == s.Denied })
	for got["shop/a"]+got["shop/c"] < s.Sampled {
		for _, e := range b.next(events) {
			got[e.From.Pod]++
		}
	}
	if s.Denied != flood+1 || got["shop/a"] != 1 {
		t.Errorf("%d denied, sent %d; events %v", s.Denied, flood+1, got)
	}
	if most := uint64(50 * (2 + time.Since(begin).Seconds())); got["shop/c"] > most {
		t.Errorf("%d events of the port that floods, its meter lets %d pass", got["shop/c"], most)
	}
	t.Logf("%+v, events by pod %v", s, got)
}

func TestEachKindOfVerdictIsToldAsWhatItIs(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	events := b.Verdicts.Read(api.WatchFilter{Allows: true}, 0)
	defer events.Close()
	b.await(func(s api.WatchStatus) bool { return s.Allows })
	other := netip.MustParseAddr("10.0.0.99")
	ack := syn(t, podA, addrOf(podA), addrOf(podB), 7, 80)
	ack[14+20+13] = 0x10 // the flags of TCP: no beginning; its checksum is wrong now, too
	for _, c := range []struct {
		frame []byte
		want  api.Event
	}{
		{syn(t, podA, addrOf(podA), addrOf(podB), 5, 80), api.Event{
			Verdict: api.Allowed, Policies: []string{"shop/guard"}, Protocol: "tcp", SourcePort: 5, Port: 80,
			From: api.Endpoint{Pod: "shop/a", Addr: "10.0.0.2"}, To: api.Endpoint{Pod: "shop/b", Addr: "10.0.0.3"},
			Reason: "no policy isolates egress; ingress allowed by rule 0 of NetworkPolicy shop/guard (from pods app=a in namespace shop on TCP 80)",
		}},
		{syn(t, podA, addrOf(podA), addrOf(podB), 6, 81), api.Event{
			Verdict: api.Denied, Direction: "ingress", Policies: []string{"shop/guard"}, Protocol: "tcp", SourcePort: 6, Port: 81,
			From: api.Endpoint{Pod: "shop/a", Addr: "10.0.0.2"}, To: api.Endpoint{Pod: "shop/b", Addr: "10.0.0.3"},
			Reason: "ingress of pod shop/b is isolated by NetworkPolicy shop/guard, and no rule allows this",
		}},
		{syn(t, podA, other, addrOf(podB), 7, 80), api.Event{
			Verdict: api.Spoofed, Protocol: "tcp", SourcePort: 7, Port: 80,
			From: api.Endpoint{Pod: "shop/a", Addr: "10.0.0.99"}, To: api.Endpoint{Pod: "shop/b", Addr: "10.0.0.3"},
		}},
		{ack, api.Event{
			Verdict: api.Invalid, Protocol: "tcp", SourcePort: 7, Port: 80,
			From: api.Endpoint{Pod: "shop/a", Addr: "10.0.0.2"}, To: api.Endpoint{Pod: "shop/b", Addr: "10.0.0.3"},
			Reason: "the packet neither belongs to a tracked connection nor begins one",
		}},
	} {
		if err := b.Receive(b.context(), podA, c.frame); err != nil {
			t.Fatal(err)
		}
		e := b.next(events)[0]
		if e.Seq == 0 || time.Since(e.Time) > time.Minute || e.Node != "n1" {
			t.Errorf("event %d of %v, node %q", e.Seq, e.Time, e.Node)
		}
		want, got := c.want, *e
		if want.Reason == "" {
			want.Reason = "port " + e.From.Port + " may not send this: it is not from its pod's addresses"
		}
		for _, end := range []*api.Endpoint{&got.From, &got.To} {
			if end.Port == "" || end.OFPort == 0 {
				t.Errorf("end %s without its port", end)
			}
			end.Port, end.OFPort = "", 0
		}
		if rule := got.Ingress; (rule != nil) != (want.Verdict == api.Allowed) || rule != nil && rule.Policy != "shop/guard" {
			t.Errorf("%s: rule %+v", want.Verdict, rule)
		}
		got.Seq, got.Time, got.Node, got.Egress, got.Ingress = 0, time.Time{}, "", nil, nil
		if text := encode(t, got); text != encode(t, want) {
			t.Errorf("told\n got %s\nwant %s", text, encode(t, want))
		}
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The bridge tells of what is allowed only while somebody asks for that.
func TestAllowedConnectionsAreToldWhileTheyAreAskedFor(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	denials := b.Verdicts.Read(api.WatchFilter{}, 0)
	defer denials.Close()
	b.connect(podA, podB, 1, 80, 1) // nobody asks
	all := b.Verdicts.Read(api.WatchFilter{Allows: true}, 0)
	b.await(func(s api.WatchStatus) bool { return s.Allows && s.Readers == 2 })
	if err := b.Settle(b.context()); err != nil { // the datapath may have in its cache how the first one went
		t.Fatal(err)
	}
	b.connect(podA, podB, 2, 80, 1)
	b.connect(podA, podB, 3, 81, 1)
	var told []uint16
	for len(told) < 2 {
		for _, e := range b.next(all) {
			told = append(told, e.SourcePort)
		}
	}
	if slices.Sort(told); !slices.Equal(told, []uint16{2, 3}) {
		t.Errorf("told of %v", told)
	}
	if e := b.next(denials); len(e) != 1 || e[0].SourcePort != 3 {
		t.Errorf("who does not ask for what is allowed is told of %+v", e[0])
	}
	all.Close()
	b.await(func(s api.WatchStatus) bool { return !s.Allows && s.Readers == 1 && s.Allowed == 2 && s.Missed == 0 })
	if _, _, err := all.Next(b.context()); !errors.Is(err, verdict.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Over HTTP each line is an event; recent ones come first, filters hold for all.
func TestWatchAnswersWithRecentEventsAndFollows(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	mux := http.NewServeMux()
	b.Verdicts.Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close) // after the answers
	b.connect(podA, podB, 1, 81, 1)
	b.connect(podC, podB, 2, 81, 3)
	b.await(func(s api.WatchStatus) bool { return s.Sampled == 4 })
	get := func(query string) (*http.Response, *bufio.Scanner) {
		t.Helper()
		req, err := http.NewRequestWithContext(b.context(), http.MethodGet, server.URL+"/v1/watch?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp, bufio.NewScanner(resp.Body)
	}
	ports := func(s *bufio.Scanner, n int) (out []uint16) {
		t.Helper()
		for n != 0 && s.Scan() {
			var line api.WatchLine
			if err := json.Unmarshal(s.Bytes(), &line); err != nil || line.Event == nil {
				t.Fatalf("line %q: %v", s.Text(), err)
			}
			out = append(out, line.Event.SourcePort)
			n--
		}
		return out
	}
	for query, want := range map[string][]uint16{
		"follow=false":                                          nil,
		"follow=false&last=2":                                   {3, 4},
		"follow=false&last=10&pod=shop/a":                       {1},
		"follow=false&last=10&policy=shop/guard":                {1, 2, 3, 4},
		"follow=false&last=10&policy=shop/other":                nil,
		"follow=false&last=10&namespace=sho":                    nil,
		"follow=false&last=10&verdict=spoofed&verdict=allowed":  nil,
		"follow=false&last=1&direction=ingress&verdict=denied":  {4},
		"follow=false&last=10&direction=egress&namespace=shop":  nil,
		"follow=false&last=99999999&allows=true&namespace=shop": {1, 2, 3, 4},
	} {
		if _, lines := get(query); !slices.Equal(ports(lines, -1), want) {
			t.Errorf("%s: not %v", query, want)
		}
	}
	_, lines := get("last=1")
	if got := ports(lines, 1); !slices.Equal(got, []uint16{4}) {
		t.Errorf("recent: %v", got)
	}
	b.connect(podC, podB, 9, 81, 1)
	if got := ports(lines, 1); !slices.Equal(got, []uint16{9}) {
		t.Errorf("followed by %v", got)
	}
	for _, query := range []string{"verdict=no", "direction=up", "last=-1", "follow=perhaps", "pods=shop/a"} {
		if resp, _ := get(query); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %s", query, resp.Status)
		}
	}
}

// Counters of flows go with the flows. That costs what they had counted of allowed
// connections since they were read, and hides nothing of what was denied.
func TestEventsOfWhatIsAllowedHideNothingThatWasMissed(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 10, Denied: 1e5, Allowed: 1e5})
	all := b.Verdicts.Read(api.WatchFilter{Allows: true}, 0)
	b.await(func(s api.WatchStatus) bool { return s.Allows })
	const allowed, denied = 15, 200
	for i := range uint16(allowed) {
		b.connect(podA, podB, 1000+i, 80, 1)
	}
	for got := 0; got < allowed; {
		got += len(b.next(all))
	}
	all.Close()
	b.await(func(s api.WatchStatus) bool { return !s.Allows })
	for i := range uint16(denied) {
		b.connect(podC, podB, 2000+i, 80, 1)
	}
	s := b.await(func(s api.WatchStatus) bool { return s.Denied == denied && s.Sampled+s.Missed >= denied+allowed })
	if s.Sampled+s.Missed != denied+allowed || s.Missed == 0 {
		t.Errorf("%+v of %d that were denied and %d that were allowed", s, denied, allowed)
	}
}

// A reader that does not read loses the oldest events and is told how many.
func TestASlowReaderLosesEventsAndIsToldHowMany(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	slow := b.Verdicts.Read(api.WatchFilter{}, 0)
	defer slow.Close()
	const sent = 1500
	var s api.WatchStatus
	for i := range uint16(sent / 50) {
		b.connect(podC, podB, 1000+50*i, 81, 50)
		s = b.await(func(s api.WatchStatus) bool { return s.Sampled == uint64(50*(i+1)) })
	}
	events, lost, err := slow.Next(b.context())
	if err != nil || lost == 0 || lost+uint64(len(events)) != s.Sampled || s.Lost != lost {
		t.Errorf("%d events, %d lost, %v; %+v", len(events), lost, err, s)
	}
	if first, last := events[0].Seq, events[len(events)-1].Seq; first != lost+1 || last != s.Sampled {
		t.Errorf("events %d to %d of %d", first, last, s.Sampled)
	}
}

// An agent that has just begun hears of verdicts by the flows of the one before. It
// tells of them when it knows the cluster: no event is without pods and policies.
func TestNoEventIsToldBeforeTheClusterIsKnown(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	var ports []policy.LocalPort
	var node flows.Node
	if err := b.Look(b.context(), func(v enforce.View) {
		ports = slices.Collect(maps.Values(v.Ports()))
		node, _ = v.Node()
	}); err != nil {
		t.Fatal(err)
	}
	e := enforce.New(enforce.Config{Node: "n1", Bridge: b.Bridge, PortAddresses: true})
	next := verdict.New(verdict.Config{Node: "n1", Bridge: b.Bridge, Enforcer: e})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	running.Go(func() { _ = next.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for _, p := range ports {
		e.TellPort(p)
	}
	e.SetNode(node)
	heard, events := b.Verdicts.Read(api.WatchFilter{}, 0), next.Read(api.WatchFilter{}, 0)
	defer heard.Close()
	defer events.Close()
	// It hears of the packets from some one on.
	begun := time.Now()
	for i := range uint16(20) {
		b.connect(podA, podB, 1+i, 81, 1)
		b.next(heard)
		time.Sleep(5 * time.Millisecond) // the pace of the packets
	}
	known := time.Now()
	e.Emit(objects())
	got := b.next(events)
	for _, e := range got {
		if e.From.Pod != "shop/a" || e.To.Pod != "shop/b" || !slices.Equal(e.Policies, []string{"shop/guard"}) {
			t.Errorf("event %+v", e)
		}
	}
	if first := got[0].Time; first.Before(begun) || first.After(known) {
		t.Errorf("the first event is of %v; packets came from %v on, the cluster was known at %v", first, begun, known)
	}
}
