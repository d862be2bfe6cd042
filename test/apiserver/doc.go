// Package apiserver runs a real kube-apiserver on a real etcd for tests.
//
// Everything lives on a loopback address and in a temp folder of its own, so
// any number of them run side by side. Authorization is RBAC, as in production:
// a test that means to show that the agent's ClusterRole suffices asks for a
// kubeconfig of the agent's user.
//
// There is no kubelet and, unless asked for, no controller manager. Tests bind
// pods to nodes by spec.nodeName and write their status, as a kubelet would,
// with CreatePod and SetPodStatus. The stock roles "admin", "edit" and "view" are
// empty without the "clusterrole-aggregation-controller".
package apiserver

import "github.com/sluice-cni/sluice/test/controlplane"

// Version is the Kubernetes version of the binaries.
const Version = controlplane.Version
