package ofp

import (
	"fmt"
	"strings"
)

// GroupType says which buckets of a group a packet goes through.
type GroupType uint8

// The types of groups (section 5.10.1).
const (
	GroupAll GroupType = iota
	GroupSelect
	GroupIndirect
	GroupFastFailover
)

// GroupCommand is what a GroupMod does.
type GroupCommand uint16

// The commands. GroupAddOrModify is Open vSwitch's own: it adds the group, or
// replaces the one with its id.
const (
	GroupAdd          GroupCommand = 0
	GroupModify       GroupCommand = 1
	GroupDelete       GroupCommand = 2
	GroupInsertBucket GroupCommand = 3
	GroupRemoveBucket GroupCommand = 5
	GroupAddOrModify  GroupCommand = 0x8000
)

// Places of buckets in a group.
const (
	BucketFirst = 0xfffffffd
	BucketLast  = 0xfffffffe
	BucketAll   = 0xffffffff
)

const (
	anyGroup = 0xffffffff
	// allGroups, in a request for descriptions, means all of them.
	allGroups = 0xfffffffc
)

// GroupMod changes the group table (section 7.3.4.4).
type GroupMod struct {
	Command GroupCommand
	GroupDesc
	// Bucket is where buckets are inserted or which one is removed; BucketAll for
	// all other commands.
	Bucket uint32
}

// GroupDesc is a group as it stands in a switch.
type GroupDesc struct {
	Type      GroupType
	ID        uint32
	Buckets   []Bucket
	Selection *Selection
}

// Bucket is one way through a group.
type Bucket struct {
	ID uint32
	// Weight counts in select groups only. HasWeight says that there is one.
	Weight     uint16
	HasWeight  bool
	WatchPort  uint32 // PortAny means none
	WatchGroup uint32 // NoGroup means none
	Actions    []Action
}

// Len returns how many bytes the group's buckets and selection take in a
// message.
func (g *GroupDesc) Len() int {
	b, err := g.appendBuckets(make([]byte, 2), 0)
	if err != nil {
		return MaxLen
	}
	return len(b) - 2
}

// NoGroup, as the group a bucket watches, means none.
const NoGroup = anyGroup

// Selection is how a select group chooses, an extension of Netronome's.
type Selection struct {
	// Method has at most 15 bytes.
	Method string
	Param  uint64
	// Fields are what a hash covers, each with a mask as its value.
	Fields Match
}

// The types of a bucket's properties.
const (
	bucketWeight = iota
	bucketWatchPort
	bucketWatchGroup
)

// methodLen is the length of a selection's method, zero at the end included.
const methodLen = 16

func (k *Bucket) append(b []byte) []byte {
	n := len(b)
	b = be.AppendUint32(append(b, 0, 0, 0, 0), k.ID)
	actions := len(b)
	b = appendActions(b, k.Actions)
	putLen(b, n+2, actions)
	if k.HasWeight {
		b = append(be.AppendUint16(append(b, 0, bucketWeight, 0, 8), k.Weight), 0, 0)
	}
	if k.WatchPort != PortAny {
		b = be.AppendUint32(append(b, 0, bucketWatchPort, 0, 8), k.WatchPort)
	}
	if k.WatchGroup != NoGroup {
		b = be.AppendUint32(append(b, 0, bucketWatchGroup, 0, 8), k.WatchGroup)
	}
	putLen(b, n, n)
	return b
}

func parseBuckets(r *reader) ([]Bucket, error) {
	var list []Bucket
	for r.more() {
		s := r.entry()
		s.skip(2)
		n := int(s.u16())
		k := Bucket{ID: s.u32(), WatchPort: PortAny, WatchGroup: NoGroup}
		actions := s.sub(n)
		var err error
		k.Actions, err = parseActions(actions, 0)
		s.join(actions)
		for err == nil && s.more() {
			kind := s.u16()
			p := s.property(int(s.u16()))
			switch kind {
			case bucketWeight:
				k.Weight, k.HasWeight = p.u16(), true
			case bucketWatchPort:
				k.WatchPort = p.u32()
			case bucketWatchGroup:
				k.WatchGroup = p.u32()
			default:
				err = fmt.Errorf("property %d: %w", kind, ErrUnknown)
			}
			s.join(p)
		}
		r.join(s)
		if err != nil {
			return nil, fmt.Errorf("bucket %d: %w", k.ID, err)
		}
		list = append(list, k)
	}
	return list, r.err
}

