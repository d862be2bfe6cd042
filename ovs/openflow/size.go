package openflow

import (
	"fmt"
	"strings"
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

// checkSize refuses a list of actions that may be too large.
func checkSize(text []byte) error {
	// No list of this length comes near, whatever is in it.
	if (fixedSize+1)*(len(text)+1) <= maxActionBytes {
		return nil
	}
	if n := sizeBound(text); n > maxActionBytes {
		return fmt.Errorf("actions take up to %d bytes, of which a message holds %d", n, maxActionBytes)
	}
	return nil
}

// fixedSize bounds an action of fixed size: the largest is a set_field of 128
// bits with a mask, in its extended header.
const fixedSize = 64

// sizeBound returns an upper bound of what a list of actions takes encoded. It
// is exact for many conjunctions, of which a flow may have thousands, and
// generous for all else.
func sizeBound(text []byte) int {
	n := 0
	for s := string(text); s != ""; {
		var tok string
		tok, s = nextToken(s, false)
		n += actionSize(tok)
	}
	return n
}

func actionSize(s string) int {
	const conjunction = 16
	if strings.HasPrefix(s, "conjunction(") {
		return conjunction
	}
	// A nested list has an action for each comma; notes and user data are shorter
	// encoded than written.
	return fixedSize*(1+strings.Count(s, ",")) + len(s)
}
