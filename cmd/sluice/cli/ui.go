package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/pkg/observe/client"
	"github.com/sluice-cni/sluice/pkg/observe/ui"
)

// uiFlags are the flags of ui.
type uiFlags struct {
	port uint16
	open bool
	dir  string
}

func (a *app) newUI() *cobra.Command {
	var f uiFlags
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Look at the node in a browser: pipeline, verdicts, traces, pods, policies",
		Long: `ui opens a port on 127.0.0.1 that leads to the agent's page, prints its address and
serves it until it is interrupted. The address holds a token of this run: who has
not been told it gets nothing. The page can only read.

With -f the page is that of a node simulated from manifests, without root.`,
		Example: `  # On a node
  sluice ui

  # In a cluster: one terminal serves the page in the agent's pod, another leads there
  kubectl exec -it -n kube-system POD -c agent -- sluice ui --port 8765
  kubectl port-forward -n kube-system POD 8765

  # Policies in a folder, before they are applied
  sluice ui -f examples/guarded-database --open`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.ui(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.Uint16Var(&f.port, "port", 0, "port of 127.0.0.1 to serve at; 0 is one that is free")
	flags.BoolVar(&f.open, "open", false, "open the page with xdg-open")
	addFolder(cmd, &f.dir, "folder of manifests, or a single one, to simulate instead of asking the agent")
	return cmd
}

// ui serves the page until it is interrupted, which is how it is meant to end.
// --timeout bounds the start only.
func (a *app) ui(ctx context.Context, f uiFlags) (err error) {
	page, end, err := a.page(ctx, f.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(f.port))))
	if err != nil {
		return fmt.Errorf("open a port for the page: %w", err)
	}
	doors := ui.Behind(ui.Guard(page))
	server := &http.Server{Handler: doors, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	at := "http://" + l.Addr().String()
	fmt.Fprintf(a.streams.Out, "%s%s\n", at, doors.Path())
	fmt.Fprintln(a.streams.Err, "The page is served until you press Ctrl-C. Whoever has this address can read it.")
	if f.open {
		if err := exec.CommandContext(ctx, "xdg-open", at+doors.Ticket()).Start(); err != nil {
			fmt.Fprintf(a.streams.Err, "Problem: can't open a browser: %v\n", err)
		}
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve the page: %w", err)
	case <-ctx.Done():
		return server.Close() // streams do not end by themselves
	}
}

// page returns what serves the page, and how to end that: the agent, if one
// answers, or a simulated node.
func (a *app) page(ctx context.Context, dir string) (http.Handler, func() error, error) {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	if dir == "" {
		c := client.New(a.socket)
		if _, err := c.Status(ctx); err != nil {
			return nil, nil, errors.Join(late(ctx, advise(err, a.socket)), c.Close())
		}
		return c.Forward(), c.Close, nil
	}
	_, bed, err := a.simulateFolder(ctx, dir, &problems{app: a})
	if err != nil {
		return nil, nil, late(ctx, err)
	}
	mux := http.NewServeMux()
	bed.Register(mux)
	ui.Register(mux)
	return mux, bed.Close, nil
}
