// Package wire is what the CNI plugin and the agent say to each other: one HTTP
// POST of JSON over a unix socket for each CNI command.
//
// The plugin forwards what the runtime gave it and prints what it gets back, so
// that everything worth doing is done, and can be upgraded, in the agent. The
// package is all the plugin binary links, and it is kept small for that.
package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// Command is a CNI command that the agent serves.
type Command string

// The commands of CNI 1.1, but for VERSION, which the plugin answers alone.
const (
	Add    Command = "add"
	Del    Command = "del"
	Check  Command = "check"
	GC     Command = "gc"
	Status Command = "status"
)

// Path is the path of the command's endpoint on the agent's socket.
func (c Command) Path() string { return "/cni/" + string(c) }

// MaxBody bounds a request and a response, in bytes. A GC of 10,000 attachments
// takes about 1 MB.
const MaxBody = 4 << 20

// Request is a CNI invocation as the runtime made it, in the terms of the CNI
// specification, section 2.
type Request struct {
	ContainerID string `json:"containerID,omitempty"` // CNI_CONTAINERID
	Netns       string `json:"netns,omitempty"`       // CNI_NETNS, a path
	IfName      string `json:"ifName,omitempty"`      // CNI_IFNAME
	Args        string `json:"args,omitempty"`        // CNI_ARGS
	// Config is the plugin configuration as read from standard input.
	Config json.RawMessage `json:"config"`
}

// Response answers a Request. On the wire a response with an Error has an HTTP
// status of 400 or more.
type Response struct {
	// Result is the CNI result of an ADD in the version that the configuration
	// asks for, to be printed as it is. It is absent for every other command.
	Result json.RawMessage `json:"result,omitempty"`
	Error  *types.Error    `json:"error,omitempty"`
}

// Error codes of this plugin, above the 0-99 that the CNI specification reserves.
const (
	// CodeNotAsAdded says that CHECK found an attachment that differs from what
	// ADD made. A new sandbox repairs it.
	CodeNotAsAdded uint = 100
)

// PortName names the bridge port of an attachment, and the host's end of its
// veth pair: "sl" and 13 hexadecimal digits, which fills the 15 characters an
// interface name can have. It depends on nothing but the attachment's identity,
// so that DEL finds the port when all else is lost.
func PortName(containerID, ifName string) string {
	sum := sha256.Sum256([]byte(containerID + "/" + ifName))
	return "sl" + hex.EncodeToString(sum[:])[:13]
}

// IsPortName reports whether an interface's name is of the form that PortName
// gives.
func IsPortName(name string) bool {
	digits, ok := strings.CutPrefix(name, "sl")
	return ok && len(digits) == 13 && strings.Trim(digits, "0123456789abcdef") == ""
}
