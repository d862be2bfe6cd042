package install

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// sysctls are those of network namespaces, the only ones that an agent writes.
const sysctls = "/proc/sys/net"

// WritableSysctls makes /proc/sys/net writable if it is not. Container runtimes
// mount all of /proc/sys read-only unless a container is privileged; the rest
// stays so. This changes mounts of the process's own mount namespace, and needs
// CAP_SYS_ADMIN.
func WritableSysctls() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(sysctls, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", sysctls, err)
	}
	if fs.Flags&unix.ST_RDONLY == 0 {
		return nil
	}
	// One mount of its own, of which the next call changes the flags.
	if err := unix.Mount(sysctls, sysctls, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", sysctls, err)
	}
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", sysctls, "", flags, ""); err != nil {
		return fmt.Errorf("make %s writable: %w", sysctls, err)
	}
	return nil
}
