// Command bench measures Sluice and prints each figure beside that of a
// reference taken in the same run on the same machine: the ratio says more than
// either, as it does not depend on what else the machine does.
//
//	go run ./test/bench            # all, four minutes
//	go run ./test/bench -run 'sharing|node'
//	go run ./test/bench -list
//
// What needs pods' interfaces needs root, and then runs in network and mount
// namespaces of its own: the machine's are not touched. docs/performance.md says
// what the figures mean.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"syscall"

	"k8s.io/klog/v2"
)

// benchmark measures one thing.
type benchmark struct {
	name, about string
	root        bool
	run         func(context.Context, *report) error
}

var benchmarks = []benchmark{
	{"apply", "one rule more in the pipeline, by how many there are", false, benchApply},
	{"sharing", "1,000 rules over the same 1,000 pods, held against a compile without identities", false, benchSharing},
	{"write", "the latency of a policy from its event to the bridge, and what it is made of", false, benchWrite},
	{"install", "100,000 flows by the agent's path, held against ovs-ofctl add-flows", false, benchInstall},
	{"stats", "one reading of the counters of 10,000 rules", false, benchStats},
	{"memory", "the heap of 10,000 pods and 1,000 policies", false, benchMemory},
	{"traffic", "packets between pods of one node and of two", true, benchTraffic},
	{"connections", "new connections through a Service", true, benchConnections},
	{"services", "10,000 Services of 10 endpoints, and one of 5,000", false, benchServiceScale},
	{"flood", "a pod that floods, held against the same where no verdict is told of", true, benchFlood},
	{"node", "a node with a real API server: CNI ADD, policies, restart of the agent", true, benchNode},
}

func main() {
	run := flag.String("run", "", "regular expression that selects benchmarks by name; empty means all")
	list := flag.Bool("list", false, "list the benchmarks and end")
	profile := flag.String("cpuprofile", "", "write a CPU profile of this process to the file")
	flag.Parse()
	if *list {
		for _, b := range benchmarks {
			fmt.Printf("%-11s  %s\n", b.name, b.about)
		}
		return
	}
	if private, code := enterPrivate(); private {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := measure(ctx, *run, *profile)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, run, profile string) error {
	selected, err := regexp.Compile(run)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return fmt.Errorf("-cpuprofile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("-cpuprofile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	klog.SetOutput(os.Stderr)
	r := &report{w: os.Stdout}
	r.machine()
	for _, b := range benchmarks {
		if !selected.MatchString(b.name) {
			continue
		}
		r.section(b)
		if b.root && os.Geteuid() != 0 {
			fmt.Fprintln(r.w, "Skipped: needs root.")
			continue
		}
		if err := b.run(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}
