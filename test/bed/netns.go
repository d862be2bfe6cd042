package bed

import (
	"path/filepath"

	"github.com/sluice-cni/sluice/test/netns"
)

// Netns is a network namespace that lives until Delete.
type Netns = netns.Netns

// newNetns makes a network namespace with a name for ip-netns(8).
func newNetns(name string) (*Netns, error) { return netns.Create(filepath.Join(netns.Dir, name)) }
