package openflow

import (
	"slices"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// appendCT writes the arguments of a ct action in the order of a dump.
func appendCT(b []byte, args string) ([]byte, bool) {
	var commit, force bool
	var table, zone, nat, exec, alg string
	for _, arg := range splitList(args) {
		name, value, _ := strings.Cut(arg, "=")
		switch {
		case arg == "commit":
			commit = true
		case arg == "force":
			force = true
		case name == "table":
			table = value
		case name == "zone":
			zone = value
		case name == "alg":
			alg = value
		case arg == "nat", strings.HasPrefix(arg, "nat("):
			nat = arg
		case strings.HasPrefix(arg, "exec("):
			exec = arg
		default:
			return b, false
		}
	}
	b = append(b, "ct("...)
	start := len(b)
	add := func(parts ...string) {
		if len(b) > start {
			b = append(b, ',')
		}
		for _, p := range parts {
			b = append(b, p...)
		}
	}
	if commit {
		add("commit")
	}
	if force {
		add("force")
	}
	if table != "" {
		v, ok := parseInt(table)
		if !ok {
			return b, false
		}
		add("table=", strconv.FormatUint(v.lo, 10))
	}
	if zone != "" {
		if v, ok := parseInt(zone); ok {
			if v.lo != 0 { // zone 0 is the default
				add("zone=", strconv.FormatUint(v.lo, 10))
			}
		} else {
			add("zone=")
			if b, _, ok = appendSubfield(b, zone); !ok {
				return b, false
			}
		}
	}
	if nat != "" {
		add(natText(nat))
	}
	if exec != "" {
		_, list, ok := call(exec)
		if !ok {
			return b, false
		}
		add("exec(")
		b = append(appendActions(b, []ovs.Action{RawAction(list)}), ')')
	}
	if alg != "" {
		add("alg=", alg)
	}
	return append(b, ')'), true
}

// natFlags is the order of a nat's flags in a dump; they follow the address.
var natFlags = []string{"persistent", "hash", "random"}

// natText writes the arguments of a nat in the order of a dump.
func natText(s string) string {
	_, args, ok := call(s)
	if !ok {
		return s
	}
	list := splitList(args)
	if len(list) == 0 {
		return "nat"
	}
	slices.SortStableFunc(list, func(a, b string) int {
		return slices.Index(natFlags, a) - slices.Index(natFlags, b)
	})
	return "nat(" + strings.Join(list, ",") + ")"
}
