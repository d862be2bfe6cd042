package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/ui"
)

const (
	largePods, largePolicies, rulesEach = 1000, 1000, 10
	// hostile is a name that is markup. No API server takes it; the page must not
	// depend on that.
	hostile = `<img src=x onerror="document.title='taken'">`
)

// told serves the page with answers that are made up: what no cluster of a test is
// large or hostile enough for.
func told(t *testing.T, answers map[string]any, events []api.Event) string {
	mux := http.NewServeMux()
	ui.Register(mux)
	for what, answer := range answers {
		body, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		mux.HandleFunc("GET /v1/"+what, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) })
	}
	mux.HandleFunc("GET /v1/watch", func(w http.ResponseWriter, r *http.Request) {
		out := json.NewEncoder(w)
		for _, e := range events {
			_ = out.Encode(map[string]any{"event": e})
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /v1/trace", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Explanation{
			From: api.Endpoint{Pod: hostile}, To: api.Endpoint{Addr: hostile}, Protocol: hostile, Verdict: hostile, Reason: hostile, Megaflow: hostile,
			Egress: &api.Side{Direction: hostile, Isolated: true, IsolatedBy: []string{hostile}, AllowedBy: &api.Rule{Policy: hostile, Text: hostile}},
			Steps:  []api.Step{{Table: "Classifier", Object: hostile, Meaning: hostile, Match: hostile, Actions: []string{hostile}}, {Table: hostile}},
		})
	})
	server := httptest.NewServer(ui.Guard(mux))
	t.Cleanup(server.Close)
	return server.URL + "/ui/"
}

func policyName(i int) string { return fmt.Sprintf("team-%02d/policy-%d", i%50, i) }

// large is a node with 1,000 pods and 10,000 rules, one of them hostile.
func large() map[string]any {
	ports := make([]api.Port, largePods)
	for i := range ports {
		ports[i] = api.Port{
			Name: fmt.Sprintf("sl%013x", i), OFPort: uint32(i + 2), Pod: fmt.Sprintf("team-%02d/pod-%d", i%50, i), MAC: "0a:58:0a:f4:00:02",
			Addrs: []string{fmt.Sprintf("10.244.%d.%d", i/250, 2+i%250), fmt.Sprintf("fd00:10:244::%x", i+2)}, State: "isolated",
			IngressBy: []string{policyName(i)},
		}
	}
	ports[1].Pod, ports[1].IngressBy = "team-01/"+hostile, []string{"team-01/" + hostile}
	policies := make([]api.Policy, largePolicies)
	for i := range policies {
		p := api.Policy{Name: policyName(i), Subjects: "pods app=a", Isolates: []string{"ingress"}, Active: true, Pods: []string{ports[i].Pod}}
		for r := range rulesEach {
			p.Rules = append(p.Rules, api.Rule{
				Key: fmt.Sprintf("NetworkPolicy/%s/ingress/%d", p.Name, r), Policy: p.Name, Direction: "ingress", Index: r,
				Text: fmt.Sprintf("from all pods in namespaces team=%d on TCP %d", r, 1000+i*rulesEach+r), ID: uint32(i*rulesEach + r),
			})
		}
		policies[i] = p
	}
	policies[1].Name, policies[1].Subjects, policies[1].Problems = "team-01/"+hostile, hostile, []string{hostile}
	policies[1].Rules[0].Text = hostile
	return map[string]any{
		"ports": ports, "policies": policies, "status": api.Status{Node: "node-" + hostile, Bridge: "br-sluice", Ready: true},
		"pipeline": api.Pipeline{Time: time.Now(), Tables: []api.Table{
			{Name: "Classifier", Stage: "arrival", Job: hostile, Leads: []string{"Output"}, Objects: []api.ObjectCount{{Kind: hostile, Drops: true}}},
			{Name: "Output", Stage: "departure", Job: "Sends the packet out.", Leads: []string{}},
		}},
		"watch/status": api.WatchStatus{Denied: 5000, Sampled: 5000},
	}
}

