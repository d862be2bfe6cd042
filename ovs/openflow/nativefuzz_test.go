package openflow

import (
	"testing"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// What can be encoded has its text again.
func FuzzEncodeFlow(f *testing.F) {
	for _, c := range flowCorpus {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		flow, err := ParseFlow(s)
		if err != nil {
			return
		}
		mod, err := (&encoder{}).flow(flow, false)
		if err != nil {
			return
		}
		if _, err := ofp.Append(nil, 1, mod); err != nil {
			return
		}
		if got, want := decodedText(t, mod), Text(flow); got != want {
			t.Fatalf("%q\n got %s\nwant %s", s, got, want)
		}
	})
}

// A flow that a switch might send has text, which is one spelling, or none.
func FuzzDecodeFlow(f *testing.F) {
	for _, flow := range pipelineFlows(f) {
		mod := encodeFlow(f, flow)
		reply := &ofp.FlowReply{Flows: []ofp.FlowDesc{{Table: mod.Table, Priority: mod.Priority, Match: mod.Match, Instructions: mod.Instructions}}}
		wire, err := ofp.Append(nil, 1, reply)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > ofp.MaxLen {
			return
		}
		_, m, err := ofp.Parse(b)
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *ofp.FlowReply:
			for i := range m.Flows {
				text, err := appendFlowDesc(nil, &m.Flows[i], true)
				if err != nil {
					continue
				}
				flow, err := ParseFlow(string(text))
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				once := Text(flow)
				if again := Text(parseFlow(t, once)); again != once {
					t.Fatalf("text\n once %s\nagain %s", once, again)
				}
			}
		case *ofp.GroupReply:
			for i := range m.Groups {
				if g, err := decodeGroup(&m.Groups[i]); err == nil {
					_ = g.String()
				}
			}
		}
	})
}
