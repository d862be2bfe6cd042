package check

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// followedTime is how long a watch lasts at most before it is asked for anew:
// client-go asks for 5 to 10 minutes.
const followedTime = 12 * time.Minute

// api asks the API server on a request of its own, and looks how the watches are.
func (c *Checker) api(ctx context.Context) result {
	source, isAPI := c.cfg.Source.(*cluster.APISource)
	if !isAPI {
		if _, err := os.Stat(c.cfg.Agent.Manifests); err != nil {
			return fail("what was read last stays in force; bring the folder back", "manifests: %v", err)
		}
		return ok("no API server: pods and policies are those of %s", c.cfg.Agent.Manifests)
	}
	const hint = "kubeconfig or service account, network and load of the API server; what was known last stays in force"
	version, err := source.Version(ctx)
	if err != nil {
		return fail(hint, "%v", err)
	}
	var ages []string
	for _, f := range source.Followed() {
		if f.Err != nil {
			return fail(hint, "API server %s answers, but not for %v", version, f.Err)
		}
		age := time.Since(f.Answered).Round(time.Second)
		if age > followedTime {
			return warn("restart the agent", "the watch of %s was last answered %s ago", f.Resource, age)
		}
		ages = append(ages, fmt.Sprintf("%s %s", f.Resource, age))
	}
	return ok("API server %s answers; watches since: %s", version, strings.Join(ages, ", "))
}

// problems lists input that can't be used, and so allows nothing.
func (c *Checker) problems(ctx context.Context) result {
	var found []string
	var n int
	err := c.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		n = len(v.Compiler().Policies())
		for _, p := range v.Problems() {
			found = append(found, p.String())
		}
	})
	if err != nil {
		return skip("%v", err)
	}
	if len(found) > 0 {
		r := fault("mend the policies: a part that can't be used allows nothing", found)
		r.status = "warn"
		return r
	}
	return ok("all of %d policies can be used", n)
}