// typed measures from a key in the filter to the list that it leaves, in
// milliseconds.
const typed = `(async () => {
	const field = document.querySelector("[data-filter]"), tally = document.querySelector(".tally");
	const before = tally.textContent, start = performance.now();
	field.value = %q;
	field.dispatchEvent(new Event("input", { bubbles: true }));
	while (tally.textContent === before) await new Promise(requestAnimationFrame);
	return performance.now() - start;
})()`

func TestALargeNodeIsShownAndFilteredAtOnce(t *testing.T) {
	events := make([]api.Event, 5000)
	for i := range events {
		events[i] = api.Event{
			Seq: uint64(i + 1), Time: time.Now(), Verdict: api.Denied, Direction: "ingress", Protocol: "tcp", Port: uint16(1 + i),
			From: api.Endpoint{Pod: fmt.Sprintf("team-00/pod-%d", i%1000), Addr: "10.244.0.2"}, To: api.Endpoint{Pod: "team-01/pod-1", Addr: "10.244.0.3"},
			Policies: []string{policyName(i % 1000)}, Reason: "isolated",
		}
	}
	start := time.Now()
	p := open(t, told(t, large(), events)+"#/policies")
	p.see("all policies", `document.querySelector(".tally").textContent === "1,000 policies"`)
	loaded := time.Since(start)
	shown := eval[float64](p, `performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/v1/policies"))[0].responseEnd`)
	p.shot("policies-large")
	if n := eval[int](p, `document.querySelectorAll(".policies [role=row]").length`); n > 60 {
		t.Errorf("%d rows are in the document", n)
	}
	filter := evalAwait[float64](p, fmt.Sprintf(typed, "on TCP 5125"))
	p.reads(".tally", "1 of 1,000 policies")
	p.click(".policies [role=row]")
	p.reads(".detail h2", policyName(412))
	p.reads(".detail .rules", "on TCP 5125")

	p.visit("#/pods")
	p.see("all pods", `document.querySelector(".tally").textContent === "1,000 pods"`)
	filterPods := evalAwait[float64](p, fmt.Sprintf(typed, "team-07/"))
	p.reads(".tally", "20 of 1,000 pods")

	p.visit("#/verdicts")
	p.see("all verdicts", `document.querySelector(".verdicts .body").getAttribute("aria-rowcount") === "5000"`)
	t.Logf("10,000 rules and 1,000 pods: shown %v after the browser was started, the list %.0f ms after the page was asked for; filtered in %.0f ms (policies), %.0f ms (pods)",
		loaded.Round(time.Millisecond), shown, filter, filterPods)
	// A person takes a tenth of a second for at once; machines of tests are slow.
	if filter > 1000 || filterPods > 1000 {
		t.Errorf("a filter took %.0f ms and %.0f ms", filter, filterPods)
	}
}

func TestNamesAreTextAndNeverMarkup(t *testing.T) {
	e := api.Event{
		Seq: 1, Time: time.Now(), Verdict: api.Denied, Protocol: hostile, Direction: hostile, Policies: []string{"team-01/" + hostile}, Reason: hostile,
		From: api.Endpoint{Pod: "team-01/" + hostile, Addr: hostile}, To: api.Endpoint{Addr: hostile}, Node: hostile,
	}
	p := open(t, told(t, large(), []api.Event{e}))
	p.reads(".node", hostile)
	p.click("[data-table=Classifier]")
	p.reads(".panel", hostile)
	for _, view := range []string{"#/pods", "#/policies", "#/verdicts"} {
		p.visit(view)
		p.reads("[role=row]", hostile)
		p.see("the row", `[...document.querySelectorAll("[role=row]")].find((r) => r.textContent.includes("<img"))?.click() ?? true`)
		p.reads(".detail", hostile)
	}
	p.visit("#/pipeline?from=" + strings.ReplaceAll(hostile, " ", "%20") + "&to=x&protocol=icmp")
	p.reads(".steps", hostile)
	if n := eval[int](p, `document.querySelectorAll("img:not(.brand img), script:not([src])").length`); n != 0 {
		t.Errorf("%d elements were made of names", n)
	}
	if title := eval[string](p, "document.title"); strings.Contains(title, "taken") {
		t.Error("a name has run as a script")
	}
}
