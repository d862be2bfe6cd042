package install

import (
	"fmt"
	"os"
	"path/filepath"
)

// PluginName is the file name of the CNI plugin, and the "type" that asks for it.
const PluginName = "sluice-cni"

// Plugin copies the plugin at source to a folder of plugins, and reports whether
// it had to.
func Plugin(source, dir string) (changed bool, err error) {
	data, err := os.ReadFile(source)
	if err != nil {
		return false, fmt.Errorf("read the CNI plugin: %w", err)
	}
	return place(filepath.Join(dir, PluginName), data, 0o755)
}
