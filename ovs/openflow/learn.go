package openflow

import (
	"strconv"
	"strings"
)

// What a learn action takes where it does not say.
const (
	learnTable    = 1
	learnPriority = 32768
)

// learn are the arguments of a learn action (ovs-actions(7)). limit and
// result_dst are none of them.
type learn struct {
	table                    uint64
	idle, hard, priority     uint64
	finIdle, finHard         uint64
	cookie                   uint64
	sendFlowRem, deleteFlows bool
	specs                    []learnSpec
}

// learnSpec is something that the learned flow matches or does: with dst, which
// is not there for an output, and src, or value if src has no field.
type learnSpec struct {
	kind     learnKind
	src, dst subfield
	value    u128
}

type learnKind uint8

// The kinds of specs have the numbers of package ofp.
const (
	learnMatch learnKind = iota
	learnLoad
	learnOutput
)

// appendLearn writes the arguments of a learn action in the order of a dump.
func appendLearn(b []byte, args string) ([]byte, bool) {
	l, ok := parseLearn(args)
	if !ok {
		return b, false
	}
	return l.append(b), true
}

// parseLearn reads arguments. It returns false for those that this package has
// no reading of.
func parseLearn(args string) (*learn, bool) {
	l := &learn{table: learnTable, priority: learnPriority}
	numbers := map[string]*uint64{
		"idle_timeout": &l.idle, "hard_timeout": &l.hard, "fin_idle_timeout": &l.finIdle, "fin_hard_timeout": &l.finHard, "priority": &l.priority,
	}
	for _, arg := range splitList(args) {
		name, value := arg, ""
		if i := strings.IndexAny(arg, "=:"); i >= 0 {
			name, value = strings.TrimSpace(arg[:i]), strings.TrimSpace(arg[i+1:])
		}
		ok := true
		if place := numbers[name]; place != nil {
			n, err := strconv.ParseUint(value, 10, 16)
			*place, ok = n, err == nil
		} else {
			ok = l.parseArg(name, value)
		}
		if !ok {
			return nil, false
		}
	}
	return l, true
}

func (l *learn) parseArg(name, value string) bool {
	switch name {
	case "table":
		n, err := strconv.ParseUint(value, 10, 8)
		l.table = n
		return err == nil && n != 255
	case "cookie":
		v, ok := parseInt(value)
		l.cookie = v.lo
		return ok && v.hi == 0
	case "send_flow_rem":
		l.sendFlowRem = true
		return value == ""
	case "delete_learned":
		l.deleteFlows = true
		return value == ""
	case "load", "output":
		s, ok := parseLearnAction(name, value)
		l.specs = append(l.specs, s)
		return ok
	}
	s, ok := parseLearnMatch(name, value)
	l.specs = append(l.specs, s)
	return ok
}

// parseLearnMatch reads "field", "field=field" or "field=value".
func parseLearnMatch(name, value string) (learnSpec, bool) {
	s := learnSpec{kind: learnMatch}
	var ok bool
	if s.dst, ok = parseLearned(name); !ok {
		return s, false
	}
	if value == "" {
		s.src = s.dst
		return s, true
	}
	if src, ok := parseLearned(value); ok {
		s.src = src
		return s, src.bits == s.dst.bits
	}
	if f := s.dst.field; s.dst.bits == f.bits {
		var mask u128
		s.value, mask, ok = f.parse(value)
		return s, ok && mask == ones(f.bits) && f.format != ctState && f.format != tcpFlags
	}
	s.value, ok = parseInt(value)
	return s, ok && s.value.and(ones(s.dst.bits).not()).zero()
}

// parseLearnAction reads what follows "load:" or "output:".
func parseLearnAction(name, value string) (s learnSpec, ok bool) {
	if name == "output" {
		s.kind = learnOutput
		s.src, ok = parseLearned(value)
		return s, ok
	}
	s.kind = learnLoad
	src, dst, found := strings.Cut(value, "->")
	if s.dst, ok = parseLearned(dst); !ok || !found {
		return s, false
	}
	if v, number := parseInt(strings.TrimSpace(src)); number {
		s.value = v
		return s, v.and(ones(s.dst.bits).not()).zero()
	}
	s.src, ok = parseLearned(src)
	return s, ok && s.src.bits == s.dst.bits
}

// parseLearned reads a subfield that learn can name: its header has 32 bits,
// which those of an experimenter's fields do not fit into.
func parseLearned(text string) (subfield, bool) {
	sf, ok := parseSubfield(text)
	return sf, ok && sf.field.nxm != "" && !strings.HasPrefix(sf.field.nxm, "ERICOXM_") && !strings.HasPrefix(sf.field.nxm, "ONFOXM_")
}

func (l *learn) append(b []byte) []byte {
	b = strconv.AppendUint(append(b, "learn(table="...), l.table, 10)
	number := func(name string, v, unsaid uint64) {
		if v != unsaid {
			b = strconv.AppendUint(append(b, name...), v, 10)
		}
	}
	number(",idle_timeout=", l.idle, 0)
	number(",hard_timeout=", l.hard, 0)
	number(",fin_idle_timeout=", l.finIdle, 0)
	number(",fin_hard_timeout=", l.finHard, 0)
	number(",priority=", l.priority, learnPriority)
	if l.sendFlowRem {
		b = append(b, ",send_flow_rem"...)
	}
	if l.deleteFlows {
		b = append(b, ",delete_learned"...)
	}
	if l.cookie != 0 {
		b = strconv.AppendUint(append(b, ",cookie=0x"...), l.cookie, 16)
	}
	for i := range l.specs {
		b = l.specs[i].append(append(b, ','))
	}
	return append(b, ')')
}

func (s *learnSpec) append(b []byte) []byte {
	switch f := s.dst.field; {
	case s.kind == learnOutput:
		return s.src.append(append(b, "output:"...))
	case s.kind == learnLoad:
		b = append(b, "load:"...)
		if s.src.field != nil {
			b = s.src.append(b)
		} else {
			b = s.value.appendHex(b)
		}
		return s.dst.append(append(b, "->"...))
	case s.src.field != nil:
		b = s.dst.append(b)
		if s.src == s.dst {
			return b
		}
		return s.src.append(append(b, '='))
	case s.dst.bits == f.bits:
		return f.append(append(append(b, f.name...), '='), s.value, ones(f.bits))
	default:
		return s.value.appendHex(append(s.dst.append(b), '='))
	}
}
