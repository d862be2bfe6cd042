package apiserver

import "github.com/sluice-cni/sluice/test/controlplane"

// BuildCommand builds the Kubernetes binaries that are missing.
const BuildCommand = controlplane.BuildCommand

// Binary returns the path at which build/kubernetes/build.sh puts a Kubernetes
// command. It need not be there.
func Binary(command string) (string, error) { return controlplane.Binary(command) }
