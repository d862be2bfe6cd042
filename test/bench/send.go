package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/sandbox"
)

// flood sends first packets from the first pod to another for floodTime, at
// floodRate or as fast as the machine lets it, and takes the processor time of
// agent and ovs-vswitchd meanwhile.
func (f *flooded) flood(ovs *sandbox.Sandbox, agent *process, target int) error {
	packet, err := floodPacket(target)
	if err != nil {
		return err
	}
	link, err := net.InterfaceByName("flood0x")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		return fmt.Errorf("bind to %s: %w", link.Name, err)
	}
	vswitchd, err := pidOf(ovs)
	if err != nil {
		return err
	}
	pids := [2]int{agent.cmd.Process.Pid, vswitchd}
	var before, after [2]time.Duration
	for i, pid := range pids {
		if before[i], _, err = usage(pid); err != nil {
			return err
		}
	}
	begin := time.Now()
	for f.took < floodTime {
		if due := uint64(f.took.Seconds() * floodRate); f.sent >= due {
			time.Sleep(time.Millisecond) // ahead of the rate
		} else {
			for range min(due-f.sent, 1000) {
				vary(packet, uint32(f.sent))
				if _, err := unix.Write(fd, packet); err != nil && !errors.Is(err, unix.ENOBUFS) {
					return fmt.Errorf("send: %w", err)
				}
				f.sent++
			}
		}
		f.took = time.Since(begin)
	}
	for i, pid := range pids {
		var resident uint64
		if after[i], resident, err = usage(pid); err != nil {
			return err
		}
		if i == 0 {
			f.agentSize = resident
		} else {
			f.ovsSize = resident
		}
	}
	f.agent, f.vswitchd = after[0]-before[0], after[1]-before[1]
	return nil
}

// floodPacket is the first packet of a TCP connection.
func floodPacket(target int) ([]byte, error) {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: floodAddr(0).AsSlice(), DstIP: floodAddr(target).AsSlice()}
	tcp := &layers.TCP{SYN: true, Window: 0xffff, Urgent: 0xffff} // as vary leaves them for ports of zero
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: floodMAC(0), DstMAC: floodMAC(9), EthernetType: layers.EthernetTypeIPv4}, ip, tcp)
	return buf.Bytes(), err
}

// vary makes the packet that of the n-th connection. Window and urgent pointer
// make up for the ports, so that the checksum stays right.
func vary(packet []byte, n uint32) {
	tcp := packet[14+20:]
	src, dst := uint16(1024+n%60000), uint16(1+n/60000)
	binary.BigEndian.PutUint16(tcp, src)
	binary.BigEndian.PutUint16(tcp[2:], dst)
	binary.BigEndian.PutUint16(tcp[14:], ^src)
	binary.BigEndian.PutUint16(tcp[18:], ^dst)
}

func pidOf(ovs *sandbox.Sandbox) (int, error) {
	text, err := os.ReadFile(filepath.Join(ovs.RunDir(), "ovs-vswitchd.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// tick is the unit of processor time in /proc (USER_HZ).
const tick = time.Second / 100

// usage returns the processor time that a process has taken and how much memory it
// has, in bytes (proc(5), /proc/PID/stat).
func usage(pid int) (cpu time.Duration, resident uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from the third field on
	if len(fields) < 22 {
		return 0, 0, fmt.Errorf("process %d: /proc has %d fields", pid, len(fields))
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	pages, err3 := strconv.ParseUint(fields[21], 10, 64)
	return time.Duration(user+system) * tick, pages * uint64(os.Getpagesize()), errors.Join(err1, err2, err3)
}
