package openflow

import (
	"strconv"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// encoder makes messages of changes. It keeps a buffer from one to the next.
type encoder struct{ text []byte }

// flow returns the message that adds or deletes a flow. An error that is not
// errUnencodable says why the flow can't be sent at all.
func (e *encoder) flow(f *ovs.Flow, deletes bool) (*ofp.FlowMod, error) {
	m, err := checkedMatch(f)
	if err != nil {
		return nil, err
	}
	mod := &ofp.FlowMod{Table: uint8(f.Table), Priority: uint16(f.Priority)}
	if mod.Match, err = encodeMatch(m); err != nil {
		return nil, err
	}
	if deletes {
		mod.Command = ofp.FlowDeleteStrict
		return mod, nil
	}
	mod.Cookie = f.Cookie
	if err := m.encodeAttributes(mod); err != nil {
		return nil, err
	}
	if e.text, err = appendSendable(e.text[:0], f.Actions); err != nil {
		return nil, err
	}
	mod.Instructions, err = encodeInstructions(string(e.text))
	return mod, err
}

// appendFlowDesc appends the text of a flow as `ovs-ofctl dump-flows` shows it,
// but for the order of its fields.
func appendFlowDesc(b []byte, f *ofp.FlowDesc, stats bool) ([]byte, error) {
	m, err := decodeMatch(f.Match)
	if err != nil {
		return b, err
	}
	b = strconv.AppendUint(append(b, "cookie=0x"...), f.Cookie, 16)
	attribute := func(name string, v uint64) {
		if v != 0 {
			b = strconv.AppendUint(append(b, name...), v, 10)
		}
	}
	if stats {
		b = strconv.AppendUint(append(b, ",n_packets="...), f.Stats.Packets, 10)
		b = strconv.AppendUint(append(b, ",n_bytes="...), f.Stats.Bytes, 10)
	}
	attribute(",idle_timeout=", uint64(f.IdleTimeout))
	attribute(",hard_timeout=", uint64(f.HardTimeout))
	for _, a := range flagAttributes {
		if f.Flags&a.flag != 0 {
			b = append(append(b, ','), a.name...)
		}
	}
	attribute(",importance=", uint64(f.Importance))
	b = strconv.AppendUint(append(b, ",table="...), uint64(f.Table), 10)
	b = strconv.AppendUint(append(b, ",priority="...), uint64(f.Priority), 10)
	b = append(m.append(b), " actions="...)
	return appendInstructions(b, &f.Instructions)
}
