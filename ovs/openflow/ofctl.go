package openflow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine bounds a line of ovs-ofctl's output. An OpenFlow message has at most
// 64 KiB; its longest text is that of a note, three characters a byte.
const maxLine = 1 << 20

// maxStderr bounds what is kept of ovs-ofctl's messages. It dumps a message that
// it can't decode in hexadecimal, some 300 KiB at most.
const maxStderr = 512 << 10

// ofctl runs ovs-ofctl, without a shell.
type ofctl struct {
	command string
	runDir  string
}

// findCommand finds ovs-ofctl, also where an ordinary user's PATH does not look.
func findCommand(command string) (string, error) {
	if command == "" {
		command = "ovs-ofctl"
	}
	path, err := exec.LookPath(command)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, command)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// exitError says that ovs-ofctl failed, with its own words.
type exitError struct {
	stderr string
	err    error
}

func (e *exitError) Error() string {
	text := strings.TrimSpace(e.stderr)
	// The last line says what ended it; connection failures have only that one.
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if text = strings.TrimPrefix(text, "ovs-ofctl: "); text == "" {
		return "ovs-ofctl: " + e.err.Error()
	}
	return text
}

func (e *exitError) Unwrap() error { return e.err }

// run runs ovs-ofctl with stdin, and hands each line of its output to line,
// which may be nil. The bytes of a line are valid until line returns.
func (o ofctl) run(ctx context.Context, stdin *os.File, line func([]byte) error, args ...string) error {
	args = append([]string{"-O", "OpenFlow15", "--no-names"}, args...)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.command, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.runDir, "LC_ALL=C")
	// Output that a child keeps open must not hold us after the process is gone.
	cmd.WaitDelay = time.Second
	if stdin != nil {
		cmd.Stdin = stdin
	}
	stderr := &bounded{limit: maxStderr}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := scanLines(stdout, line)
	if readErr != nil {
		cancel()
	}
	waitErr := cmd.Wait()
	switch {
	case readErr != nil:
		return readErr
	case waitErr != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case waitErr != nil:
		return &exitError{stderr: stderr.String(), err: waitErr}
	}
	return nil
}

func scanLines(r io.Reader, line func([]byte) error) error {
	if line == nil {
		line = func([]byte) error { return nil }
	}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	for scanner.Scan() {
		if err := line(scanner.Bytes()); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("read output of ovs-ofctl: %w", err)
	}
	return nil
}

// bounded keeps the first bytes written to it and takes the rest.
type bounded struct {
	bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.limit - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// memoryFile returns an open file that holds content and has no name.
//
// A bundle goes to ovs-ofctl this way rather than through a pipe: if this
// process died in the middle of writing to a pipe, ovs-ofctl would take what it
// had got for the whole and commit half of a transaction.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
