// Package own is the project's own suite of tests in a whole cluster: what
// Kubernetes' suite does not ask. Both families of addresses at once, packets of
// full size, who is seen as the source, nodes that come and go, and what is lost
// while the agent is replaced.
//
// Pods are the cluster's, made by its kubelets; the traffic is made by this
// process in their network namespaces, so that a probe takes no time of a kubelet
// and every packet is known.
package own

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/sluice-cni/sluice/test/cluster/suite"
	"github.com/sluice-cni/sluice/test/cluster/testbed"
)

// Set names the suite in reports.
var Set = suite.Set{Name: "own"}

// test is one test.
type test struct {
	name string
	// needs says what the cluster lacks for it; nil if it runs on all.
	needs func(*testbed.Cluster) string
	// run returns what it has measured, if anything.
	run func(context.Context, *env) (note string, err error)
}

// plain is the run of a test that measures nothing.
func plain(run func(context.Context, *env) error) func(context.Context, *env) (string, error) {
	return func(ctx context.Context, e *env) (string, error) { return "", run(ctx, e) }
}

// tests are the tests, in the order in which they run.
var tests = []test{
	{name: "pods of all nodes reach each other, over TCP and UDP", run: plain(podsReachEachOther)},
	{name: "nodes reach pods and pods reach nodes", run: plain(nodesAndPods)},
	{name: "a pod is seen by its own address in the cluster and by its node's outside", run: plain(sources)},
	{name: "packets of full size cross, and larger ones are refused to their sender", run: packetSizes},
	{name: "names are resolved and the Service of the API server answers", needs: services, run: plain(namesAndServices)},
	{name: "an ingress policy holds between nodes until it is gone", needs: sluice, run: plain(ingressPolicy)},
	{name: "an egress policy holds between nodes until it is gone", needs: sluice, run: plain(egressPolicy)},
	{name: "a pod that nobody may reach becomes ready by its probe, and only its node reaches it", needs: sluice, run: plain(probes)},
	{name: "a Service leads pods and nodes to its endpoints on all nodes", needs: balanced, run: withServices(serviceLeads)},
	{name: "a NodePort of each node leads to an endpoint of another", needs: balanced, run: withServices(nodePortsLead)},
	{name: "externalTrafficPolicy Local keeps the client's address, and the node", needs: balanced, run: withServices(localKeepsTheClient)},
	{name: "a client stays with its endpoint by affinity", needs: balanced, run: withServices(affinityHolds)},
	{name: "a pod reaches itself through its Service", needs: balanced, run: withServices(podReachesItself)},
	{name: "a Service without endpoints refuses at once", needs: balanced, run: withServices(noEndpointRefuses)},
	{name: "when an endpoint goes, even open UDP sockets are led to another", needs: balanced, run: withServices(endpointGoes)},
	{name: "egress to a Service is judged by its endpoint, on whatever node it is", needs: balanced, run: withServices(egressToServices)},
	{name: "a node that joins is routed to, where it is now, until it goes", needs: sluice, run: plain(nodeComesAndGoes)},
	{name: "replacing the agents loses nothing", needs: sluice, run: agentsReplaced},
	{name: "replacing Open vSwitch opens nothing", needs: sluiceOVS, run: switchesReplaced},
}

func sluice(c *testbed.Cluster) string {
	if c.Options.CNI != testbed.Sluice {
		return "pods are networked by " + c.Options.CNI
	}
	return ""
}

func sluiceOVS(c *testbed.Cluster) string {
	if c.Options.HostOVS {
		return "nodes have an Open vSwitch of their own"
	}
	return sluice(c)
}

func services(c *testbed.Cluster) string {
	if !c.Options.DNS {
		return "the cluster has no DNS"
	}
	return ""
}

// Timeout bounds one test.
const Timeout = 2 * time.Minute

// Run runs the tests of the suite whose names match. Progress gets a line for each
// as it ends. What the tests made is gone afterwards.
func Run(ctx context.Context, c *testbed.Cluster, focus *regexp.Regexp, progress io.Writer) (results []suite.Result, err error) {
	e, err := setUp(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("set up the tests of set %s: %w", Set.Name, err)
	}
	defer func() {
		if endErr := e.end(context.WithoutCancel(ctx)); err == nil {
			err = endErr
		}
	}()
	for _, t := range tests {
		if !focus.MatchString(t.name) {
			continue
		}
		r := suite.Result{Test: t.name, State: suite.Unreached, Reason: "the suite ended before it"}
		if ctx.Err() == nil {
			r = t.result(ctx, e)
			fmt.Fprintf(progress, "[%s] [%.3f seconds] %s\n", r.State, r.Took.Seconds(), r.Test)
		}
		results = append(results, r)
	}
	return results, nil
}

func (t test) result(ctx context.Context, e *env) suite.Result {
	r := suite.Result{Test: t.name, State: suite.Passed}
	if t.needs != nil {
		if r.Reason = t.needs(e.cluster); r.Reason != "" {
			r.State = suite.Skipped
			return r
		}
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	begin := time.Now()
	note, err := t.run(ctx, e)
	r.Took, r.Reason = time.Since(begin), note
	if err != nil {
		r.State, r.Reason = suite.Failed, err.Error()
	}
	return r
}
