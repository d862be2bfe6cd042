package openflow

import (
	"fmt"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// maxActionBytes bounds the encoded actions of one flow, and of one group. An
// OpenFlow message has at most 65,535 bytes, and what a bundle or a dump puts
// around the actions, the match among it, takes part of them.
//
// The bound is checked here because OVS 3.1 does not check it well: near the
// limit ovs-ofctl sends a message whose length has wrapped round, and a flow
// that just fits into a bundle but not into the reply to a dump is installed and
// then missing from every dump.
const maxActionBytes = 64000

// checkSize refuses actions that may be too large.
func checkSize(actions []ovs.Action) error {
	if n := sizeBound(actions); n > maxActionBytes {
		return fmt.Errorf("actions take up to %d bytes, of which a message holds %d", n, maxActionBytes)
	}
	return nil
}

// sizeBound returns an upper bound of what actions take encoded: exact for
// conjunctions, of which a flow may have thousands, and generous for others.
func sizeBound(actions []ovs.Action) int {
	n := 0
	for _, a := range actions {
		text, err := actionText(a)
		if err != nil {
			continue
		}
		for text != "" {
			var tok string
			tok, text = nextToken(text, false)
			n += actionSize(tok)
		}
	}
	return n
}

func actionSize(s string) int {
	const (
		conjunction = 16
		// The largest action of fixed size: a set_field of 128 bits with a mask, in
		// its extended header.
		fixed = 64
	)
	if strings.HasPrefix(s, "conjunction(") {
		return conjunction
	}
	// A nested list has an action for each comma; notes and user data are shorter
	// encoded than written.
	return fixed*(1+strings.Count(s, ",")) + len(s)
}
