package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cni/sluice/examples"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/test/bed"
)

const (
	// startTime bounds the start of a node, pod by pod too. It takes about a second.
	startTime = 60 * time.Second
	// attachAtOnce is how many CNI calls run at once.
	attachAtOnce = 4
	// pollInterval is how often the agent is asked whether it knows the policies.
	pollInterval = 10 * time.Millisecond
)

// demo shows examples.
type demo struct {
	folder   string // of the examples
	bin      string // of the binaries
	datapath string // as bed.Options has it
	out      io.Writer
	style    style
	progress *progress
}

// show runs an example on a node of its own and prints what is seen.
func (d *demo) show(ctx context.Context, name string) (sum tally, err error) {
	begin := time.Now()
	folder := filepath.Join(d.folder, name)
	list, err := examples.ReadExpected(folder)
	if err != nil {
		return sum, err
	}
	pods, policies, err := readPods(folder)
	if err != nil {
		return sum, err
	}
	if err := d.heading(folder, len(pods), policies); err != nil {
		return sum, err
	}
	d.progress.begin("%s: starting Open vSwitch and the agent", name)
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	b, err := bed.Start(starting, bed.Options{Datapath: d.datapath, Manifests: folder, Outside: outsideOf(list), Bin: d.bin})
	if err != nil {
		return sum, err
	}
	defer func() {
		d.progress.begin("%s: taking the node away", name)
		err = errors.Join(err, b.Close())
		d.progress.begin("")
		sum.took = time.Since(begin)
	}()
	d.progress.begin("%s: attaching %d pods", name, len(pods))
	hosts, err := attach(starting, b, pods)
	if err != nil {
		return sum, err
	}
	for _, a := range outsideOf(list) {
		hosts[a.String()] = b.Outside(a)
	}
	d.progress.begin("%s: waiting for the policies to be in force", name)
	if err := waitEnforced(starting, b, len(pods)); err != nil {
		return sum, err
	}
	results, err := d.probe(ctx, name, list, hosts)
	if err != nil {
		return sum, err
	}
	sum = tally{examples: 1, connections: len(list)}
	for _, r := range results {
		sum.probes += len(r.seen)
	}
	if sum.mismatches, err = writeMatrix(d.out, d.style, results); err != nil {
		return sum, err
	}
	d.progress.begin("%s: tracing packets", name)
	wrong, err := d.explain(ctx, b, list)
	sum.mismatches += wrong
	return sum, err
}

// heading writes what the example is.
func (d *demo) heading(folder string, pods, policies int) error {
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		return err
	}
	title, _, _ := strings.Cut(string(readme), "\n")
	title = strings.TrimSpace(strings.TrimLeft(title, "# "))
	_, err = fmt.Fprintf(d.out, "%s  %s\n\n", d.style.paint(bold, strings.ToUpper(title)),
		d.style.paint(dim, fmt.Sprintf("%s, pods: %d, policies: %d", filepath.Base(folder), pods, policies)))
	return err
}

// readPods reads the pods of an example, and how many policies it has.
func readPods(folder string) (pods []cluster.Key, policies int, err error) {
	events, err := cluster.ReadFolder(folder, cluster.FolderOptions{})
	if err != nil {
		return nil, 0, err
	}
	for _, e := range events {
		switch {
		case e.Problem != nil:
			return nil, 0, e.Problem
		case e.Pod != nil:
			pods = append(pods, e.Pod.Key)
		case e.Policy != nil:
			policies++
		}
	}
	return pods, policies, nil
}

// outsideOf lists the machines outside of the cluster.
func outsideOf(list []examples.Expectation) (out []netip.Addr) {
	for _, x := range list {
		for _, e := range []examples.End{x.From, x.To} {
			if e.Outside() && !slices.Contains(out, e.Addr) {
				out = append(out, e.Addr)
			}
		}
	}
	return out
}

// attach attaches pods by CNI calls.
func attach(ctx context.Context, b *bed.Bed, pods []cluster.Key) (map[string]*bed.Host, error) {
	hosts := map[string]*bed.Host{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(attachAtOnce)
	for _, key := range pods {
		group.Go(func() error {
			p, err := b.AddPod(ctx, key.Namespace, key.Name, "")
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			hosts[p.Name] = &p.Host
			return nil
		})
	}
	return hosts, group.Wait()
}

// waitEnforced waits until all pods have their policies. Until then they are
// isolated, and nothing that is allowed passes.
func waitEnforced(ctx context.Context, b *bed.Bed, pods int) error {
	agent := b.Client()
	defer agent.Close()
	for {
		ports, err := agent.Ports(ctx)
		if err != nil {
			return err
		}
		known := 0
		for _, p := range ports {
			if p.State != "pending" {
				known++
			}
		}
		if known == pods {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for policies: %d of %d pods have theirs: %w", known, pods, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

// probe tries all that is expected to be allowed or denied.
func (d *demo) probe(ctx context.Context, name string, list []examples.Expectation, hosts map[string]*bed.Host) ([]result, error) {
	probes, err := plan(list, hosts)
	if err != nil {
		return nil, err
	}
	d.progress.begin("%s: probing", name)
	if err := serve(probes); err != nil {
		return nil, err
	}
	outcomes, err := runAll(ctx, probes, func(done int) {
		d.progress.update("%s: probing, %d of %d", name, done, len(probes))
	})
	if err != nil {
		return nil, err
	}
	return join(list, probes, outcomes), nil
}
