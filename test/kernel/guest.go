package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// testModules are the modules tests need, to be loaded before the command runs:
// tests that use network namespaces can't count on the kernel doing it by itself.
var testModules = []string{"openvswitch", "vport-geneve", "vport-vxlan", "veth", "sctp", "nf_conntrack", "nft_chain_nat", "nft_masq"}

// settled is the time since boot at which the command may start. ovs-vswitchd 3.1
// counts the CPUs at most once in 10 s, and takes the time since boot for the
// time since it did so last: started earlier it sees none, has no handler
// threads, and loses the first packet of every flow.
const settled = 12 * time.Second

// guest is the init of the emulated machine. It never returns: the machine ends.
func guest() {
	if err := runAndReport(); err != nil {
		// The console: the host shows it where it finds no status.
		fmt.Printf("init: %v\n", err)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // with -no-reboot, the end
	fmt.Printf("init: reboot: %v\n", err)
	select {}
}

// runAndReport runs the command and writes its exit status to the exchange folder.
func runAndReport() error {
	if err := mountKernel(); err != nil {
		return err
	}
	if err := loadBootModules(); err != nil {
		return err
	}
	exchange, err := mountExchange()
	if err != nil {
		return err
	}
	text, err := exchange.ReadFile(commandFile)
	if err != nil {
		return fmt.Errorf("read the command: %w", err)
	}
	var c command
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("parse the command: %w", err)
	}
	if err := enterRoot(c.Modules); err != nil {
		return err
	}
	output, err := openOutput()
	if err != nil {
		return err
	}
	if err := settle(); err != nil {
		return err
	}
	status, err := run(c, output)
	if err != nil {
		// That is what a shell says of a command it can't run.
		fmt.Fprintf(output, "kernel: %v\n", err)
		status = 127
	}
	if err := exchange.WriteFile(statusFile, []byte(strconv.Itoa(status)), 0o600); err != nil {
		return fmt.Errorf("write the exit status: %w", err)
	}
	return nil
}

// openOutput opens the port of the name outputPort.
func openOutput() (*os.File, error) {
	const class = "/sys/class/virtio-ports"
	ports, err := os.ReadDir(class)
	if err != nil {
		return nil, fmt.Errorf("find the output port: %w", err)
	}
	for _, port := range ports {
		name, err := os.ReadFile(class + "/" + port.Name() + "/name")
		if err != nil {
			return nil, fmt.Errorf("find the output port: %w", err)
		}
		if strings.TrimSpace(string(name)) != outputPort {
			continue
		}
		// Not os.OpenFile: that makes it non-blocking, and what inherits it would
		// lose output.
		path := "/dev/" + port.Name()
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open the output port %s: %w", path, err)
		}
		return os.NewFile(uintptr(fd), path), nil
	}
	return nil, fmt.Errorf("find the output port: none of %d is named %s", len(ports), outputPort)
}

// settle brings the machine into the state in which a command finds this one.
func settle() error {
	if err := unix.Sethostname([]byte("sluice-kernel")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	modprobe := exec.Command("/sbin/modprobe", append([]string{"--all"}, testModules...)...)
	if out, err := modprobe.CombinedOutput(); err != nil {
		return fmt.Errorf("load modules: %w: %s", err, out)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return fmt.Errorf("read the time since boot: %w", err)
	}
	time.Sleep(settled - time.Duration(now.Nano()))
	return nil
}

// run runs the command and buries every process that is left to the init while it
// runs: tests ask whether processes are gone.
func run(c command, output *os.File) (int, error) {
	// Looked for in the command's PATH, not the init's.
	for _, entry := range c.Env {
		if path, ok := strings.CutPrefix(entry, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	if err := os.Chdir(c.Dir); err != nil {
		return 0, err
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = c.Env
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for the command: %w", err)
		}
		switch {
		case pid != cmd.Process.Pid:
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		default:
			return status.ExitStatus(), nil
		}
	}
}
