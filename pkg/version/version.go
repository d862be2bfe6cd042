// Package version says which build of Sluice this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is set by the linker (-X), from git describe.
var Version = "devel"

// String returns the version, the commit if the build knows it, and the Go
// version: "v0.1.0 (1a2b3c4, go1.26.8)".
func String() string {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 7 {
				commit = s.Value[:7] + ", "
			}
		}
	}
	return fmt.Sprintf("%s (%s%s)", Version, commit, runtime.Version())
}
