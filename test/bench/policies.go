package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// list reads the pods, policies and EndpointSlices of the cluster.
func (n *node) list(ctx context.Context) error {
	if _, err := n.kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{}); err != nil {
		return err
	}
	if _, err := n.kube.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, metav1.ListOptions{}); err != nil {
		return err
	}
	_, err := n.kube.NetworkingV1().NetworkPolicies(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	return err
}

// benchPolicies times the way of a policy from the call of the API to the bridge,
// and on the same write the way to a bare client that watches.
func (n *node) benchPolicies(ctx context.Context, r *report) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flowsSeen, eventsSeen := newSightings(), newSightings()
	if err := n.watchFlows(ctx, flowsSeen, policyFlow); err != nil {
		return err
	}
	if err := n.watchPolicies(ctx, eventsSeen); err != nil {
		return err
	}
	policies := n.kube.NetworkingV1().NetworkPolicies(benchNamespace)
	create := func(i int) error {
		_, err := policies.Create(ctx, policyOf(i), metav1.CreateOptions{})
		return err
	}
	var all errgroup.Group
	all.SetLimit(8)
	started := time.Now()
	for i := range standingPolicies {
		all.Go(func() error { return create(i) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	written := time.Since(started)
	for i := range standingPolicies {
		if _, err := flowsSeen.wait(ctx, sighting{i, true}); err != nil {
			return err
		}
	}
	r.against(fmt.Sprintf("%d policies written by 8 clients, all on the bridge", standingPolicies), seconds(time.Since(started)), seconds(written), "all writes answered")

	const writes = 100
	var onBridge, offBridge, heard, unheard times
	measure := func(s sighting, write func() error, bridge, client *times) error {
		return timeWrite(ctx, s, write, flowsSeen, bridge, eventsSeen, client)
	}
	for i := standingPolicies; i < standingPolicies+writes; i++ {
		if err := measure(sighting{i, true}, func() error { return create(i) }, &onBridge, &heard); err != nil {
			return err
		}
		if err := measure(sighting{i, false}, func() error {
			return policies.Delete(ctx, policyOf(i).Name, metav1.DeleteOptions{})
		}, &offBridge, &unheard); err != nil {
			return err
		}
	}
	const of = "API call to the event at a bare watch"
	r.latencies(fmt.Sprintf("API call to flow installed, %d policies standing", standingPolicies), onBridge, heard, of)
	r.latencies("API call to flow removed", offBridge, unheard, of)
	return nil
}

// timeWrite does a write and notes how long after its begin it was seen on the
// bridge and by a client.
func timeWrite(ctx context.Context, s sighting, write func() error, onBridge *sightings, bridge *times, atClient *sightings, client *times) error {
	started := time.Now()
	if err := write(); err != nil {
		return err
	}
	for seen, took := range map[*sightings]*times{onBridge: bridge, atClient: client} {
		at, err := seen.wait(ctx, s)
		if err != nil {
			return err
		}
		*took = append(*took, at.Sub(started))
	}
	return nil
}

// sighting is that the i-th object, or its flow, is there or gone.
type sighting struct {
	object int
	there  bool
}

// sightings keeps when what was seen.
type sightings struct {
	mu   sync.Mutex
	at   map[sighting]time.Time
	more chan struct{} // closed when there are more
}

func newSightings() *sightings {
	return &sightings{at: map[sighting]time.Time{}, more: make(chan struct{})}
}

func (s *sightings) see(what sighting) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.at[what]; !known {
		s.at[what] = now
	}
	close(s.more)
	s.more = make(chan struct{})
}

func (s *sightings) wait(ctx context.Context, what sighting) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		s.mu.Lock()
		at, ok := s.at[what]
		more := s.more
		s.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return at, fmt.Errorf("wait for object %d (there: %v): %w", what.object, what.there, context.Cause(ctx))
		}
	}
}

// watched is a kind of flow whose coming and going is watched.
type watched struct {
	// event matches a change of such a flow in what ovs-ofctl monitor prints: what
	// has happened, and a number.
	event   *regexp.Regexp
	options string // of the monitor
	object  func(number int) int
}

// policyFlow is the flow that matches the TCP port of a policy.
var policyFlow = watched{
	event: regexp.MustCompile(`event=(ADDED|DELETED) .*\btcp,.*tp_dst=([0-9]+)`), options: "watch:!actions",
	object: func(port int) int { return port - policyPort(0) },
}

// watchFlows sees flows come and go on the bridge: ovs-vswitchd tells a flow
// monitor of each change when it has made it.
func (n *node) watchFlows(ctx context.Context, s *sightings, of watched) error {
	bridge := "unix:" + filepath.Join(n.ovs.RunDir(), "br-sluice.mgmt")
	cmd := exec.CommandContext(ctx, "ovs-ofctl", "--no-names", "monitor", bridge, of.options)
	cmd.Env = n.ovs.Env()
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait(); write.Close() }()
	go func() {
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			if m := of.event.FindStringSubmatch(lines.Text()); m != nil {
				number, _ := strconv.Atoi(m[2])
				s.see(sighting{of.object(number), m[1] == "ADDED"})
			}
		}
	}()
	return nil
}

// watchPolicies sees policies come and go at a bare watch.
func (n *node) watchPolicies(ctx context.Context, s *sightings) error {
	policies := n.kube.NetworkingV1().NetworkPolicies(benchNamespace)
	from, err := policies.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	w, err := policies.Watch(ctx, metav1.ListOptions{ResourceVersion: from.ResourceVersion})
	if err != nil {
		return err
	}
	go func() {
		for e := range w.ResultChan() {
			p, ok := e.Object.(*networkingv1.NetworkPolicy)
			if !ok {
				continue
			}
			i, err := strconv.Atoi(p.Name[1:])
			if err == nil && (e.Type == watch.Added || e.Type == watch.Deleted) {
				s.see(sighting{i, e.Type == watch.Added})
			}
		}
	}()
	return nil
}
