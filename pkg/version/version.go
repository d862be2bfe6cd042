// Package version says which build of Sluice this is, in one line.
package version

import (
	"fmt"

	"k8s.io/component-base/version"
)

// String returns version, commit and Go version: "v0.1.0 (1a2b3c4, go1.26.8)".
// The linker sets the first two, as in Kubernetes' own binaries (Makefile).
func String() string {
	v := version.Get()
	commit := v.GitCommit
	if len(commit) > 7 {
		commit = commit[:7]
	}
	return fmt.Sprintf("%s (%s, %s)", v.GitVersion, commit, v.GoVersion)
}
