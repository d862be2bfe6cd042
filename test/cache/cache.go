// Package cache finds what the scripts in build/ keep between runs: things that
// take long to make, such as the Kubernetes binaries.
package cache

import (
	"fmt"
	"os"
	"path/filepath"
)

// Path returns the path of something in the cache. It need not be there. The
// environment variable SLUICE_CACHE names the cache's folder; without it that is
// "sluice" in the user's cache folder.
func Path(elem ...string) (string, error) {
	dir := os.Getenv("SLUICE_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w", err)
		}
		dir = filepath.Join(user, "sluice")
	}
	return filepath.Join(append([]string{dir}, elem...)...), nil
}
