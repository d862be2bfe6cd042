package openflow

import (
	"strconv"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Key returns what names a flow on a bridge: its table, priority and match, in
// canonical spelling. Two flows with equal keys replace each other.
func Key(f *ovs.Flow) string {
	return string(appendKey(make([]byte, 0, 128), f, matchOf(f)))
}

// Text returns a flow in canonical spelling: cookie, table, timeouts and flags,
// priority, match and actions. It is equal for a flow as it was added and as it
// is dumped; ovs-ofctl reads it.
func Text(f *ovs.Flow) string {
	return string(appendText(make([]byte, 0, 256), f, matchOf(f)))
}

func appendKey(b []byte, f *ovs.Flow, m *match) []byte {
	b = strconv.AppendInt(append(b, "table="...), int64(f.Table), 10)
	b = strconv.AppendInt(append(b, ",priority="...), int64(f.Priority), 10)
	return m.append(b)
}

func appendText(b []byte, f *ovs.Flow, m *match) []byte {
	return appendActions(appendHead(b, f, m), f.Actions)
}

// appendHead appends a flow's text up to its actions.
func appendHead(b []byte, f *ovs.Flow, m *match) []byte {
	b = strconv.AppendUint(append(b, "cookie=0x"...), f.Cookie, 16)
	b = append(b, ',')
	if m.idle != 0 {
		b = strconv.AppendInt(append(b, "idle_timeout="...), int64(m.idle), 10)
		b = append(b, ',')
	}
	for _, a := range m.attrs {
		b = append(append(b, a...), ',')
	}
	b = appendKey(b, f, m)
	return append(b, ",actions="...)
}
