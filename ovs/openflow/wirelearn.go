package openflow

import "github.com/sluice-cni/sluice/ovs/openflow/ofp"

// encodeLearn reads the arguments of a learn action in canonical spelling.
func encodeLearn(args string) (ofp.Action, error) {
	l, ok := parseLearn(args)
	if !ok {
		return nil, errUnencodable
	}
	a := ofp.Learn{
		Table: uint8(l.table), Priority: uint16(l.priority), Cookie: l.cookie,
		IdleTimeout: uint16(l.idle), HardTimeout: uint16(l.hard), FinIdleTimeout: uint16(l.finIdle), FinHardTimeout: uint16(l.finHard),
		SendFlowRem: l.sendFlowRem, DeleteLearned: l.deleteFlows, Specs: make([]ofp.LearnSpec, len(l.specs)),
	}
	for i := range l.specs {
		s := &l.specs[i]
		w := ofp.LearnSpec{Kind: ofp.LearnKind(s.kind)}
		var ok1, ok2 bool
		w.Src, ok1 = s.src.wire()
		w.Dst, ok2 = s.dst.wire()
		if s.src.field == nil {
			w.Value, ok1 = wireValue(s.dst.field, s.value), true
		}
		if s.kind == learnOutput {
			w.Dst, ok2 = ofp.Subfield{}, true
		}
		if !ok1 || !ok2 {
			return nil, errUnencodable
		}
		a.Specs[i] = w
	}
	return a, nil
}

// appendWireLearn appends the action as dumps show it.
func appendWireLearn(b []byte, a ofp.Learn) ([]byte, error) {
	l := learn{
		table: uint64(a.Table), priority: uint64(a.Priority), cookie: a.Cookie,
		idle: uint64(a.IdleTimeout), hard: uint64(a.HardTimeout), finIdle: uint64(a.FinIdleTimeout), finHard: uint64(a.FinHardTimeout),
		sendFlowRem: a.SendFlowRem, deleteFlows: a.DeleteLearned, specs: make([]learnSpec, len(a.Specs)),
	}
	for i := range a.Specs {
		w := &a.Specs[i]
		s := learnSpec{kind: learnKind(w.Kind)}
		ok1, ok2 := true, true
		if w.Kind != ofp.LearnOutput {
			s.dst, ok2 = fromWireSubfield(w.Dst)
		}
		if w.Src.Field != nil {
			s.src, ok1 = fromWireSubfield(w.Src)
		} else if ok2 {
			s.value = textValue(s.dst.field, w.Value)
			ok1 = s.dst.field.format != opaque && s.dst.field.format != ctState && s.dst.field.format != tcpFlags
		}
		if !ok1 || !ok2 {
			return b, errUnencodable
		}
		l.specs[i] = s
	}
	return l.append(b), nil
}
