package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
	"github.com/sluice-cni/sluice/pkg/support"
)

// bundleTime bounds a support bundle where --timeout says nothing.
const bundleTime = 5 * time.Minute

func (a *app) newSupportBundle() *cobra.Command {
	var file, configFile string
	var req api.BundleRequest
	cmd := &cobra.Command{
		Use:   "support-bundle",
		Short: "Collect what a bug report needs into one file",
		Long: `support-bundle writes a tar.gz of what the agent wants and what is there: the
checks, ports, policies, rules, flows and groups with counters, Open vSwitch's
database, datapath and counters, how many connections are tracked, the node's
interfaces, addresses, routes, nftables rules and sysctls, configuration, metrics
and logs that can be reached. manifest.json says what is in it and what is not,
and why.

No secret is read: no Secret, token, key or kubeconfig. Names of pods, policies
and labels, and addresses, are in it as they are, unless --redact is given: that
replaces them, the same one by the same everywhere. Logs have their names and
addresses replaced too, but may tell other things: look at it before it leaves
your hands.

Without an agent it collects what can be seen of Open vSwitch and the node.
The file has mode 0600 and must not exist yet.`,
		Example: `  sluice support-bundle
  sluice support-bundle --redact -f report.tar.gz

  # Out of the agent's pod
  kubectl -n kube-system exec ds/sluice-agent -c agent -- sluice support-bundle -f - > report.tar.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("timeout") {
				a.timeout = bundleTime
			}
			cfg := config.Default()
			if configFile != "" {
				var err error
				if cfg, err = config.Load(configFile); err != nil {
					return err
				}
			}
			if err := cfg.Complete(); err != nil {
				return err
			}
			return a.supportBundle(cmd.Context(), file, cfg, req)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "filename", "f", "", "file to write, - for standard output (default sluice-support-TIME.tar.gz)")
	flags.BoolVar(&req.Redact, "redact", false, "replace names of pods, namespaces, nodes, policies and Services, labels and addresses")
	flags.StringVar(&configFile, "config", "", "the agent's configuration file, to know where things are if there is no agent")
	_ = cmd.MarkFlagFilename("filename", "tar.gz", "tgz")
	_ = cmd.MarkFlagFilename("config", "yaml")
	return cmd
}

// bundled is what the command says of what it has written.
type bundled struct {
	File string `json:"file"`
	api.Manifest
}

func (a *app) supportBundle(ctx context.Context, path string, cfg *config.Config, req api.BundleRequest) (err error) {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	out := a.streams.Out
	if path == "-" {
		if _, ok := terminal(out); ok {
			return usagef("--filename -: standard output is a terminal")
		}
	} else {
		if path == "" {
			path = "sluice-support-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
		}
		f, failed := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if failed != nil {
			return fmt.Errorf("write the support bundle: %w", failed)
		}
		out = f
		defer func() {
			if err = errors.Join(err, f.Close()); err != nil {
				os.Remove(path) // half of it is worse than none
			}
		}()
	}
	manifest, err := a.writeBundle(ctx, out, cfg, req)
	if err != nil || path == "-" {
		return late(ctx, err)
	}
	b := bundled{path, *manifest}
	return a.print(b, func(w io.Writer, s render.Style) error { return render.Bundle(w, s, path, manifest) })
}

// writeBundle compresses what the agent sends, or what can be seen without one.
func (a *app) writeBundle(ctx context.Context, out io.Writer, cfg *config.Config, req api.BundleRequest) (*api.Manifest, error) {
	zipped := gzip.NewWriter(out)
	files := tar.NewWriter(zipped)
	manifest := &api.Manifest{}
	p := a.newProgress("collected")
	defer p.clear()
	done := 0
	add := func(h *tar.Header, r io.Reader, all int) error {
		done++
		p.show(done, all)
		if err := files.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s of the support bundle: %w", h.Name, err)
		}
		var text []byte // of the manifest
		var err error
		if h.FileInfo().Name() == api.ManifestName {
			if text, err = io.ReadAll(r); err == nil {
				_, err = files.Write(text)
			}
			err = errors.Join(err, json.Unmarshal(text, manifest))
		} else {
			_, err = io.Copy(files, r)
		}
		if err != nil {
			return fmt.Errorf("write %s of the support bundle: %w", h.Name, err)
		}
		return nil
	}
	c := client.New(a.socket)
	defer c.Close()
	err := c.Bundle(ctx, req, add)
	if errors.Is(err, client.ErrNoAgent) {
		if req.Redact {
			return nil, fmt.Errorf("--redact needs the agent, which knows the names: %w", advise(err, a.socket))
		}
		p.clear()
		fmt.Fprintf(a.streams.Err, "No agent at %s: collecting what can be seen without it.\n", a.socket)
		err = withoutAgent(ctx, cfg, add)
	}
	if err != nil {
		return nil, advise(err, a.socket)
	}
	return manifest, errors.Join(files.Close(), zipped.Close())
}

// withoutAgent collects in this process.
func withoutAgent(ctx context.Context, cfg *config.Config, add func(*tar.Header, io.Reader, int) error) error {
	r, w := io.Pipe()
	all := make(chan int, 1)
	go func() { w.CloseWithError(support.Node(ctx, w, cfg, func(n int) { all <- n })) }()
	n := <-all
	err := client.EachFile(r, func(h *tar.Header, r io.Reader) error { return add(h, r, n) })
	r.CloseWithError(err) // ends who writes
	return err
}
