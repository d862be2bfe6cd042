package route

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// setSysctls writes those of the sysctls, by their paths under /proc/sys, that
// have another value.
func setSysctls(values map[string]string) error {
	for key, value := range values {
		if err := setSysctl(key, value); err != nil {
			return err
		}
	}
	return nil
}

// setSysctl writes a sysctl unless it has the value already, so that a read-only
// /proc/sys that is right does no harm. A family the kernel lacks is no error.
func setSysctl(key, value string) error {
	path := filepath.Join("/proc/sys", key)
	old, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", key, value, err)
	}
	return nil
}

// Forward makes the node a router of the families its pods have. Nothing else
// does for packets that come in by one interface and leave by another: IPv6 has
// no switch for one interface alone before Linux 6.17.
//
// A router does not learn from router advertisements, unless accept_ra is 2. An
// uplink that has its default route from them would lose it when it next runs
// out, so where forwarding is not on yet and an uplink's accept_ra is 1, it
// becomes 2.
func Forward(v4, v6 bool, uplinks []Interface) error {
	if v4 {
		if err := setSysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	if !v6 {
		return nil
	}
	const all = "net/ipv6/conf/all/forwarding"
	if sysctl(all) == "0" {
		for _, u := range uplinks {
			if key := filepath.Join("net/ipv6/conf", u.Name, "accept_ra"); sysctl(key) == "1" {
				if err := setSysctl(key, "2"); err != nil {
					return err
				}
			}
		}
	}
	return setSysctl(all, "1")
}

// sysctl reads a sysctl; it is empty if there is none.
func sysctl(key string) string {
	value, err := os.ReadFile(filepath.Join("/proc/sys", key))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(value))
}
