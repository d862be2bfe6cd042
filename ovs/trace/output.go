package trace

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/list"
)

// Port numbers as ovs-vswitchd prints them: OpenFlow 1.0's, 16 bits wide.
const (
	maxPort = 65279
	inPort  = 65528
	noPort  = 65535
)

var (
	outputAction  = regexp.MustCompile(`^(?:output:|output\(port=|enqueue:)(\d+)\b`)
	outputNote    = regexp.MustCompile(`^output port is (\d+)$`)
	inPortField   = regexp.MustCompile(`(?:^|,)in_port=(\w+)`)
	recircElement = regexp.MustCompile(`\brecirc\((0x[0-9a-f]+|\d+)\)`)
)

// action notes the port that an action outputs to.
func (p *parser) action(text string) {
	p.recorded = false
	switch text {
	case "LOCAL":
		p.output(Local)
	case "IN_PORT":
		p.output(inPort)
	default:
		if m := outputAction.FindStringSubmatch(text); m != nil {
			p.outputNumber(m[1])
		}
	}
}

// note notes what a remark says of the action before it: the port that a
// register named, or that there was no output after all.
func (p *parser) note(text, note string) {
	switch {
	case strings.HasPrefix(text, ">>>>"):
		p.trace.Errors = append(p.trace.Errors, note)
	case strings.HasPrefix(text, ">>"):
		p.retract()
	default:
		if m := outputNote.FindStringSubmatch(note); m != nil {
			p.outputNumber(m[1])
		}
	}
}

func (p *parser) outputNumber(text string) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		p.output(uint32(n))
	}
}

func (p *parser) output(port uint32) {
	if port == inPort {
		port = p.inPort()
	}
	if port > maxPort && port != Local {
		return // no port of the bridge: CONTROLLER, FLOOD, …
	}
	for len(p.outputs) < len(p.trace.Passes) {
		p.outputs = append(p.outputs, nil)
	}
	current := &p.outputs[len(p.outputs)-1]
	*current = append(*current, port)
	p.recorded = true
}

// inPort returns the port that the packet arrived at.
func (p *parser) inPort() uint32 {
	m := inPortField.FindStringSubmatch(p.pass().Flow)
	if m == nil {
		return noPort
	}
	if m[1] == "LOCAL" {
		return Local
	}
	n, err := strconv.ParseUint(m[1], 10, 16)
	if err != nil {
		return noPort
	}
	return uint32(n)
}

// retract takes back the output of the last action, if it was one: the warnings
// that follow it are "skipping output to input port", "Nonexistent output port"
// and the like.
func (p *parser) retract() {
	if !p.recorded {
		return
	}
	current := &p.outputs[len(p.outputs)-1]
	*current = (*current)[:len(*current)-1]
	p.recorded = false
}

// final joins the passes. The datapath's actions have the last word: an output
// that has no counterpart there did not happen.
func final(passes []Pass, outputs [][]uint32) Final {
	f := Final{Dropped: true}
	followed := map[uint64]bool{}
	for _, pass := range passes {
		followed[uint64(pass.RecircID)] = true
	}
	for i, pass := range passes {
		for _, m := range recircElement.FindAllStringSubmatch(pass.DatapathActions, -1) {
			if id, err := strconv.ParseUint(m[1], 0, 64); err == nil && !followed[id] {
				f.Incomplete = true
			}
		}
		if !sends(pass.DatapathActions) {
			continue
		}
		f.Dropped = false
		for _, port := range outputs[i] {
			if !slices.Contains(f.Outputs, port) {
				f.Outputs = append(f.Outputs, port)
			}
		}
	}
	if f.Incomplete {
		f.Dropped = false
	}
	return f
}

// sends reports whether datapath actions send the packet anywhere: to a port
// (a number), into a tunnel or to userspace.
func sends(actions string) bool {
	for actions != "" {
		var action string
		action, actions = list.Cut(actions)
		name, args, nested := strings.Cut(action, "(")
		args = strings.TrimSuffix(args, ")")
		switch {
		case !nested:
			if _, err := strconv.ParseUint(name, 10, 32); err == nil {
				return true
			}
		case name == "userspace" || name == "tnl_push" || name == "tnl_pop":
			return true
		case name == "clone" || name == "sample" || name == "actions" || name == "check_pkt_len" || name == "gt" || name == "le":
			if sends(args) {
				return true
			}
		}
	}
	return false
}
