package check

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/containernetworking/cni/libcni"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/install"
)

const placeList = "the agent places it with --cni-conf once pods can be attached; by hand: install -m 0644 build/config/10-sluice.conflist DIR"

// cni looks at the two files by which a runtime finds Sluice.
func (c *Checker) cni(context.Context) result {
	dir := c.cfg.Agent.CNIConfDir
	first, err := firstList(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(placeList, "network configuration: there is no folder %s", dir)
	case err != nil:
		return fail(placeList, "network configuration: %v", err)
	case first == "":
		return fail(placeList, "network configuration: there is none in %s", dir)
	}
	conf, err := install.ReadConfList(first)
	if err != nil {
		return fail("rename or remove what comes before Sluice's list: runtimes take the first by name", "%v", err)
	}
	switch plugin := conf.Plugin(); {
	case plugin.Name != c.cfg.Agent.Network:
		return fail("give both the same name", "%s: name is %q, and the agent's network is %q", first, plugin.Name, c.cfg.Agent.Network)
	case !sameFile(plugin.Socket, c.cfg.Agent.Socket):
		return fail("give both the same path", "%s: socket is %s, and the agent's is %s", first, plugin.Socket, c.cfg.Agent.Socket)
	}
	binary := filepath.Join(c.cfg.Agent.CNIBinDir, install.PluginName)
	info, err := os.Stat(binary)
	switch {
	case err != nil:
		return fail("sluice-agent install-cni", "CNI plugin: %v", err)
	case info.Mode()&0o111 == 0 || !info.Mode().IsRegular():
		return fail("sluice-agent install-cni", "CNI plugin %s: mode is %v, not that of a program", binary, info.Mode())
	}
	built, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fail("sluice-agent install-cni", "CNI plugin %s: is no build of Sluice: %v", binary, err)
	}
	own, _ := debug.ReadBuildInfo()
	if a, b := buildOf(built), buildOf(own); a != b {
		return warn("sluice-agent install-cni", "CNI plugin %s is build %s, and the agent is %s", binary, a, b)
	}
	return ok("%s comes first, and its plugin %s is of the agent's build", first, binary)
}

// plugin is what the first network configuration says to the plugin.
func (c *Checker) plugin() (*wire.Config, error) {
	first, err := firstList(c.cfg.Agent.CNIConfDir)
	if err != nil {
		return nil, err
	}
	conf, err := install.ReadConfList(first)
	if err != nil {
		return nil, err
	}
	return conf.Plugin(), nil
}

// firstList returns the network configuration that a runtime takes: the first by
// name, of those that have its endings.
func firstList(dir string) (string, error) {
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	files, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"})
	if err != nil || len(files) == 0 {
		return "", err
	}
	first := files[0]
	for _, f := range files[1:] {
		first = min(first, f)
	}
	return first, nil
}

// sameFile compares two paths of a socket: a container may have another for it.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// buildOf says from what a program was built: the commit, else the version.
func buildOf(b *debug.BuildInfo) string {
	if b == nil {
		return "unknown"
	}
	revision, modified := "", ""
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+changes"
			}
		}
	}
	if revision == "" {
		return fmt.Sprintf("%s %s", b.Main.Path, b.Main.Version)
	}
	return revision + modified
}
