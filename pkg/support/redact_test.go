package support

import (
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/pkg/check/verdicts"
)

func TestNamesAndAddressesAreReplacedTheSameEverywhere(t *testing.T) {
	names := []verdicts.Name{
		{Kind: "namespace", Name: "shop"}, {Kind: "namespace", Name: "default"}, {Kind: "pod", Name: "db-0"}, {Kind: "pod", Name: "api"},
		{Kind: "policy", Name: "db-guard"}, {Kind: "label", Name: "example.com/team"}, {Kind: "label", Name: "blue_green"}, {Kind: "label", Name: "tcp"},
		{Kind: "label", Name: "app.kubernetes.io/name"}, {Kind: "label", Name: "1"},
	}
	for _, tc := range []struct{ text, want string }{
		{"pod shop/db-0 of default", "pod namespace-1/pod-1 of default"},
		{"NetworkPolicy/shop/db-guard/ingress/0", "NetworkPolicy/namespace-1/policy-1/ingress/0"},
		{"shopping db-01 apis", "shopping db-01 apis"},
		{"example.com/team=blue_green", "label-1/label-2=label-3_label-4"},
		{"tcp,app.kubernetes.io/name=1,tp_dst=1", "tcp,app.kubernetes.io/name=1,tp_dst=1"},
		{"nw_src=10.0.0.5,nw_dst=10.0.0.0/24", "nw_src=198.18.0.1,nw_dst=198.18.0.2/24"},
		{"10.0.0.5:80 [fd00::5]:80 fd00::5/128", "198.18.0.1:80 [2001:db8::3]:80 2001:db8::3/128"},
		{"set_field:fd00::5->ipv6_src", "set_field:2001:db8::3->ipv6_src"},
		{"set_field:0a:58:0a:00:00:05->eth_src", "set_field:02:00:00:00:00:01->eth_src"},
		{"dl_src=0A:58:0A:00:00:05", "dl_src=02:00:00:00:00:01"},
		{"ff:ff:ff:ff:ff:ff 127.0.0.1 ::1 0.0.0.0/0 ff02::1:ff00:0 255.255.255.0", "ff:ff:ff:ff:ff:ff 127.0.0.1 ::1 0.0.0.0/0 ff02::1:ff00:0 255.255.255.0"},
		{"load:0xa000005->reg12 0xa000006", "load:0xc6120001->reg12 0xa000006"},
		{"2026-11-25T01:31:22.862 db-0:5432", "2026-11-25T01:31:22.862 pod-1:5432"},
	} {
		r := newRedactor(names, []netip.Addr{netip.MustParseAddr("10.0.0.5")})
		// In the order in which the lines above meet them.
		for _, a := range []string{"10.0.0.5", "10.0.0.0", "fd00::5"} {
			r.addr(netip.MustParseAddr(a))
		}
		if got := string(r.text([]byte(tc.text))); got != tc.want {
			t.Errorf("%s: got  %s\nwant %s", tc.text, got, tc.want)
		}
	}
}
