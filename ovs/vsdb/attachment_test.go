package vsdb

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func attachments() *rapid.Generator[Attachment] {
	return rapid.Custom(func(t *rapid.T) Attachment {
		text := rapid.StringN(0, 40, -1)
		v4 := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ipv4")))
		v6 := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ipv6")))
		addrs := [][]netip.Addr{{v4}, {v6}, {v4, v6}, {v6, v4}}
		return Attachment{
			PodNamespace: text.Draw(t, "namespace"),
			PodName:      text.Draw(t, "name"),
			PodUID:       text.Draw(t, "uid"),
			ContainerID:  rapid.StringN(1, 40, -1).Draw(t, "container"),
			IfName:       rapid.StringN(1, 15, -1).Draw(t, "ifname"),
			Netns:        text.Draw(t, "netns"),
			MAC:          net.HardwareAddr(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac")),
			Addrs:        rapid.SampledFrom(addrs).Draw(t, "addrs"),
		}
	})
}

func TestAttachmentSurvivesExternalIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := attachments().Filter(func(a Attachment) bool { return a.Validate() == nil }).Draw(t, "attachment")
		ids := want.ExternalIDs()
		for key := range ids {
			if !strings.HasPrefix(key, IDPrefix) {
				t.Fatalf("key %s", key)
			}
		}
		if !ours(ids) {
			t.Fatal("not recognised as ours")
		}
		ids["iface-id"] = "someone else's"
		got, err := ParseAttachment(ids)
		if err != nil || !got.Equal(want) {
			t.Fatalf("read %+v, %v", got, err)
		}
	})
}

func TestBadAttachmentsAreRefusedByField(t *testing.T) {
	good := pod(1).Attachment
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*Attachment){
		"ContainerID":           func(a *Attachment) { a.ContainerID = "" },
		"IfName":                func(a *Attachment) { a.IfName = "" },
		"MAC":                   func(a *Attachment) { a.MAC = nil },
		"Addrs is empty":        func(a *Attachment) { a.Addrs = nil },
		"Addrs: \"fe80::1%eth0": func(a *Attachment) { a.Addrs = []netip.Addr{netip.MustParseAddr("fe80::1%eth0")} },
		"Addrs: \"::ffff:10.":   func(a *Attachment) { a.Addrs = []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")} },
		"second address":        func(a *Attachment) { a.Addrs = []netip.Addr{a.Addrs[0], a.Addrs[0]} },
	} {
		a := good
		change(&a)
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error is %v", field, err)
		}
	}
}

func TestUnreadableKeysAreNamed(t *testing.T) {
	ids := pod(1).ExternalIDs()
	ids[IDMAC] = "nonsense"
	ids[IDIPv4] = "fd00::1"
	a, err := ParseAttachment(ids)
	if err == nil || !strings.Contains(err.Error(), IDMAC) || !strings.Contains(err.Error(), IDIPv4) {
		t.Errorf("error is %v", err)
	}
	if a.ContainerID != "c1" || len(a.Addrs) != 1 {
		t.Errorf("the rest is lost: %+v", a)
	}
}
