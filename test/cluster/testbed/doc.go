// Package testbed brings up a whole Kubernetes cluster on one machine and takes
// it away again: a control plane and any number of nodes with a containerd and a
// kubelet each.
//
//	control:  etcd, kube-apiserver, kube-controller-manager, kube-scheduler
//	   │ br0 (a bridge for each subnet; control is the router between them)
//	   ├──veth── node1: eth0, containerd, kubelet, pods
//	   └──veth── node2: eth0, containerd, kubelet, pods
//
// Control and each node are network namespaces; the machine's own network has no
// part in it. All is in one folder: state, certificates, logs, and the names of
// the namespaces. The cluster outlives the process that brought it up; Open finds
// it again by its folder.
package testbed
