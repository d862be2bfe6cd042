package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/list"
)

// protocols are the names a dump has for protocols; others are numbers.
var protocols = map[string]uint8{
	"icmp": icmp, "tcp": tcp, "udp": udp, "icmpv6": icmpv6, "sctp": sctp, "igmp": 2, "dccp": 33, "udplite": 136,
}

func protocolName(protocol uint8) string {
	for name, number := range protocols {
		if number == protocol {
			return name
		}
	}
	return strconv.Itoa(int(protocol))
}

// Parse reads the output of dpctl/dump-conntrack, one connection a line, with or
// without its options --more and --statistics. What it does not know in a line
// it passes over.
func Parse(text string) ([]Entry, error) {
	var entries []Entry
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func parseEntry(line string) (Entry, error) {
	var e Entry
	name, rest, _ := strings.Cut(line, ",")
	protocol, ok := protocols[name]
	if !ok {
		n, err := strconv.ParseUint(name, 10, 8)
		if err != nil {
			return e, fmt.Errorf("protocol: %w", err)
		}
		protocol = uint8(n)
	}
	e.Orig.Protocol, e.Reply.Protocol = protocol, protocol

	err := eachField(rest, func(key, value string) error {
		switch key {
		case "orig":
			return parseTuple(value, &e.Orig)
		case "reply":
			return parseTuple(value, &e.Reply)
		case "zone":
			return parseUint(value, &e.Zone)
		case "mark":
			return parseUint(value, &e.Mark)
		case "labels":
			return parseLabels(value, &e.Labels)
		case "protoinfo":
			return eachField(value, func(key, value string) error {
				// With --more each direction has its own state.
				if key == "state" || key == "state_orig" {
					e.State = value
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && (!e.Orig.Src.IsValid() || !e.Orig.Dst.IsValid()) {
		err = errors.New("orig has no addresses")
	}
	return e, err
}

func parseTuple(text string, t *Tuple) error {
	return eachField(text, func(key, value string) error {
		switch key {
		case "src":
			return parseAddr(value, &t.Src)
		case "dst":
			return parseAddr(value, &t.Dst)
		case "sport":
			return parseUint(value, &t.SrcPort)
		case "dport":
			return parseUint(value, &t.DstPort)
		case "id":
			return parseUint(value, &t.ICMPID)
		case "type":
			return parseUint(value, &t.ICMPType)
		case "code":
			return parseUint(value, &t.ICMPCode)
		}
		return nil
	})
}

// eachField calls f with the key and value of every "key=value" and
// "key=(fields)" in a list separated by commas; a nested value comes without its
// parentheses. Errors name the key.
func eachField(text string, f func(key, value string) error) error {
	for text != "" {
		var field string
		field, text = list.Cut(text)
		key, value, _ := strings.Cut(field, "=")
		if inner, ok := strings.CutPrefix(value, "("); ok {
			if value, ok = strings.CutSuffix(inner, ")"); !ok {
				return fmt.Errorf("%s: parenthesis is not closed", key)
			}
		}
		if err := f(key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func parseAddr(text string, addr *netip.Addr) (err error) {
	*addr, err = netip.ParseAddr(text)
	return err
}

// parseUint parses a number, decimal or with 0x, into a field of its size.
func parseUint[T uint8 | uint16 | uint32](text string, field *T) error {
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return err
	}
	if *field = T(n); uint64(*field) != n {
		return fmt.Errorf("%s is out of range", text)
	}
	return nil
}

// parseLabels parses up to 32 hexadecimal digits after 0x.
func parseLabels(text string, l *Labels) (err error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) > 32 {
		return fmt.Errorf("%q is not a number of 128 bits in hexadecimal", text)
	}
	if len(digits) > 16 {
		if l.Hi, err = strconv.ParseUint(digits[:len(digits)-16], 16, 64); err != nil {
			return err
		}
		digits = digits[len(digits)-16:]
	}
	l.Lo, err = strconv.ParseUint(digits, 16, 64)
	return err
}
