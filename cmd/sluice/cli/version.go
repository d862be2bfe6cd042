package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
)

// build says what was built; the linker has set it (Makefile).
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

func thisBuild() build {
	v := version.Get()
	return build{Version: v.GitVersion, Revision: v.GitCommit, Go: v.GoVersion}
}

func (a *app) newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			return a.print(b, func(w io.Writer, s render.Style) error {
				_, err := fmt.Fprintf(w, "sluice %s\n", b.Version)
				if err == nil && s.Wide {
					_, err = fmt.Fprintf(w, "revision %s, built with %s\n", b.Revision, b.Go)
				}
				return err
			})
		},
	}
}
