package main

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

// classical compiles ingress rules the way conjunctions are usually used: the
// clause of a rule's peers is their addresses. Clauses are shared, so the flow of
// an address has one conjunction() action for each rule that names it.
//
// It knows what the comparison needs: rules that all have the same subjects and
// peers, and a TCP port each.
type classical struct {
	subjects []uint32 // ofports
	peers    []netip.Addr
	rules    int
}

const classicalPriority = 100

func (c *classical) flow(proto ovs.Protocol, field, value string, actions []ovs.Action) *flows.Flow {
	return &flows.Flow{
		Table: int(flows.TableIngressPolicy), Priority: classicalPriority, Protocol: proto,
		Matches: []ovs.Match{ovs.FieldMatch(field, value)}, Actions: actions,
	}
}

// every returns the k-th clause of all rules.
func (c *classical) every(k int) []ovs.Action {
	actions := make([]ovs.Action, c.rules)
	for id := range c.rules {
		actions[id] = ovs.Conjunction(id+1, k, 3)
	}
	return actions
}

func (c *classical) subject(ofport uint32) *flows.Flow {
	// The register that holds the output port.
	return c.flow("", "reg1", fmt.Sprintf("%#x", ofport), c.every(1))
}

func (c *classical) peer(a netip.Addr) *flows.Flow {
	return c.flow(ovs.ProtocolIPv4, "nw_src", a.String(), c.every(2))
}

// rule returns what belongs to one rule alone.
func (c *classical) rule(i int) []*flows.Flow {
	id, port := i+1, strconv.Itoa(1000+i)
	service := []ovs.Action{ovs.Conjunction(id, 3, 3)}
	return []*flows.Flow{
		c.flow(ovs.ProtocolTCPv4, "tp_dst", port, service),
		c.flow(ovs.ProtocolTCPv6, "tp_dst", port, service),
		c.flow("", "conj_id", strconv.Itoa(id), []ovs.Action{openflow.RawAction(fmt.Sprintf("set_field:%#x->reg11", id)), openflow.RawAction("goto_table:13")}),
	}
}

// all returns all flows.
func (c *classical) all() *openflow.Transaction {
	t := &openflow.Transaction{Add: c.shared()}
	for i := range c.rules {
		t.Add = append(t.Add, c.rule(i)...)
	}
	return t
}

// shared returns the flows in which all rules have an action.
func (c *classical) shared() []*flows.Flow {
	var fs []*flows.Flow
	for _, s := range c.subjects {
		fs = append(fs, c.subject(s))
	}
	for _, p := range c.peers {
		fs = append(fs, c.peer(p))
	}
	return fs
}

// addPeer returns what changes with one more peer.
func (c *classical) addPeer(a netip.Addr) *openflow.Transaction {
	c.peers = append(c.peers, a)
	return &openflow.Transaction{Add: []*flows.Flow{c.peer(a)}}
}

// addRule returns what changes with one more rule: an action in each flow of its
// subjects and peers.
func (c *classical) addRule() *openflow.Transaction {
	c.rules++
	return &openflow.Transaction{Add: append(c.shared(), c.rule(c.rules-1)...)}
}
