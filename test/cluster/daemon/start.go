package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/netns"
)

// Spec says what to start.
type Spec struct {
	// Name is the daemon's name among those of the same folder.
	Name string
	// Args are the program, with its path, and its arguments.
	Args []string
	// Env is added to the environment, as "NAME=value".
	Env []string
	// Log is the file that what it prints is appended to.
	Log string
	// Netns is the path of the network namespace it runs in; empty means that of
	// the starting process.
	Netns string
	// Cgroups are the folders of the cgroups it runs in.
	Cgroups []string
	// Clone are namespaces of its own, such as syscall.CLONE_NEWPID: with that one,
	// all that the program starts dies with it.
	Clone uintptr
}

// stageArg makes the program a stage between Start and the daemon; see Main.
const stageArg = "start-daemon"

// stage is what the stage is told, as its only argument.
type stage struct {
	Spec
	Record string // the file to write
}

// Start starts a daemon and returns when it has become the program. The program
// that calls Start has to call Main first.
func Start(dir string, spec Spec) error {
	if err := start(dir, spec); err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return nil
}

func start(dir string, spec Spec) error {
	for _, d := range []string{dir, filepath.Dir(spec.Log)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	told, err := json.Marshal(stage{Spec: spec, Record: recordPath(dir, spec.Name)})
	if err != nil {
		return err
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	// The stage writes here what failed. A successful exec closes it.
	failed, failure, err := os.Pipe()
	if err != nil {
		return err
	}
	defer failed.Close()

	cmd := exec.Command("/proc/self/exe", stageArg, string(told))
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{failure}
	// A session of its own: it is not to be interrupted from our terminal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: spec.Clone}
	err = cmd.Start()
	failure.Close()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(failed)
	if err != nil {
		return err
	}
	if len(text) > 0 {
		_ = cmd.Wait() // the text says more
		return errors.Join(errors.New(string(text)), removeRecord(dir, spec.Name))
	}
	// A daemon that ends while we run would stay a zombie.
	go cmd.Wait()
	return nil
}

// Main makes this process a daemon if Start has started it; then it does not
// return. It has to be called at the start of the program, and of TestMain.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != stageArg {
		return
	}
	failure := os.NewFile(3, "failure")
	unix.CloseOnExec(3)
	err := become(os.Args[2])
	fmt.Fprint(failure, err)
	os.Exit(1)
}

// become is the stage. It returns only if it fails.
func become(told string) error {
	var s stage
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		return err
	}
	// Exec keeps the namespace of the calling thread.
	runtime.LockOSThread()
	if s.Netns != "" {
		if err := netns.Open(s.Netns).Enter(); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
	}
	for _, dir := range s.Cgroups {
		// 0 is the writing process; one number a line, whatever the hierarchy.
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter the cgroup: %w", err)
		}
	}
	self, err := self()
	if err != nil {
		return err
	}
	self.Args = s.Args
	if err := writeRecord(s.Record, self); err != nil {
		return err
	}
	if err := unix.Exec(s.Args[0], s.Args, os.Environ()); err != nil {
		return fmt.Errorf("exec %s: %w", s.Args[0], err)
	}
	return nil
}
