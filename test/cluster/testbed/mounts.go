package testbed

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountInfo is a part of a line of /proc/PID/mountinfo.
type mountInfo struct {
	point string
	kind  string // of filesystem
}

// parseMount reads a line of proc_pid_mountinfo(5):
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line string) (mountInfo, error) {
	fields := strings.Fields(line)
	dash := slices.Index(fields, "-")
	if dash < 5 || dash+1 >= len(fields) {
		return mountInfo{}, fmt.Errorf("parse a mount: %q", line)
	}
	return mountInfo{point: unescape(fields[4]), kind: fields[dash+1]}, nil
}

// unescape reads a path with space, tab, newline and backslash in octal.
func unescape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if code, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// mountsBelow returns the mount points in a folder, those that were mounted last
// first.
func mountsBelow(dir string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		m, err := parseMount(line)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(m.point, dir+"/") {
			points = append(points, m.point)
		}
	}
	slices.Reverse(points)
	return points, nil
}

// unmountBelow takes all mounts in a folder away: those of network namespaces are
// their names, and with them the namespaces go.
func unmountBelow(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, point := range points {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return errors.Join(errs...)
}
