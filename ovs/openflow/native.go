package openflow

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/openflow/channel"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// TransportVariable is the environment variable that says how bridges are
// spoken to where the configuration does not: "native", or "ofctl" for
// ovs-ofctl, which is the default.
const TransportVariable = "SLUICE_OPENFLOW"

// native speaks to a bridge over a connection of its own instead of running
// ovs-ofctl. What package ofp does not know it leaves to ovs-ofctl, with
// errUnencodable.
type native struct{ channel *channel.Channel }

// newNative returns nil if the configuration does not ask for it, or if the
// target is not one for it.
func newNative(c Config, target string) *native {
	if !c.Native && os.Getenv(TransportVariable) != "native" || !channel.Supported(target) {
		return nil
	}
	return &native{channel.New(channel.Config{Target: target}, 0)}
}

// leave reports whether ovs-ofctl is to be asked instead.
func leave(err error) bool {
	return errors.Is(err, errUnencodable) || errors.Is(err, ofp.ErrUnknown) || errors.Is(err, ofp.ErrTooLong)
}

// message returns the message of a transaction's i-th change.
func (e *encoder) message(c change, t *Transaction, i int) (ofp.Message, error) {
	switch c.command {
	case addFlow, deleteFlow:
		return e.flow(c.flow, c.command == deleteFlow)
	case setGroup:
		return e.group(c.group)
	case removeBucket:
		r := t.RemoveBuckets[i-len(t.SetGroups)]
		return &ofp.GroupMod{Command: ofp.GroupRemoveBucket, GroupDesc: ofp.GroupDesc{ID: r.Group}, Bucket: r.Bucket}, nil
	case insertBucket:
		return e.insertion(&t.InsertBuckets[i-len(t.SetGroups)-len(t.RemoveBuckets)])
	case deleteGroup:
		id := t.DeleteGroups[i-t.Len()+len(t.DeleteGroups)]
		return &ofp.GroupMod{Command: ofp.GroupDelete, GroupDesc: ofp.GroupDesc{ID: id}, Bucket: ofp.BucketAll}, nil
	}
	return nil, errUnencodable
}

// commit makes all changes or none. One change is a whole by itself and needs
// no bundle.
func (n *native) commit(ctx context.Context, t *Transaction) error {
	e := &encoder{}
	count := t.Len()
	message := func(i int) (ofp.Message, error) {
		c := t.change(i)
		m, err := e.message(c, t, i)
		if err != nil && !leave(err) {
			err = &BundleError{Flow: c.String(), Index: i, Reason: err.Error(), Offender: c.flow}
		}
		return m, err
	}
	// What can't be sent must not cost a round trip, nor a connection.
	first, err := message(0)
	if err != nil {
		return err
	}
	err = n.channel.Use(ctx, func(c *channel.Conn) error {
		if count == 1 {
			return c.Do(ctx, first)
		}
		return c.Bundle(ctx, count, message)
	})
	if refused, ok := errors.AsType[*channel.RefusedError](err); ok {
		return t.refused(refused)
	}
	return err
}

// refused says which change the switch refused.
func (t *Transaction) refused(r *channel.RefusedError) error {
	e := &BundleError{Index: -1, Reason: r.Err.String()}
	if r.Index < 0 || r.Index >= t.Len() {
		return e
	}
	c := t.change(r.Index)
	b := bundle{}
	e.Index, e.Offender, e.Flow = r.Index, c.flow, c.String()
	if b.add(c) == nil {
		e.Flow = b.line(0)
	}
	return e
}

// ping asks for an answer.
func (n *native) ping(ctx context.Context) error {
	return n.channel.Use(ctx, func(c *channel.Conn) error { return c.Barrier(ctx) })
}

// eachFlow calls fn for the flows of a dump, when it is known that all of them
// can be had.
func (n *native) eachFlow(ctx context.Context, o DumpOptions, fn func(*ovs.Flow) error) error {
	request, err := flowRequest(o.Match)
	if err != nil {
		return err
	}
	var flows []*ovs.Flow
	var text []byte
	err = n.channel.Use(ctx, func(c *channel.Conn) error {
		return c.Each(ctx, request, func(m ofp.Message) error {
			part, ok := m.(*ofp.FlowReply)
			if !ok {
				return errUnencodable
			}
			for i := range part.Flows {
				var err error
				if text, err = appendFlowDesc(text[:0], &part.Flows[i], o.Stats); err != nil {
					return err
				}
				f, err := ParseFlow(string(text))
				if err != nil {
					return err
				}
				flows = append(flows, f)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, f := range flows {
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// flowRequest reads a match as DumpOptions have it.
func flowRequest(s string) (*ofp.FlowRequest, error) {
	q := &ofp.FlowRequest{Table: ofp.AllTables}
	m := &match{protocol: anyProtocol}
	for s != "" {
		var tok string
		if tok, s = nextToken(s, true); tok == "" {
			continue
		}
		name, value, found := strings.Cut(tok, "=")
		switch name {
		case "table":
			v, ok := parseInt(value)
			if !ok || v.hi != 0 || v.lo > ofp.AllTables {
				return nil, errUnencodable
			}
			q.Table = uint8(v.lo)
		case "cookie":
			v, mask, masked := strings.Cut(value, "/")
			cookie, ok1 := parseInt(v)
			k, ok2 := u128{lo: ^uint64(0)}, true
			if masked && mask != "-1" {
				k, ok2 = parseInt(mask)
			}
			if !ok1 || !ok2 {
				return nil, errUnencodable
			}
			q.Cookie, q.CookieMask = cookie.lo, k.lo
		default:
			m.add(name, value, found)
		}
	}
	m.finish()
	if len(m.problems) > 0 || len(m.attrs) > 0 || m.idle != 0 {
		return nil, errUnencodable
	}
	var err error
	q.Match, err = encodeMatch(m)
	return q, err
}

func (n *native) groups(ctx context.Context) ([]*Group, error) {
	var groups []*Group
	err := n.channel.Use(ctx, func(c *channel.Conn) error {
		return c.Each(ctx, ofp.GroupRequest{Group: ofp.AllGroups}, func(m ofp.Message) error {
			part, ok := m.(*ofp.GroupReply)
			if !ok {
				return errUnencodable
			}
			for i := range part.Groups {
				g, err := decodeGroup(&part.Groups[i])
				if err != nil {
					return err
				}
				groups = append(groups, g)
			}
			return nil
		})
	})
	return groups, err
}
