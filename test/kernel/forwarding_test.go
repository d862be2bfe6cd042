package main

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// TestKernelForwardsAndTracks shows that the machine is good for what it is
// there for, without any part of Sluice. It runs in the machine only:
//
//	go test -exec "kernel" ./test/kernel
func TestKernelForwardsAndTracks(t *testing.T) {
	if !inMachine() {
		t.Skip("this test is about the kernel in the machine")
	}
	s := sandboxtest.Start(t, sandbox.System)
	const bridge = "br-smoke"
	sandboxtest.Run(t, s, "ovs-vsctl", "add-br", bridge)
	for name, addr := range map[string]string{"a": "10.1.0.1/24", "b": "10.1.0.2/24"} {
		ip(t, "netns", "add", name)
		t.Cleanup(func() { ip(t, "netns", "del", name) })
		ip(t, "link", "add", "veth-"+name, "up", "type", "veth", "peer", "name", "eth0", "netns", name)
		ip(t, "-n", name, "addr", "add", addr, "dev", "eth0")
		ip(t, "-n", name, "link", "set", "eth0", "up")
		sandboxtest.Run(t, s, "ovs-vsctl", "add-port", bridge, "veth-"+name)
	}
	// Connections are a's to open; b may but answer.
	sandboxtest.Run(t, s, "ovs-ofctl", "del-flows", bridge)
	sandboxtest.RunInput(t, s, `
		table=0,priority=1,arp,actions=normal
		table=0,priority=1,tcp,actions=ct(table=1,zone=7)
		table=1,ct_state=+trk+new,tcp,nw_src=10.1.0.1,actions=ct(commit,zone=7),normal
		table=1,ct_state=+trk+est,tcp,actions=normal
	`, "ovs-ofctl", "add-flows", bridge, "-")

	if err := connect(t, "a", "b", "10.1.0.2:80", 30*time.Second); err != nil {
		t.Errorf("connect from a to b: %v", err)
	}
	var dropped net.Error
	if err := connect(t, "b", "a", "10.1.0.1:80", 2*time.Second); !errors.As(err, &dropped) || !dropped.Timeout() {
		t.Errorf("connect from b to a: %v, want a timeout", err)
	}
	flows := sandboxtest.Run(t, s, "ovs-appctl", "dpctl/dump-flows", "system@ovs-system")
	if !strings.Contains(flows, "ct_state(") {
		t.Errorf("no megaflow in the kernel uses connection tracking:\n%s", flows)
	}
}

func TestSCTPSocketsWork(t *testing.T) {
	if !inMachine() {
		t.Skip("this test is about the kernel in the machine")
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// connect opens a TCP connection from one network namespace to a listener in
// another.
func connect(t *testing.T, from, to, addr string, timeout time.Duration) error {
	t.Helper()
	var listener net.Listener
	within(t, to, func() (err error) {
		listener, err = net.Listen("tcp", addr)
		return err
	})
	defer listener.Close()
	var result error
	within(t, from, func() error {
		var conn net.Conn
		if conn, result = net.DialTimeout("tcp", addr, timeout); result == nil {
			conn.Close()
		}
		return nil
	})
	return result
}

// within calls f on a thread that is in a network namespace.
func within(t *testing.T, netns string, f func() error) {
	t.Helper()
	if err := ns.WithNetNSPath("/run/netns/"+netns, func(ns.NetNS) error { return f() }); err != nil {
		t.Fatalf("in network namespace %s: %v", netns, err)
	}
}
