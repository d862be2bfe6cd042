package node

import "fmt"

const (
	containerdConfig = "/etc/containerd/config.toml"
	// containerdSocket is where containerd listens; the kubelet is told.
	containerdSocket = "/run/containerd/containerd.sock"
	// pluginDir and pluginConfDir are where containerd looks for CNI.
	pluginDir     = "/opt/cni/bin"
	pluginConfDir = "/etc/cni/net.d"
)

// containerdConfig returns containerd's configuration, in the form of version 1.6.
func (c *Config) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = %q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE nothing may be given a lower score than it has.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, containerdSocket, c.Pause, pluginDir, pluginConfDir)
}
