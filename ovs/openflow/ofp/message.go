package ofp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the wire version of OpenFlow 1.5, the only one spoken here.
const Version = 6

// HeaderLen is the length of what each message begins with, in bytes.
const HeaderLen = 8

// MaxLen is the greatest length of a message, in bytes, header included.
const MaxLen = 65535

var (
	// ErrUnknown says that a message, a field or an action has no type in this
	// package.
	ErrUnknown = errors.New("not known to package ofp")
	// ErrMalformed says that bytes are no OpenFlow message.
	ErrMalformed = errors.New("malformed")
	// ErrTooLong says that a message does not fit into MaxLen bytes.
	ErrTooLong = errors.New("longer than an OpenFlow message can be")
)

// Type is the type of a message (section 7.1.1).
type Type uint8

// The types of messages that this package has a Go type for.
const (
	TypeHello            Type = 0
	TypeError            Type = 1
	TypeEchoRequest      Type = 2
	TypeEchoReply        Type = 3
	TypeExperimenter     Type = 4
	TypeFeaturesRequest  Type = 5
	TypeFeaturesReply    Type = 6
	TypeSetConfig        Type = 9
	TypePacketIn         Type = 10
	TypePacketOut        Type = 13
	TypeFlowMod          Type = 14
	TypeGroupMod         Type = 15
	TypeMultipartRequest Type = 18
	TypeMultipartReply   Type = 19
	TypeBarrierRequest   Type = 20
	TypeBarrierReply     Type = 21
	TypeMeterMod         Type = 29
	TypeBundleControl    Type = 33
	TypeBundleAdd        Type = 34
)

// Header is what each message begins with.
type Header struct {
	Version uint8
	Type    Type
	// Length is that of the whole message, in bytes.
	Length uint16
	// XID is the transaction id: a reply has that of its request.
	XID uint32
}

// Message is an OpenFlow message without its header.
type Message interface {
	// Type returns the type of the message.
	Type() Type
	// appendBody appends what follows the header. xid is that of the header: a
	// message inside a bundle has the same.
	appendBody(b []byte, xid uint32) ([]byte, error)
}

// Append appends a message to b. On an error b is returned as it was.
func Append(b []byte, xid uint32, m Message) ([]byte, error) {
	start := len(b)
	b = append(b, Version, uint8(m.Type()), 0, 0)
	b = be.AppendUint32(b, xid)
	b, err := m.appendBody(b, xid)
	if err != nil {
		return b[:start], err
	}
	n := len(b) - start
	if n > MaxLen {
		return b[:start], fmt.Errorf("message of %d bytes: %w", n, ErrTooLong)
	}
	be.PutUint16(b[start+2:], uint16(n))
	return b, nil
}

// ParseHeader reads the header at the beginning of b, which has HeaderLen bytes
// or more.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fmt.Errorf("header of %d bytes: %w", len(b), ErrMalformed)
	}
	h := Header{Version: b[0], Type: Type(b[1]), Length: be.Uint16(b[2:]), XID: be.Uint32(b[4:])}
	if h.Length < HeaderLen {
		return h, fmt.Errorf("message that says it has %d bytes: %w", h.Length, ErrMalformed)
	}
	return h, nil
}

// Read reads one message from r into buf, which grows as needed, and returns it.
func Read(r io.Reader, buf []byte) ([]byte, error) {
	buf = append(buf[:0], make([]byte, HeaderLen)...)
	if _, err := io.ReadFull(r, buf); err != nil {
		return buf, err
	}
	h, err := ParseHeader(buf)
	if err != nil {
		return buf, err
	}
	buf = append(buf, make([]byte, int(h.Length)-HeaderLen)...)
	_, err = io.ReadFull(r, buf[HeaderLen:])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return buf, err
}

// Parse reads a message. What it returns does not refer to b.
func Parse(b []byte) (Header, Message, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, nil, err
	}
	if int(h.Length) != len(b) {
		return h, nil, fmt.Errorf("message of %d bytes that says it has %d: %w", len(b), h.Length, ErrMalformed)
	}
	// Hello is for finding out the version, and so has any.
	if h.Version != Version && h.Type != TypeHello {
		return h, nil, fmt.Errorf("message of version %#x: %w", h.Version, ErrUnknown)
	}
	parse := parsers[h.Type]
	if parse == nil {
		return h, nil, fmt.Errorf("message type %d: %w", h.Type, ErrUnknown)
	}
	r := reader{b: b[HeaderLen:]}
	m, err := parse(&r, h)
	if err == nil {
		err = r.err
	}
	if err != nil {
		return h, nil, fmt.Errorf("message type %d: %w", h.Type, err)
	}
	return h, m, nil
}

// parsers read what follows the header of a message.
var parsers map[Type]func(r *reader, h Header) (Message, error)

// They are filled in here because a bundle holds messages.
func init() {
	parsers = map[Type]func(r *reader, h Header) (Message, error){
		TypeHello:            parseHello,
		TypeError:            parseError,
		TypeEchoRequest:      parseEchoRequest,
		TypeEchoReply:        parseEchoReply,
		TypeExperimenter:     parseExperimenter,
		TypeFeaturesRequest:  func(*reader, Header) (Message, error) { return FeaturesRequest{}, nil },
		TypeFeaturesReply:    parseFeatures,
		TypeSetConfig:        parseSetConfig,
		TypePacketIn:         parsePacketIn,
		TypePacketOut:        parsePacketOut,
		TypeFlowMod:          parseFlowMod,
		TypeGroupMod:         parseGroupMod,
		TypeMultipartRequest: parseMultipartRequest,
		TypeMultipartReply:   parseMultipartReply,
		TypeBarrierRequest:   func(*reader, Header) (Message, error) { return BarrierRequest{}, nil },
		TypeBarrierReply:     func(*reader, Header) (Message, error) { return BarrierReply{}, nil },
		TypeMeterMod:         parseMeterMod,
		TypeBundleControl:    parseBundleControl,
		TypeBundleAdd:        parseBundleAdd,
	}
}

var be = binary.BigEndian
