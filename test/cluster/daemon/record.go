package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Record is what is known of a daemon.
type Record struct {
	Name string `json:"-"` // the file's name
	PID  int    `json:"pid"`
	// Start is when it started, in clock ticks since boot: with the pid it is a
	// process's identity.
	Start uint64   `json:"start"`
	Args  []string `json:"args"`
}

const suffix = ".json"

func recordPath(dir, name string) string { return filepath.Join(dir, name+suffix) }

// List returns the daemons started with a folder, in the order of their names,
// running or not. A folder that is not there has none.
func List(dir string) ([]Record, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list daemons: %w", err)
	}
	var records []Record
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		r, err := Find(dir, name)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// Find returns a daemon by its name.
func Find(dir, name string) (Record, error) {
	r := Record{Name: name}
	text, err := os.ReadFile(recordPath(dir, name))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return Record{}, fmt.Errorf("find daemon %s: %w", name, err)
	}
	return r, nil
}

// writeRecord writes a record at once or not at all.
func writeRecord(path string, r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func removeRecord(dir, name string) error {
	if err := os.Remove(recordPath(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// self returns the identity of this process as the mounted /proc sees it, which
// in a pid namespace of its own is from outside.
func self() (Record, error) {
	link, err := os.Readlink("/proc/self")
	if err != nil {
		return Record{}, err
	}
	pid, err := strconv.Atoi(link)
	if err != nil {
		return Record{}, fmt.Errorf("/proc/self is %q", link)
	}
	s, err := readStat(pid)
	return Record{PID: pid, Start: s.start}, err
}

// stat is a part of /proc/PID/stat.
type stat struct {
	state byte // R, S, D, Z, ...
	start uint64
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

// parseStat reads a line of proc_pid_stat(5). The second field is the command's
// name in parentheses, which may hold spaces and parentheses itself.
func parseStat(line string) (stat, error) {
	const state, start = 3, 22 // the fields' numbers
	end := strings.LastIndexByte(line, ')')
	fields := strings.Fields(line[end+1:])
	if end < 0 || len(fields) <= start-state || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("parse the state of a process: %q", line)
	}
	ticks, err := strconv.ParseUint(fields[start-state], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("parse the start of a process: %w", err)
	}
	return stat{state: fields[0][0], start: ticks}, nil
}
