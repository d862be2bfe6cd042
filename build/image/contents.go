package main

// What the image of Open vSwitch holds. That of Sluice adds its own binaries.

// program is an executable and what it is called in the image.
type program struct {
	// path is where the Debian package has it.
	path string
	// name is where it is in the image, path if empty.
	name string
	// links are further names, in /usr/bin.
	links []string
}

// programs come with the shared libraries they need.
var programs = []program{
	// Debian makes this link when it sets the package up.
	{path: "/usr/lib/openvswitch-switch/ovs-vswitchd", name: "/usr/sbin/ovs-vswitchd"},
	{path: "/usr/sbin/ovsdb-server"},
	{path: "/usr/bin/ovsdb-tool"},
	{path: "/usr/bin/ovsdb-client"},
	{path: "/usr/bin/ovs-vsctl"},
	// The agent's way to the bridge.
	{path: "/usr/bin/ovs-ofctl"},
	{path: "/usr/bin/ovs-appctl"},
	{path: "/usr/bin/ovs-dpctl"},
	// The agent's way to the node's packet filter.
	{path: "/usr/sbin/nft"},
	// Has a daemon wait for the end of the one it replaces.
	{path: "/usr/bin/flock"},
	// Process 1 of the daemons, which take a signal to it for no reason to end.
	{path: "/usr/bin/tini"},
	// For the scripts, and for whoever looks into a container.
	{path: "/bin/busybox", links: []string{"cat", "grep", "ip", "ls", "mv", "ps", "rm", "sh", "sleep"}},
}

// data are files that programs read.
var data = []string{
	"/usr/share/openvswitch/vswitch.ovsschema",
	"/etc/protocols",
}

// dirs are folders that something is mounted or made in.
var dirs = []string{"/dev", "/etc/sluice", "/host/cni/bin", "/host/cni/net.d", "/proc", "/run/netns", "/run/openvswitch", "/run/sluice", "/sys", "/tmp", "/var"}

// links are those that every Debian has (merged /usr, and /run).
var links = map[string]string{
	"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64", "/var/run": "/run",
}

// binaries are Sluice's own, in the second layer; the plugin is copied to the
// node from there.
var binaries = []program{
	{path: "sluice-agent", name: "/usr/bin/sluice-agent"},
	{path: "sluice-cni", name: "/usr/bin/sluice-cni"},
	{path: "sluice", name: "/usr/bin/sluice"},
}
