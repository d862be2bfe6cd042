package render

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

func TestExplanationSaysWhoServesAService(t *testing.T) {
	web := api.Balanced{
		Service: "shop/web", PortName: "http", Port: 80, Kind: "ClusterIP", Frontend: "10.96.0.1:80",
		Endpoint: "10.244.0.6:8080", Pod: "shop/web-1", Choices: 3,
	}
	alone, kept, none := web, web, web
	alone.Choices, alone.Pod = 1, ""
	kept.Remembered, kept.Affinity = true, "3h0m0s"
	none.Endpoint, none.Pod, none.Choices = "", "", 0
	for _, tc := range []struct {
		b    api.Balanced
		want []string
	}{
		{web, []string{"service   shop/web:http, ClusterIP 10.96.0.1:80", "endpoint  10.244.0.6:8080 of pod shop/web-1, one of 3: another connection may get another", "ingress  shop/web-1"}},
		{alone, []string{"endpoint  10.244.0.6:8080, the only one"}},
		{kept, []string{"of pod shop/web-1, which the client had before", "affinity  a client keeps its endpoint for 3h0m0s"}},
		{none, []string{"endpoint  none"}},
	} {
		var out strings.Builder
		x := &api.Explanation{
			From: api.Endpoint{Pod: "shop/client", Addr: "10.244.0.5"}, To: api.Endpoint{Addr: "10.96.0.1", Service: "shop/web:http"},
			Protocol: "tcp", Port: 80, Verdict: api.Allowed, Reason: "no policy isolates egress", Service: &tc.b, Ingress: &api.Side{Direction: "ingress"},
		}
		if err := Explanation(&out, Style{}, x); err != nil {
			t.Fatal(err)
		}
		for _, want := range append(tc.want, "shop/client (10.244.0.5) -> Service shop/web:http (10.96.0.1)  tcp/80") {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out.String())
			}
		}
	}
}
