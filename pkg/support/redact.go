package support

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/sluice-cni/sluice/pkg/check/verdicts"
)

// redactor replaces names and addresses, the same one by the same everywhere, in
// the order in which it first meets them. What replaces an address is one of those
// for benchmarks and documentation (RFC 2544, RFC 3849), so that the text can
// still be read as what it is; that one range lies in another is lost.
type redactor struct {
	names map[string]string
	count map[string]int
	addrs map[netip.Addr]netip.Addr
	macs  map[string]string
	// hex are addresses as flows and groups may have them in registers.
	hex map[uint32]netip.Addr
}

// newRedactor knows the names to replace. Addresses are replaced wherever they
// are; those given also where they stand as a number.
func newRedactor(names []verdicts.Name, addrs []netip.Addr) *redactor {
	r := &redactor{
		names: map[string]string{}, count: map[string]int{}, addrs: map[netip.Addr]netip.Addr{}, macs: map[string]string{}, hex: map[uint32]netip.Addr{},
	}
	for _, n := range names {
		r.name(n.Kind, n.Name)
	}
	for _, a := range addrs {
		if a.Is4() {
			b := a.As4()
			r.hex[binary.BigEndian.Uint32(b[:])] = a
		}
	}
	return r
}

// kept are words of the texts themselves, and what says nothing about a cluster.
var kept = func() map[string]bool {
	out := map[string]bool{}
	for word := range strings.FieldsSeq(`ip ipv6 tcp tcp6 udp udp6 sctp sctp6 icmp icmp6 arp drop output table priority cookie actions
		in_port true false null name names pod pods port ports addr addrs node nodes rules flows to from via dev type status message any all
		none default kube-system kube-public kube-node-lease kubernetes NetworkPolicy ingress egress app role system netdev`) {
		out[word] = true
	}
	return out
}()

// name has a name replaced by its kind with a number.
func (r *redactor) name(kind, name string) {
	// Each part of what is no word, such as example.com/team.
	for _, word := range strings.FieldsFunc(name, func(c rune) bool { return !inWord(c) }) {
		word = strings.Trim(word, ".-")
		known := kept[word] || r.names[word] != "" || strings.Contains(word, "kubernetes.io") || strings.Contains(word, "k8s.io")
		if known || word == "" || word != name && len(word) < 3 || !strings.ContainsFunc(word, unicode.IsLetter) {
			continue
		}
		r.count[kind]++
		r.names[word] = fmt.Sprintf("%s-%d", kind, r.count[kind])
	}
}

func inWord(c rune) bool {
	return c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// tokens finds, in this order: Ethernet addresses, what may be an IPv6 address,
// IPv4 addresses, numbers of registers, words.
var tokens = regexp.MustCompile(`\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b` +
	`|[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F:]*(?:\d+\.\d+\.\d+\.\d+)?` +
	`|\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b` +
	`|\b0x[0-9a-fA-F]{1,8}\b` +
	`|[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?`)

// text returns a text with names and addresses replaced.
func (r *redactor) text(in []byte) []byte { return tokens.ReplaceAllFunc(in, r.token) }

func (r *redactor) token(t []byte) []byte {
	s := string(t)
	switch {
	case len(s) > 1 && s[0] == ':' && s[1] != ':':
		// What comes before it was no part of an address: "set_field:fd00::1".
		return append([]byte{':'}, tokens.ReplaceAllFunc(t[1:], r.token)...)
	case len(s) == 17 && strings.Count(s, ":") == 5:
		return []byte(r.mac(s))
	case strings.HasPrefix(s, "0x"):
		n, err := strconv.ParseUint(s[2:], 16, 32)
		if a, ok := r.hex[uint32(n)]; err == nil && ok {
			b := r.addr(a).As4()
			return fmt.Appendf(nil, "0x%x", binary.BigEndian.Uint32(b[:]))
		}
		return t
	case strings.Contains(s, ":"):
		return []byte(r.colons(s))
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return []byte(r.addr(a).String())
	}
	if n, ok := r.names[s]; ok {
		return []byte(n)
	}
	return t
}

// colons replaces what has colons: an IPv6 address, perhaps with one behind it
// that is not its own, or words and numbers between colons.
func (r *redactor) colons(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return r.addr(a).String()
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(s, ":")); err == nil {
		return r.addr(a).String() + ":"
	}
	parts := strings.Split(s, ":")
	for i, p := range parts {
		if n, ok := r.names[p]; ok {
			parts[i] = n
		}
	}
	return strings.Join(parts, ":")
}

// public are addresses that say nothing.
func public(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] == 0 || b[0] == 255 || a.IsLoopback() || a.IsMulticast()
	}
	return a.IsUnspecified() || a.IsLoopback() || a.IsMulticast()
}

func (r *redactor) addr(a netip.Addr) netip.Addr {
	a = a.WithZone("")
	if public(a) {
		return a
	}
	to, ok := r.addrs[a]
	if !ok {
		n := uint32(len(r.addrs) + 1)
		if a.Is4() {
			b := [4]byte{198, 18}
			binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
			to = netip.AddrFrom4(b)
		} else {
			b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
			binary.BigEndian.PutUint32(b[12:], n)
			to = netip.AddrFrom16(b)
		}
		r.addrs[a] = to
	}
	return to
}

// mac replaces an Ethernet address: those of pods are made of their addresses.
func (r *redactor) mac(s string) string {
	key := strings.ToLower(s)
	if key == "ff:ff:ff:ff:ff:ff" || key == "00:00:00:00:00:00" {
		return s
	}
	to, ok := r.macs[key]
	if !ok {
		n := len(r.macs) + 1
		to = fmt.Sprintf("02:00:00:%02x:%02x:%02x", byte(n>>16), byte(n>>8), byte(n))
		r.macs[key] = to
	}
	return to
}
