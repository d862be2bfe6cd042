package openflow

import (
	"bytes"
	"context"
	"fmt"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// DumpOptions narrows a dump of flows.
type DumpOptions struct {
	// Match selects the flows whose match is at least as narrow, in the syntax of
	// ovs-ofctl(8): "table=3", "cookie=0x5/0xff"; empty means all.
	Match string
	// Stats asks for packet and byte counts too.
	Stats bool
}

// DumpFlows returns all flows of the bridge, without counters, in no particular
// order.
func (b *Bridge) DumpFlows(ctx context.Context) ([]*ovs.Flow, error) {
	var flows []*ovs.Flow
	err := b.EachFlow(ctx, DumpOptions{}, func(f *ovs.Flow) error {
		flows = append(flows, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return flows, nil
}

// EachFlow calls fn for each flow that the options select. An error of fn ends
// it.
func (b *Bridge) EachFlow(ctx context.Context, o DumpOptions, fn func(*ovs.Flow) error) error {
	if b.native != nil {
		err := b.native.eachFlow(ctx, o, fn)
		if err == nil {
			return nil
		}
		if !leave(err) {
			return fmt.Errorf("dump flows of %s: %w", b.target, err)
		}
	}
	args := []string{"--no-stats", "dump-flows", b.target}
	if o.Stats {
		args[0] = "--stats"
	}
	if o.Match != "" {
		args = append(args, o.Match)
	}
	err := b.ofctl.run(ctx, nil, func(line []byte) error {
		text, ok, err := entry(line, "OFPST_FLOW reply")
		if err != nil || !ok {
			return err
		}
		f, err := ParseFlow(text)
		if err != nil {
			return err
		}
		return fn(f)
	}, args...)
	if err != nil {
		return fmt.Errorf("dump flows of %s: %w", b.target, err)
	}
	return nil
}

// Dump returns all groups and flows of the bridge. They are read one after the
// other: what another writes meanwhile may be in one and not in the other.
func (b *Bridge) Dump(ctx context.Context) (Contents, error) {
	groups, err := b.DumpGroups(ctx)
	if err != nil {
		return Contents{}, err
	}
	flows, err := b.DumpFlows(ctx)
	return Contents{Groups: groups, Flows: flows}, err
}

// DumpGroups returns all groups of the bridge.
func (b *Bridge) DumpGroups(ctx context.Context) ([]*Group, error) {
	if b.native != nil {
		groups, err := b.native.groups(ctx)
		if err == nil {
			return groups, nil
		}
		if !leave(err) {
			return nil, fmt.Errorf("dump groups of %s: %w", b.target, err)
		}
	}
	var groups []*Group
	err := b.ofctl.run(ctx, nil, func(line []byte) error {
		text, ok, err := entry(line, "OFPST_GROUP_DESC reply")
		if err != nil || !ok {
			return err
		}
		g, err := ParseGroup(text)
		if err != nil {
			return err
		}
		groups = append(groups, g)
		return nil
	}, "dump-groups", b.target)
	if err != nil {
		return nil, fmt.Errorf("dump groups of %s: %w", b.target, err)
	}
	return groups, nil
}

// entry returns the entry on a line of a dump; ok is false for the heading of a
// reply. Entries are indented by a space.
func entry(line []byte, heading string) (text string, ok bool, err error) {
	switch {
	case len(line) > 0 && line[0] == ' ':
		return string(line[1:]), true, nil
	case len(bytes.TrimSpace(line)) == 0, bytes.HasPrefix(line, []byte(heading)):
		return "", false, nil
	}
	return "", false, fmt.Errorf("unexpected line %q", line)
}
