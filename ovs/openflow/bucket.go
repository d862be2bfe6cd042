package openflow

import (
	"fmt"
	"strings"
)

// A switch does a bucket's actions as an action set (OpenFlow 1.5.1, section
// 5.6): whatever their order, fields are set and copied first, and then the
// packet goes one way out, by group, output, resubmit or ct. What is no part of a
// set is left out in silence. Here it is refused: what a bucket can't do is for a
// flow of the table it resubmits to.

// neverInBucket are actions that Open vSwitch 3.1 takes in a bucket and does not
// do.
var neverInBucket = map[string]bool{
	"bundle": true, "bundle_load": true, "check_pkt_larger": true, "clone": true, "conjunction": true, "controller": true, "ct_clear": true,
	"exit": true, "fin_timeout": true, "learn": true, "meter": true, "multipath": true, "note": true, "pop": true, "pop_queue": true,
	"push": true, "sample": true,
}

// checkBucketActions refuses actions in canonical spelling that a bucket would
// not do.
func checkBucketActions(text string) error {
	end := ""
	for text != "" {
		var tok string
		tok, text = nextToken(text, false)
		name, args := splitAction(tok)
		toField := name == "output" && strings.HasSuffix(args, "]")
		if neverInBucket[name] || toField {
			return fmt.Errorf("action %s: no switch does it in a bucket", tok)
		}
		if !leavesBucket(tok, name) {
			continue
		}
		if end != "" {
			return fmt.Errorf("action %s: a bucket has one way out, and there is another: %s", tok, end)
		}
		end = tok
	}
	return nil
}

// leavesBucket reports whether an action is a way out of a bucket.
func leavesBucket(tok, name string) bool {
	switch name {
	case "group", "output", "resubmit", "ct", "CONTROLLER":
		return true
	}
	_, port := reservedPorts[tok]
	return port
}
