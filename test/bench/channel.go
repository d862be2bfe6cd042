package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
)

// channel is an OpenFlow 1.5 connection that knows one thing: to commit a bundle
// with one flow. It shows what a commit costs without a process for each.
type channel struct {
	conn net.Conn
	xid  uint32
}

// Message types and other numbers of OpenFlow Switch Specification 1.5.1, sections
// 7.1 (header), 7.3.4.2 (flow mod) and 7.3.9 (bundles).
const (
	ofVersion       = 6
	ofHello         = 0
	ofError         = 1
	ofEchoRequest   = 2
	ofEchoReply     = 3
	ofFlowMod       = 14
	ofBundleControl = 33
	ofBundleAdd     = 34

	bundleOpen     = 0
	bundleCommit   = 4
	bundleAtomic   = 1
	bundleOrdered  = 2
	bundleFlags    = bundleAtomic | bundleOrdered
	ofNoBuffer     = 0xffffffff
	ofAny          = 0xffffffff
	headerLength   = 8
	benchFlowTable = 253 // no table of the pipeline
)

func openChannel(ctx context.Context, target string) (*channel, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(target, "unix:"))
	if err != nil {
		return nil, err
	}
	c := &channel{conn: conn}
	if err := c.send(ofHello, nil); err != nil {
		return nil, err
	}
	if _, err := c.receive(ofHello); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *channel) close() { c.conn.Close() }

// commit adds a flow that does nothing at the given priority.
func (c *channel) commit(priority uint16) error {
	c.xid++
	id := c.xid
	control := func(kind uint16) []byte {
		return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, id), kind), bundleFlags)
	}
	flow := message(ofFlowMod, id, flowMod(priority))
	add := binary.BigEndian.AppendUint32(nil, id)
	add = binary.BigEndian.AppendUint16(append(add, 0, 0), bundleFlags)
	for _, m := range []struct {
		kind byte
		body []byte
		ask  bool
	}{{ofBundleControl, control(bundleOpen), true}, {ofBundleAdd, append(add, flow...), false}, {ofBundleControl, control(bundleCommit), true}} {
		if err := c.send(m.kind, m.body); err != nil {
			return err
		}
		if !m.ask {
			continue
		}
		if _, err := c.receive(ofBundleControl); err != nil {
			return err
		}
	}
	return nil
}

// flowMod is the body of a flow mod that adds a flow without match and actions.
func flowMod(priority uint16) []byte {
	b := make([]byte, 40, 48)
	b[16] = benchFlowTable
	binary.BigEndian.PutUint16(b[22:], priority)
	binary.BigEndian.PutUint32(b[24:], ofNoBuffer)
	binary.BigEndian.PutUint32(b[28:], ofAny)
	binary.BigEndian.PutUint32(b[32:], ofAny)
	// An OXM match of four bytes, padded to eight.
	return append(b, 0, 1, 0, 4, 0, 0, 0, 0)
}

func message(kind byte, xid uint32, body []byte) []byte {
	b := []byte{ofVersion, kind}
	b = binary.BigEndian.AppendUint16(b, uint16(headerLength+len(body)))
	return append(binary.BigEndian.AppendUint32(b, xid), body...)
}

func (c *channel) send(kind byte, body []byte) error {
	_, err := c.conn.Write(message(kind, c.xid, body))
	return err
}

// receive returns the next message of a kind. An error that the switch sends
// comes back as one.
func (c *channel) receive(kind byte) ([]byte, error) {
	for {
		header := make([]byte, headerLength)
		if _, err := io.ReadFull(c.conn, header); err != nil {
			return nil, fmt.Errorf("read an OpenFlow header: %w", err)
		}
		body := make([]byte, int(binary.BigEndian.Uint16(header[2:]))-headerLength)
		if _, err := io.ReadFull(c.conn, body); err != nil {
			return nil, fmt.Errorf("read an OpenFlow message: %w", err)
		}
		switch header[1] {
		case kind:
			return body, nil
		case ofEchoRequest:
			if err := c.send(ofEchoReply, body); err != nil {
				return nil, err
			}
		case ofError:
			return nil, fmt.Errorf("the switch refuses: OpenFlow error % x", body[:min(4, len(body))])
		}
	}
}
