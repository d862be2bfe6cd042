// Package cli is the commands of sluice: flags in, questions to an agent or to a
// simulated node, answers out. What answers look like is package render's.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// socketVariable names the environment variable with the agent's socket.
const socketVariable = "SLUICE_SOCKET"

// Streams are where a command writes: answers to Out, all else to Err. In is the
// standard input, the process's if it is nil.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is one run of the program.
type app struct {
	streams Streams
	output  format
	socket  string
	timeout time.Duration
	// plugin is true if it runs as a plugin of kubectl.
	plugin bool
}

// Main runs the command that args say, the program's name first, and returns
// its exit code. An interrupt ends it in order.
func Main(args []string, streams Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, args, streams)
}

// Run is Main without signals.
func Run(ctx context.Context, args []string, streams Streams) int {
	quietLogs()
	root := newRoot(&app{streams: streams}, filepath.Base(args[0]))
	root.SetArgs(args[1:])
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	cmd, err := root.ExecuteContextC(ctx)
	code := exitCode(ctx, err)
	if code == exitInterrupt {
		fmt.Fprintln(streams.Err, "Interrupted.")
	} else if message := messageOf(err); message != "" {
		fmt.Fprintf(render.Safe(streams.Err), "Error: %s\n", message)
		if code == exitUsage {
			fmt.Fprintf(streams.Err, "See '%s --help'.\n", cmd.CommandPath())
		}
	}
	return code
}

// quietLogs keeps what libraries log off the terminal: what goes wrong is
// returned as an error too.
func quietLogs() {
	fs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(fs)
	_ = fs.Set("logtostderr", "false")
	_ = fs.Set("stderrthreshold", "FATAL")
	klog.SetOutput(io.Discard)
}

func newRoot(a *app, program string) *cobra.Command {
	name := "sluice"
	if strings.HasPrefix(program, "kubectl-") {
		name, a.plugin = "kubectl sluice", true
	}
	root := &cobra.Command{
		Use:         "sluice",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: name},
		Short:       "Ask what Sluice enforces, and why",
		Long: `sluice asks the agent of this node what its bridge does with a packet, and which
rule of which policy stands behind it. With manifests in a folder it does the same
on a simulated node, without a cluster and without root.

Exit codes: 0 done, for trace: allowed; 1 error, for check: something has failed;
2 wrong usage; 3 trace: denied; 4 simulate --expect: some verdict is not the
expected one; 5 --strict: a manifest or a policy has a problem; 6 trace: not denied
so far, but a node on the way was not asked; 7 trace --live: lost between two nodes;
130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	flags := root.PersistentFlags()
	flags.VarP(&a.output, "output", "o", "format of the answer: table, wide, json or yaml")
	socket := wire.DefaultSocket
	if s := os.Getenv(socketVariable); s != "" {
		socket = s
	}
	flags.StringVar(&a.socket, "socket", socket, "the agent's unix socket; the default is $"+socketVariable+", if set")
	flags.DurationVar(&a.timeout, "timeout", 30*time.Second, "how long the command may take; 0 is as long as it needs, as check, simulate and watch do by themselves; a support-bundle may by itself take 5m")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.newTrace(), a.newWatch(), a.newGet(), a.newCheck(), a.newSimulate(), a.newUI(), a.newSupportBundle(), a.newVersion(), a.newAnswer())
	for _, cmd := range append(root.Commands(), root) {
		checkArgs(cmd)
	}
	return root
}

// checkArgs makes what is wrong with a command's arguments a usage error.
func checkArgs(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return usage(check(cmd, args)) }
}

// late says of an error that it came of --timeout, if that is over: what was
// under way then fails in many ways.
func late(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(err, cause) || errors.As(err, new(exit)) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// bounded bounds a command by --timeout.
func (a *app) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, a.timeout, fmt.Errorf("not done within %s (--timeout)", a.timeout))
}