func (s *Selection) append(b []byte) ([]byte, error) {
	if s == nil {
		return b, nil
	}
	if len(s.Method) >= methodLen {
		return b, fmt.Errorf("selection method %q: %w", s.Method, ErrTooLong)
	}
	n := len(b)
	b = be.AppendUint32(append(b, 0xff, 0xff, 0, 0), netronome)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0)
	var method [methodLen]byte
	copy(method[:], s.Method)
	b = be.AppendUint64(append(b, method[:]...), s.Param)
	for i := range s.Fields {
		b = s.Fields[i].append(b)
	}
	putLen(b, n+2, n)
	return pad(b, n), nil
}

// parseSelection reads the properties of a group, of which there is one.
func parseSelection(r *reader) (*Selection, error) {
	var found *Selection
	for r.more() {
		kind := r.u16()
		p := r.property(int(r.u16()))
		id, subtype := p.u32(), p.u32()
		p.skip(4)
		if r.err == nil && p.err == nil && (kind != 0xffff || id != netronome || subtype != 1) {
			return nil, fmt.Errorf("property %d of a group: %w", kind, ErrUnknown)
		}
		s := &Selection{Method: strings.TrimRight(string(p.take(methodLen)), "\x00"), Param: p.u64()}
		var err error
		s.Fields, err = parseOXMs(p)
		r.join(p)
		if err != nil {
			return nil, err
		}
		found = s
	}
	return found, r.err
}

// Type implements Message.
func (*GroupMod) Type() Type { return TypeGroupMod }

func (m *GroupMod) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint32(append(be.AppendUint16(b, uint16(m.Command)), uint8(m.GroupDesc.Type), 0), m.ID)
	length := len(b)
	b = be.AppendUint32(append(b, 0, 0, 0, 0), m.Bucket)
	return m.appendBuckets(b, length)
}

// appendBuckets appends buckets and properties; the length of the buckets goes
// to place.
func (g *GroupDesc) appendBuckets(b []byte, place int) ([]byte, error) {
	n := len(b)
	for i := range g.Buckets {
		b = g.Buckets[i].append(b)
	}
	if len(b)-n > MaxLen {
		return b, fmt.Errorf("group %d with buckets of %d bytes: %w", g.ID, len(b)-n, ErrTooLong)
	}
	putLen(b, place, n)
	return g.Selection.append(b)
}

func parseGroupMod(r *reader, _ Header) (Message, error) {
	m := &GroupMod{Command: GroupCommand(r.u16())}
	m.GroupDesc.Type = GroupType(r.u8())
	r.skip(1)
	m.ID = r.u32()
	n := int(r.u16())
	r.skip(2)
	m.Bucket = r.u32()
	return m, m.parseBuckets(r, n)
}

func (g *GroupDesc) parseBuckets(r *reader, n int) error {
	s := r.sub(n)
	var err error
	if g.Buckets, err = parseBuckets(s); err != nil {
		return err
	}
	r.join(s)
	g.Selection, err = parseSelection(r)
	return err
}

// GroupRequest asks for the description of a group.
type GroupRequest struct {
	// Group is one, or AllGroups.
	Group uint32
}

// AllGroups, as the group of a request, means all of them.
const AllGroups = allGroups

// Type implements Message.
func (GroupRequest) Type() Type { return TypeMultipartRequest }

func (m GroupRequest) appendBody(b []byte, _ uint32) ([]byte, error) {
	return append(be.AppendUint32(appendPart(b, partGroupDesc, false), m.Group), 0, 0, 0, 0), nil
}

// GroupReply is an answer to a GroupRequest, or a part of it.
type GroupReply struct {
	Groups []GroupDesc
	More   bool
}

// Type implements Message.
func (*GroupReply) Type() Type { return TypeMultipartReply }

func (m *GroupReply) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = appendPart(b, partGroupDesc, m.More)
	for i := range m.Groups {
		g := &m.Groups[i]
		n := len(b)
		b = be.AppendUint32(append(b, 0, 0, uint8(g.Type), 0), g.ID)
		var err error
		if b, err = g.appendBuckets(append(b, zeros[:8]...), len(b)); err != nil {
			return b, err
		}
		putLen(b, n, n)
	}
	return b, nil
}

func parseGroupReply(r *reader, more bool) (Message, error) {
	m := &GroupReply{More: more}
	for r.more() {
		s := r.entry()
		s.skip(2)
		g := GroupDesc{Type: GroupType(s.u8())}
		s.skip(1)
		g.ID = s.u32()
		n := int(s.u16())
		s.skip(6)
		err := g.parseBuckets(s, n)
		r.join(s)
		if err != nil {
			return nil, fmt.Errorf("group %d: %w", g.ID, err)
		}
		m.Groups = append(m.Groups, g)
	}
	return m, nil
}
