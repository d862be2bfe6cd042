// Package need says what a test needs of the machine it runs on.
//
// Where it is missing the test is skipped; but if the environment variable CI is
// set the test fails, so that a pipeline can't pass by testing nothing.
package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// sbin are folders of daemons that an ordinary user's PATH often lacks.
var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// Tool requires a program and returns its path. install tells the reader of a
// skipped test how to get it: "apt-get install openvswitch-switch".
func Tool(t testing.TB, name, install string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	Missing(t, "needs "+name+": "+install)
	return ""
}

// Root requires the effective user to be root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root: run the tests with sudo")
	}
}

// Missing ends the test because of something the machine does not have.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "" {
		t.Skip(what)
	} else {
		t.Fatalf("%s (CI is set, so this is a failure)", what)
	}
}
