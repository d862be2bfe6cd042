package traffic

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/test/need"
)

// inside is set in the process that has a network namespace of its own.
const inside = "SLUICE_TRAFFIC_TEST"

// The ids that the labels of the test's connections have: bits 3 and 33.
var (
	egressRule  = Rule{flows.Egress, 1 << 3}
	ingressRule = Rule{flows.Ingress, 1 << 1}
)

// ruleset gives connections to port 7000 the zone and the label that the pipeline
// would, and those to port 7001 the zone alone.
const ruleset = `
table inet test {
	chain early { type filter hook output priority raw; udp dport { 7000, 7001 } ct zone set 65520; udp sport { 7000, 7001 } ct zone set 65520; }
	chain earlyin { type filter hook prerouting priority raw; udp dport { 7000, 7001 } ct zone set 65520; udp sport { 7000, 7001 } ct zone set 65520; }
	chain late { type filter hook output priority filter; udp dport 7000 ct state new ct label set 3; udp dport 7000 ct state new ct label set 33; }
}`

// The test runs in a network namespace of its own, as a process: its kernel's
// connection tracker is that of the namespace.
func TestTrafficOfConnectionsIsTheirRules(t *testing.T) {
	need.Root(t)
	nft := need.Tool(t, "nft", "apt-get install nftables")
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader(ruleset)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}

	cfg := Config{
		Counts: func() error { return nil }, File: filepath.Join(t.TempDir(), "traffic.json"), Interval: 20 * time.Millisecond,
		Gone: func(context.Context, []Rule) ([]Rule, error) { return nil, nil },
	}
	if err := os.WriteFile(accounting, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	tr, stop := start(t, cfg)
	eventually(t, func() error {
		if err := tr.Err(); err == nil || !strings.Contains(err.Error(), "nf_conntrack_acct") {
			return fmt.Errorf("without accounting the tracker says: %v", err)
		}
		return nil
	})
	if err := os.WriteFile(accounting, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, tr.Err)

	// A datagram of 10 bytes is 38 with its headers.
	first := exchange(t, 7000, 2)
	exchange(t, 7001, 5) // no rule's
	counted(t, tr, Count{1, 4, 4 * 38})
	exchange(t, 7000, 1)
	counted(t, tr, Count{2, 6, 6 * 38})

	// What goes on while no tracker runs is counted afterwards.
	stop()
	first(3)
	tr, stop = start(t, cfg)
	counted(t, tr, Count{2, 12, 12 * 38})

	// What was counted at the end of a connection stays, and is not counted twice.
	first(1)
	c, err := conntrack.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	counted(t, tr, Count{2, 14, 14 * 38})
	eventually(t, func() error {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if len(tr.live) > 0 {
			return fmt.Errorf("%d connections are on the books after all have ended", len(tr.live))
		}
		return nil
	})
	first(1) // another connection now
	counted(t, tr, Count{3, 16, 16 * 38})
	stop()
	tr, _ = start(t, cfg)
	counted(t, tr, Count{3, 16, 16 * 38})
	if tr.Lost() != 0 {
		t.Errorf("events were lost %d times", tr.Lost())
	}
}

func start(t *testing.T, cfg Config) (*Tracker, func()) {
	t.Helper()
	tr := New(t.Context(), cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- tr.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return tr, stop
}

// exchange sends datagrams over a connection of its own to a port, each of which
// is answered. More can be sent.
func exchange(t *testing.T, port, n int) (more func(n int)) {
	t.Helper()
	client, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	more = func(n int) {
		t.Helper()
		server, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		buffer := make([]byte, 100)
		for range n {
			if _, err := client.Write([]byte("ten bytes!")); err != nil {
				t.Fatal(err)
			}
			got, from, err := server.ReadFrom(buffer)
			if err == nil {
				_, err = server.WriteTo(buffer[:got], from)
			}
			if err == nil {
				_, err = client.Read(buffer)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	more(n)
	return more
}

func counted(t *testing.T, tr *Tracker, want Count) {
	t.Helper()
	eventually(t, func() error {
		got := []Count{tr.Rule(egressRule), tr.Rule(ingressRule), tr.Sum(flows.Egress), tr.Sum(flows.Ingress)}
		for _, n := range got {
			if n != want {
				return fmt.Errorf("counted %+v, want each %+v (%v, events lost %d times)", got, want, tr.Err(), tr.Lost())
			}
		}
		return nil
	})
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
