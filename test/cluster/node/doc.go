// Package node is what runs inside of a node of a test cluster: its first
// process, which sets up what the node sees of the machine, and runs containerd,
// the kubelet and what else is to run on it.
//
// The node is in network, mount, pid, uts and ipc namespaces of its own. Its root
// is an overlay over the machine's: it finds all programs, and what it or its pods
// write anywhere is its own and is gone with it.
package node

// Config is all a node is told.
type Config struct {
	// Name is the node's host name.
	Name string
	// Dir is the node's folder on the machine.
	Dir string
	// Share are folders of the machine that the node sees at the same place.
	Share []string
	// Logs is the folder for the logs of daemons.
	Logs string
	// Plugins is a folder of CNI plugins that the node is to have.
	Plugins string
	// Images are archives of images that the node is to have.
	Images []string
	// Pause is the image of the container that holds a pod's namespaces.
	Pause string
	// Underlay, if any, is set up before all daemons.
	Underlay *Underlay
	// Files are written before daemons start, by their path in the node.
	Files map[string]string
	// Daemons run besides containerd, once the images are there.
	Daemons []Daemon
}

// Daemon is a program that is started again whenever it ends.
type Daemon struct {
	Name string
	// Args are the program, with its path, and its arguments.
	Args []string
}
