package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The ways pods can be networked.
const (
	// Sluice is what the project's own manifest installs.
	Sluice = "sluice"
	// PTP are the reference plugins, with routes between nodes that the testbed
	// makes: to tell a fault of the testbed from one of Sluice, and to compare with.
	PTP = "ptp"
	// None installs nothing; nodes do not become ready.
	None = "none"
)

// CNIs are the ways pods can be networked.
var CNIs = []string{Sluice, PTP, None}

// The families of addresses of nodes, pods and Services.
const (
	IPv4 = "ipv4"
	IPv6 = "ipv6"
	Dual = "dual" // IPv4 is the primary family
)

// Families are the choices of families.
var Families = []string{IPv4, IPv6, Dual}

// Options say what cluster to bring up.
type Options struct {
	// Dir is the cluster's folder. It must not be there, or be empty.
	Dir string `json:"dir"`
	// Nodes is how many nodes there are.
	Nodes int `json:"nodes"`
	// Subnets is how many subnets the nodes are in, in turn.
	Subnets int `json:"subnets"`
	// Family is one of Families.
	Family string `json:"family"`
	// CNI is one of CNIs.
	CNI string `json:"cni"`
	// Manifest is the file that installs Sluice.
	Manifest string `json:"manifest,omitempty"`
	// HostOVS says whether nodes have an Open vSwitch of their own, with their link to
	// others on it, which tunnels of the userspace datapath need. The manifest is to
	// be one that uses it.
	HostOVS bool `json:"hostOVS"`
	// Agent are fields to set in the configuration of Sluice's agent, as YAML.
	Agent map[string]string `json:"agent,omitempty"`
	// Images are archives of images that nodes are to have besides those of the
	// testbed.
	Images []string `json:"images,omitempty"`
	// Proxy says whether nodes run kube-proxy.
	Proxy bool `json:"proxy"`
	// DNS says whether to run the cluster's DNS.
	DNS bool `json:"dns"`
	// MTU is that of the nodes' links in bytes.
	MTU int `json:"mtu"`
}

// hidden are the folders that a node does not see as the machine has them.
var hidden = []string{"/dev", "/proc", "/run", "/sys", "/var/run"}

// complete checks the options and makes paths absolute.
func (o *Options) complete() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
	}
	if o.Dir == "" {
		bad("dir", "must be given")
	}
	for _, path := range append([]*string{&o.Dir}, o.files()...) {
		abs, err := filepath.Abs(*path)
		if err != nil {
			bad("dir", "%w", err)
		}
		*path = abs
	}
	for _, dir := range hidden {
		if o.Dir == dir || strings.HasPrefix(o.Dir, dir+"/") {
			bad("dir", "%s is not seen by nodes", dir)
		}
	}
	if o.Subnets < 1 || o.Subnets > maxSubnets {
		bad("subnets", "%d is not from 1 to %d", o.Subnets, maxSubnets)
	} else if limit := o.Subnets * maxNodes; o.Nodes < 1 || o.Nodes > limit {
		bad("nodes", "%d is not from 1 to %d", o.Nodes, limit)
	}
	if !slices.Contains(Families, o.Family) {
		bad("family", "%q is not one of %s", o.Family, strings.Join(Families, ", "))
	}
	if !slices.Contains(CNIs, o.CNI) {
		bad("cni", "%q is not one of %s", o.CNI, strings.Join(CNIs, ", "))
	}
	// IPv6 needs 1280 (RFC 8200, section 5); tunnels take a part of it.
	if o.MTU < 1400 || o.MTU > 65535 {
		bad("mtu", "%d is not from 1400 to 65535", o.MTU)
	}
	for _, file := range o.files() {
		if _, err := os.Stat(*file); err != nil {
			errs = append(errs, err)
		}
	}
	if o.CNI == Sluice && o.Manifest == "" {
		bad("manifest", "must be given with cni %s", Sluice)
	}
	return errors.Join(errs...)
}

// files are the files that options name.
func (o *Options) files() []*string {
	var files []*string
	if o.Manifest != "" {
		files = append(files, &o.Manifest)
	}
	for i := range o.Images {
		files = append(files, &o.Images[i])
	}
	return files
}
