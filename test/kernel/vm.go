package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// command is what the machine is to run. It is handed over in a file.
type command struct {
	Args    []string
	Dir     string
	Env     []string
	Modules string // the folder of the kernel's modules, on this machine
}

// Both sides know the shares by their mount tags, the port by its name, and the
// files in the exchange folder.
const (
	rootTag     = "root"     // this machine's root, read-only
	exchangeTag = "exchange" // a folder for the files below
	outputPort  = "output"   // what the command prints
	commandFile = "command.json"
	statusFile  = "status" // the command's exit status, in decimal
)

// vm is a machine that has not been started.
type vm struct {
	dir  string // temp folder: initramfs, console log, exchange
	args []string
}

func newVM(l *linux, c command) (_ *vm, err error) {
	dir, err := os.MkdirTemp("", "sluice-kernel-")
	if err != nil {
		return nil, err
	}
	m := &vm{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if err := os.Mkdir(m.exchange(), 0o700); err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(m.exchange(), commandFile), text, 0o600); err != nil {
		return nil, err
	}
	initramfs := filepath.Join(dir, "initramfs")
	if err := writeInitramfs(initramfs, l); err != nil {
		return nil, err
	}
	m.args = []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", strconv.Itoa(min(runtime.NumCPU(), 4)), "-m", "3072",
		"-kernel", l.image, "-initrd", initramfs,
		// panic=-1 and -no-reboot: a crash ends the emulator at once. Mitigations
		// protect nobody here, and cost time.
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off",
		"-serial", "file:" + m.consoleLog(),
		"-virtfs", "local,path=/,mount_tag=" + rootTag + ",security_model=none,multidevs=remap,readonly=on",
		"-virtfs", "local,path=" + m.exchange() + ",mount_tag=" + exchangeTag + ",security_model=none",
		// Not the console: the kernel writes there too.
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=output,name=" + outputPort,
		// Our standard output, which run passes as file 3. A chardev of kind stdio
		// would close the port at the end of standard input.
		"-add-fd", "fd=3,set=1", "-chardev", "file,id=output,path=/dev/fdset/1,append=on",
	}
	return m, nil
}

func (m *vm) exchange() string   { return filepath.Join(m.dir, "exchange") }
func (m *vm) consoleLog() string { return filepath.Join(m.dir, "console.log") }

// run boots the machine, waits until it has ended and returns the command's exit
// status.
func (m *vm) run(ctx context.Context) (int, error) {
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.args...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{os.Stdout}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	runtime.LockOSThread() // Pdeathsig is about the thread, not the process
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return 0, fmt.Errorf("run the machine: %w; its console:\n%s", context.Cause(ctx), m.console())
	}
	if errors.Is(err, exec.ErrNotFound) {
		return 0, fmt.Errorf("boot the machine: %w (run: build/deps.sh kernel)", err)
	}
	text, statusErr := os.ReadFile(filepath.Join(m.exchange(), statusFile))
	if err != nil || statusErr != nil {
		return 0, fmt.Errorf("the machine ended before the command did: %w; its console:\n%s",
			errors.Join(err, statusErr), m.console())
	}
	status, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, fmt.Errorf("read the command's exit status: %w", err)
	}
	return status, nil
}

// console returns what the machine wrote to its console.
func (m *vm) console() string {
	text, err := os.ReadFile(m.consoleLog())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

func (m *vm) close() error { return os.RemoveAll(m.dir) }
