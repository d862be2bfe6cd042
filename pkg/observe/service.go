package observe

import (
	"fmt"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// serviceMeaning says what a flow for Services does.
func serviceMeaning(v enforce.View, c flows.Cookie, s trace.Step) string {
	name := "a Service"
	if k, _, ok := v.Pipeline().BalancerByCookie(c); ok {
		name = "Service port " + string(k)
	}
	switch c.Kind() {
	case flows.KindBalancer:
		if e := destinationOf(s); e.IsValid() {
			return fmt.Sprintf("is for %s, and goes to its endpoint %s", name, e)
		}
		return fmt.Sprintf("is for %s", name)
	case flows.KindAffinity:
		return fmt.Sprintf("the client was at %s before", name)
	case flows.KindRefused:
		return fmt.Sprintf("is for %s, which has no endpoint: refused", name)
	case flows.KindUnserved:
		return fmt.Sprintf("is for %s, which has no endpoint it may go to: dropped", name)
	case flows.KindUnowned:
		return "is for a Service address and port that no Service has: refused"
	case flows.KindFrontend:
		return "gets its Service's address back, to be translated with its connection"
	}
	return "commits the connection with its rules, translated to its endpoint"
}
