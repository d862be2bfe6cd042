package suite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/test/cluster/testbed"
	"github.com/sluice-cni/sluice/test/controlplane"
)

// Options say how to run a set of tests.
type Options struct {
	// Dir is the folder for the log and the report of the set.
	Dir string
	// Timeout bounds all tests of the set together.
	Timeout time.Duration
	// Progress gets a line for each test as it ends.
	Progress io.Writer
}

// interruptGrace is how long the suite has to take away what its tests made, and
// to write its report, once it is interrupted.
const interruptGrace = time.Minute

// Run runs a set of tests. Tests that fail are no error.
func Run(ctx context.Context, c *testbed.Cluster, set Set, o Options) ([]Result, error) {
	results, err := run(ctx, c, set, o)
	if err != nil {
		return nil, fmt.Errorf("run the tests of set %s: %w", set.Name, err)
	}
	return results, nil
}

func run(ctx context.Context, c *testbed.Cluster, set Set, o Options) ([]Result, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	program, err := controlplane.Lookup("e2e.test")
	if err != nil {
		return nil, err
	}
	kubectl, err := controlplane.Lookup("kubectl")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, set.Name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// One of an earlier run is not to be taken for this one's.
	report := filepath.Join(dir, "junit_"+set.Name+"01.xml")
	if err := os.Remove(report); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	exclusions := excluded()
	cmd := exec.CommandContext(ctx, program,
		"--ginkgo.focus="+set.Focus, "--ginkgo.skip="+expression(exclusions),
		"--ginkgo.timeout="+o.Timeout.String(), "--ginkgo.v", "--ginkgo.no-color",
		"--report-dir="+dir, "--report-prefix="+set.Name,
		"--kubeconfig="+c.Kubeconfig(), "--kubectl-path="+kubectl,
		"--provider=skeleton", "--num-nodes="+strconv.Itoa(c.Options.Nodes), "--disable-log-dump",
	)
	cmd.Dir, cmd.Stderr = dir, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptGrace
	// Interrupted by Cancel, and not by the terminal too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Netns(testbed.Control).Do(cmd.Start); err != nil {
		return nil, err
	}
	told := follow(io.TeeReader(out, log), o.Progress)
	ended := cmd.Wait()
	var exit *exec.ExitError
	if ended != nil && !errors.As(ended, &exit) {
		return nil, ended
	}
	f, err := os.Open(report)
	if err != nil {
		// It has ended before the end: the log says why.
		return nil, errors.Join(ended, err, told, fmt.Errorf("see %s", log.Name()))
	}
	defer f.Close()
	return parse(f, set, exclusions)
}

// follow reports tests as they end. In what ginkgo prints, a test's name is a line
// of its own and one of "• [12.3 seconds]", "• [FAILED] [...]" and "S [SKIPPED]
// [...]" follows.
func follow(out io.Reader, progress io.Writer) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	var test string
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "[sig-"):
			test = line
		case test == "":
		case strings.HasPrefix(line, "• ["), strings.HasPrefix(line, "S ["):
			mark, rest, _ := strings.Cut(line, " ")
			if mark == "•" && !strings.HasPrefix(rest, "[FAILED") {
				rest = "[PASSED] " + rest
			}
			fmt.Fprintf(progress, "%s %s\n", rest, short(test))
			test = ""
		}
	}
	// A line too long: read on, or the suite would wait for us.
	_, err := io.Copy(io.Discard, out)
	return errors.Join(lines.Err(), err)
}

// short leaves the list of labels at the end of a test's line away.
func short(test string) string {
	if i := strings.LastIndex(test, " [sig-"); i > 0 {
		return test[:i]
	}
	return test
}
