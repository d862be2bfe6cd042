// Command demo shows the examples on real parts: for each it starts a node with
// an Open vSwitch of its own and the real agent, attaches the example's pods by
// real CNI calls, tries every connection of expected.txt with real TCP and UDP,
// and prints what is expected against what is seen, and the way of a packet that
// is allowed and of one that is not.
//
// All of it is in network namespaces: nothing of the machine's own network is
// used or touched. It needs root. It takes everything away again, also when it
// is interrupted; what a demo leaves that is killed, the next one takes away.
//
// The exit code is 0 if all is as expected, 1 if not or on an error, 130 if it
// was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/term"

	"github.com/sluice-cni/sluice/examples"
	"github.com/sluice-cni/sluice/ovs/sandbox"
)

// exitInterrupted is what shells use for a command that SIGINT ended.
const exitInterrupted = 130

// errMismatch says that all was tried and not all was as expected.
var errMismatch = errors.New("not all is as expected")

func main() {
	// While a signal is listened for it does not end the process: a second one
	// does not interrupt the cleaning up, and a reader of the output that goes away
	// (SIGPIPE) does not prevent it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	interrupted := ctx.Err() != nil
	left, leftErr := leftovers(func(pid int) bool { return pid == os.Getpid() })
	stop()
	switch {
	case len(left) > 0 || leftErr != nil:
		fmt.Fprintln(os.Stderr, "demo: could not take everything away again:", left, errors.Join(err, leftErr))
		os.Exit(1)
	case err == nil, errors.Is(err, flag.ErrHelp):
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted, everything is taken away again")
		os.Exit(exitInterrupted)
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	d := demo{out: out}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(log)
	only := flags.String("only", "", "show this example only: "+strings.Join(examples.Names, ", "))
	datapath := flags.String("datapath", "auto", "netdev (userspace), system (the kernel's), or auto: system if this kernel has it")
	flags.StringVar(&d.folder, "examples", "examples", "folder of the examples")
	flags.StringVar(&d.bin, "bin", "", "folder of sluice-agent, sluice-cni and sluice; the default is that of this binary")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names := examples.Names
	if *only != "" {
		names = []string{*only}
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *only != "" && !slices.Contains(examples.Names, *only):
		return fmt.Errorf("--only: there is no example %q, there are %s", *only, strings.Join(examples.Names, ", "))
	}
	var err error
	if d.datapath, err = datapathOf(*datapath); err != nil {
		return fmt.Errorf("--datapath: %w", err)
	}
	if os.Geteuid() != 0 {
		return errors.New("pods are network namespaces, which needs root: run with sudo")
	}
	if d.bin, err = binaries(d.bin); err != nil {
		return err
	}
	if d.folder, err = filepath.Abs(d.folder); err != nil {
		return err
	}
	if err := removeStale(log); err != nil {
		return err
	}
	d.style = styleOf(out)
	d.progress = newProgress(log)
	defer d.progress.close()
	return d.showAll(ctx, names)
}

// showAll shows examples one after the other. A mismatch in one does not keep
// the others from being shown.
func (d *demo) showAll(ctx context.Context, names []string) error {
	var sum tally
	begin := time.Now()
	for i, name := range names {
		if i > 0 {
			if _, err := fmt.Fprint(d.out, "\n\n"); err != nil {
				return err
			}
		}
		t, err := d.show(ctx, name)
		if err != nil {
			return fmt.Errorf("example %s: %w", name, err)
		}
		sum.add(t)
		if _, err := fmt.Fprintf(d.out, "\n%s\n", d.summary(name, t)); err != nil {
			return err
		}
	}
	sum.took = time.Since(begin)
	if len(names) > 1 {
		if _, err := fmt.Fprintf(d.out, "\n%s\n", d.summary(fmt.Sprintf("%d examples", len(names)), sum)); err != nil {
			return err
		}
	}
	if sum.mismatches > 0 {
		return errMismatch
	}
	return nil
}

func (d *demo) summary(what string, t tally) string {
	color := green
	if t.mismatches > 0 {
		color = red
	}
	return d.style.paint(color, what+": "+t.String())
}

// datapathOf chooses the datapath.
func datapathOf(flag string) (string, error) {
	switch flag {
	case sandbox.Netdev, sandbox.System:
		return flag, nil
	case "auto":
		// The module has a generic netlink family.
		if _, err := netlink.GenlFamilyGet("ovs_datapath"); err == nil {
			return sandbox.System, nil
		}
		return sandbox.Netdev, nil
	}
	return "", fmt.Errorf("%q is not netdev, system or auto", flag)
}

// binaries finds the folder of the binaries.
func binaries(dir string) (string, error) {
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		dir = filepath.Dir(self)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"sluice-agent", "sluice-cni", "sluice"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("--bin: %w (run: make build)", err)
		}
	}
	return dir, nil
}

// styleOf is what the output can show: symbols and colours are for terminals.
func styleOf(out io.Writer) style {
	s := style{width: 120}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	s.symbols = true
	s.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		s.width = width
	}
	return s
}
