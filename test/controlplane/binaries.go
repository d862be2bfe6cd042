package controlplane

import (
	"fmt"
	"os/exec"

	"github.com/sluice-cni/sluice/test/cache"
)

// Version is the Kubernetes version of the binaries. It is the one that
// build/kubernetes/go.mod names.
const Version = "v1.34.4"

// BuildCommand builds the Kubernetes binaries that are missing.
const BuildCommand = "make kubernetes"

// Binary returns the path at which build/kubernetes/build.sh puts a Kubernetes
// command. It need not be there.
func Binary(command string) (string, error) {
	return cache.Path("kubernetes-"+Version, command)
}

// Lookup returns the path of a Kubernetes command that is there.
func Lookup(command string) (string, error) {
	path, err := Binary(command)
	if err != nil {
		return "", err
	}
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("find %s %s: %w (run: %s)", command, Version, err, BuildCommand)
	}
	return path, nil
}
