// Command sluice asks what a node enforces and why, and tries policies before
// they are in force. Named kubectl-sluice it is a plugin of kubectl.
package main

import (
	"os"

	"github.com/sluice-cni/sluice/cmd/sluice/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Streams{Out: os.Stdout, Err: os.Stderr}))
}
