package nat

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

const bridge = "br-nat"

// kernel says that the test runs in the emulated machine, on the kernel's
// datapath.
var kernel = os.Getenv("SLUICE_KERNEL") != ""

// wire is what hangs on a port of the bridge.
type wire interface {
	// send lets a frame arrive at the port.
	send(t *testing.T, frame []byte)
	// next returns the next frame that the port sends, nil if there is none yet.
	next(t *testing.T) []byte
}

// bed is a bridge with the ports a (1), b (2) and c (3).
type bed struct {
	*sandbox.Sandbox
	wires map[string]wire
}

func start(t *testing.T, flows string) *bed {
	datapath := sandbox.Dummy
	if kernel {
		datapath = sandbox.System
	}
	b := &bed{sandboxtest.Start(t, datapath), map[string]wire{}}
	sandboxtest.Run(t, b.Sandbox, "ovs-vsctl", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type="+datapath, "fail_mode=secure",
		"protocols=OpenFlow10,OpenFlow15")
	for i, name := range []string{"a", "b", "c"} {
		port := bridge + "-" + name
		args := []string{"add-port", bridge, port, "--", "set", "interface", port, fmt.Sprintf("ofport_request=%d", i+1)}
		if kernel {
			b.wires[name] = plugVeth(t, port)
		} else {
			w := &capture{b: b, port: port, file: filepath.Join(t.TempDir(), port)}
			args = append(args, "type=dummy", "options:tx_pcap="+w.file)
			b.wires[name] = w
		}
		sandboxtest.Run(t, b.Sandbox, "ovs-vsctl", args...)
	}
	b.add(t, flows)
	return b
}

// add adds or replaces flows.
func (b *bed) add(t *testing.T, flows string) {
	t.Helper()
	sandboxtest.RunInput(t, b.Sandbox, flows, "ovs-ofctl", "-O", "OpenFlow15", "add-flows", bridge, "-")
}

// forward lets a packet arrive at one port and returns what leaves by the other.
func (b *bed) forward(t *testing.T, from, to string, packet []byte) gopacket.Packet {
	t.Helper()
	b.wires[from].send(t, packet)
	return b.receive(t, to)
}

// receive returns the next packet that leaves by a port.
func (b *bed) receive(t *testing.T, port string) gopacket.Packet {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if data := b.wires[port].next(t); data != nil {
			return gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
		}
		if time.Now().After(deadline) {
			t.Fatalf("port %s sends nothing:\n%s", port, sandboxtest.Run(t, b.Sandbox, "ovs-ofctl", "-O", "OpenFlow15", "dump-flows", bridge))
		}
	}
}

// capture is the wire of a dummy port.
type capture struct {
	b          *bed
	port, file string
	read       int
}

func (c *capture) send(t *testing.T, frame []byte) {
	t.Helper()
	if err := c.b.Receive(t.Context(), c.port, frame); err != nil {
		t.Fatal(err)
	}
}

func (c *capture) next(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil // nothing was written yet
	}
	var data []byte
	for range c.read + 1 {
		if data, _, err = r.ReadPacketData(); err != nil {
			return nil
		}
	}
	c.read++
	return data
}

// veth is the wire of a kernel's port: a packet socket on the other end of it.
type veth struct{ fd, index int }

func plugVeth(t *testing.T, port string) *veth {
	t.Helper()
	peer := port + "-wire"
	run(t, "ip", "link", "add", port, "up", "type", "veth", "peer", "name", peer)
	t.Cleanup(func() { run(t, "ip", "link", "del", port) })
	run(t, "ip", "link", "set", peer, "up", "addrgenmode", "none")
	dev, err := net.InterfaceByName(peer)
	if err != nil {
		t.Fatal(err)
	}
	all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8) // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: dev.Index})
	}
	if err != nil {
		t.Fatalf("packet socket on %s: %v", peer, err)
	}
	return &veth{fd, dev.Index}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (v *veth) send(t *testing.T, frame []byte) {
	t.Helper()
	if err := unix.Sendto(v.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: v.index}); err != nil {
		t.Fatal(err)
	}
}

func (v *veth) next(*testing.T) []byte {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := unix.Recvfrom(v.fd, buffer, 0)
		if err != nil {
			return nil // nothing came yet
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		// Not what it sent itself, nor what the kernel says on any interface.
		if ok && ll.Pkttype != unix.PACKET_OUTGOING && bytes.Equal(buffer[:5], targetMAC[:5]) {
			return buffer[:n]
		}
	}
}
