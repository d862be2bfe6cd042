package service

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

func addrs(texts ...string) (out []netip.Addr) {
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func set(e any) cluster.Event     { return event(e, false) }
func deleted(e any) cluster.Event { return event(e, true) }

func event(e any, deleted bool) cluster.Event {
	out := cluster.Event{Deleted: deleted}
	switch e := e.(type) {
	case *cluster.Service:
		out.Service = e
	case *cluster.EndpointSlice:
		out.Slice = e
	case *cluster.Node:
		out.Node = e
	}
	return out
}

// web is Service shop/web with port http, changed by edit.
func web(edit func(*cluster.Service)) *cluster.Service {
	s := &cluster.Service{
		Key: cluster.Key{Namespace: "shop", Name: "web"}, ClusterIPs: addrs("10.96.0.1"),
		Ports: []cluster.ServicePort{{Name: "http", Protocol: "TCP", Port: 80}},
	}
	if edit != nil {
		edit(s)
	}
	return s
}

// slice is a slice of Service shop/web, with port http at 8080.
func slice(name string, endpoints ...cluster.Endpoint) *cluster.EndpointSlice {
	return &cluster.EndpointSlice{
		Key: cluster.Key{Namespace: "shop", Name: name}, Service: "web",
		Ports: []cluster.EndpointPort{{Name: "http", Protocol: "TCP", Port: 8080}}, Endpoints: endpoints,
	}
}

// ep is an endpoint as words say: its address, then "node=n", "zone=z" and
// "for-node=n" for its hints, and "unready", "terminating" (and serving) or
// "draining" (terminating, and not serving).
func ep(words string) cluster.Endpoint {
	fields := strings.Fields(words)
	e := cluster.Endpoint{Addr: netip.MustParseAddr(fields[0]), Ready: true, Serving: true}
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "node":
			e.Node = value
		case "zone":
			e.ForZones = append(e.ForZones, value)
		case "for-node":
			e.ForNodes = append(e.ForNodes, value)
		case "unready":
			e.Ready, e.Serving = false, false
		case "terminating":
			e.Ready, e.Terminating = false, true
		case "draining":
			e.Ready, e.Serving, e.Terminating = false, false, true
		default:
			panic("endpoint that is " + f)
		}
	}
	return e
}

// text describes a balancer: its frontends with the scopes, then who serves.
func text(b *flows.Balancer) string {
	if b == nil {
		return "gone"
	}
	names := [2]string{"cluster", "local"}
	var out []string
	for _, f := range b.Frontends {
		at := fmt.Sprint(f.Port)
		if f.Addr.IsValid() {
			at = netip.AddrPortFrom(f.Addr, f.Port).String()
		}
		line := fmt.Sprintf("%s %s/%s", at, names[f.Inside], names[f.Outside])
		if len(f.Sources) > 0 {
			line += fmt.Sprint(" from ", f.Sources)
		}
		out = append(out, line)
	}
	for s, eps := range b.Endpoints {
		if len(eps) > 0 {
			out = append(out, fmt.Sprint(names[s], " ", eps))
		}
	}
	if b.Affinity > 0 {
		out = append(out, "affinity "+b.Affinity.String())
	}
	return strings.Join(out, "; ")
}

// flush returns what a flush tells, line by line: balancers, then problems.
func flush(c *Compiler) (lines []string) {
	changes, problems := c.Flush()
	for _, ch := range changes {
		lines = append(lines, string(ch.Key)+" "+text(ch.Balancer))
	}
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return lines
}

// want compares what the next flush tells with what it should.
func want(t *testing.T, c *Compiler, lines ...string) {
	t.Helper()
	if got := flush(c); !slices.Equal(got, lines) {
		t.Errorf("flush (-want +got):\n%s", cmp.Diff(lines, got))
	}
}
