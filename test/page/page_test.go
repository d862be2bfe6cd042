package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/sluice-cni/sluice/cmd/sluice/cli"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/bed/bedtest"
)

const database = 5432

// node is a bed with the pods of an example, of which the api may reach the
// database and the frontend may not.
type node struct {
	*bed.Bed
	frontend, api, db *bed.Pod
}

func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{Bed: bedtest.Start(t, bed.Options{Manifests: "../../examples/guarded-database"})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	for name, pod := range map[string]**bed.Pod{"frontend": &n.frontend, "backend-1": &n.api, "db": &n.db} {
		if *pod, err = n.AddPod(ctx, "shop", name, ""); err != nil {
			t.Fatal(err)
		}
	}
	stop, err := n.db.Serve("tcp", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// traffic has the api and the frontend try the database until the test ends.
func (n *node) traffic(t *testing.T) {
	to := netip.AddrPortFrom(n.db.Addr(4), database)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			if err := n.frontend.Probe(ctx, "tcp", to, 100*time.Millisecond); err == nil {
				t.Error("the frontend reaches the database")
				return
			}
		}
	})
	done.Go(func() {
		for pace := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-pace.C {
			if err := n.api.Probe(ctx, "tcp", to, 2*time.Second); err != nil && ctx.Err() == nil && !errors.Is(err, bed.ErrNoAnswer) {
				t.Errorf("the api does not reach the database: %v", err)
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
}

// page runs sluice ui and returns the address that it prints.
func (n *node) page(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &output{line: make(chan string, 1)}
	var failed bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, []string{"sluice", "ui", "--socket", n.Socket()}, cli.Streams{Out: out, Err: &failed})
	}()
	t.Cleanup(func() {
		cancel()
		if c := <-code; c != 0 {
			t.Errorf("sluice ui ended with exit code %d: %s", c, failed.String())
		}
	})
	select {
	case line := <-out.line:
		return strings.TrimSpace(line)
	case c := <-code:
		code <- c
		t.Fatal("sluice ui has ended")
	}
	return ""
}

// output hands on what is written first.
type output struct{ line chan string }

func (o *output) Write(p []byte) (int, error) {
	select {
	case o.line <- string(p):
	default:
	}
	return len(p), nil
}

func TestThePageOfANode(t *testing.T) {
	n := startNode(t)
	n.traffic(t)
	t.Run("a person finds out who denied a connection", func(t *testing.T) { testFindingOut(t, n) })
	t.Run("a row is chosen while others come in", func(t *testing.T) { testBusyList(t, n) })
	t.Run("without a mouse and on a small screen", func(t *testing.T) { testNarrow(t, n) })
	t.Run("an agent that stops and comes back", func(t *testing.T) { testRestart(t, n) })
}

func testFindingOut(t *testing.T, n *node) {
	p := open(t, n.page(t))

	// The picture moves.
	p.reads(".node", "node0")
	p.see("every table", `document.querySelectorAll(".picture .table").length >= 15`)
	p.reads("[data-table=Route] .rate", "/s")
	p.see("a rate", `parseFloat(document.querySelector("[data-table=Classifier] .rate").textContent) > 0`)
	p.see("drops", `document.querySelector("[data-table=IngressDefault] .dropping").textContent.startsWith("drops ")`)
	p.click("[data-table=IngressPolicy]")
	p.reads(".panel h2", "IngressPolicy")
	p.reads(".panel", "ingress-rule")

	// A verdict, by a filter, leads to its trace.
	p.click("[data-view=verdicts]")
	p.write("[name=pod]", "shop/front")
	p.see("a denied connection", `[...document.querySelectorAll(".verdicts [role=row]")].some((r) => r.textContent.includes("denied") && r.textContent.includes("shop/db-guard"))`)
	p.see("nothing else", `[...document.querySelectorAll(".verdicts [role=row]")].every((r) => r.textContent.includes("shop/frontend"))`)
	p.write("[name=pod]", "shop/nobody")
	p.reads(".empty", "No verdict")
	p.write("[name=pod]", "shop/frontend")
	p.reads(".verdicts [role=row]", "shop/frontend")
	p.click(".verdicts [role=row]")
	p.reads(".detail", "is isolated by NetworkPolicy shop/db-guard")
	p.shot("verdicts-light")
	p.click(".detail a.go")

	// The trace is drawn through the tables, up to the one that denies.
	p.reads(".outcome", "no rule allows this")
	p.see("the table that denies", `document.querySelector(".table.denies")?.dataset.table === "IngressDefault"`)
	p.see("the way", `document.querySelectorAll(".traced path").length === document.querySelectorAll(".table.visited").length - 1`)
	p.reads(".steps .denied", "the pod is isolated")
	p.shot("trace-denied-light")

	// The other one, written into the form, is allowed by a rule.
	p.write("[name=from]", "shop/backend-1")
	p.click("form.trace button.main")
	p.reads(".outcome", "allowed")
	p.see("the table that sends", `document.querySelector(".table.last.allowed")?.dataset.table === "Output"`)
	p.reads(".steps .allowed", "of NetworkPolicy shop/db-guard")
	p.shot("trace-allowed-light")
	p.theme("dark")
	p.shot("trace-allowed-dark")

	// From there to the policy, its pod, and what is known of that.
	p.click(".result dl a[href$='db-guard']")
	p.reads(".detail h2", "shop/db-guard")
	p.reads(".detail .rules", "TCP 5432")
	p.see("what the rule has allowed", `parseInt(document.querySelector(".detail .tallied")?.textContent) > 0`)
	p.see("what was denied", `/denied \d+ attempts? at ingress/.test(document.querySelector(".detail").textContent)`)
	p.shot("policies-dark")
	p.click(".detail .names a")
	p.reads(".detail h2", "shop/db")
	p.reads(".detail", n.db.Addr(4).String())
	p.reads(".detail .badge", "isolated")
	p.shot("pods-dark")
}

// A person needs some tenths of a second from aiming at a row to letting go of the
// button, and in that time other rows come in.
func testBusyList(t *testing.T, n *node) {
	p := open(t, n.page(t)+"#/verdicts?verdict=denied")
	p.see("some rows", `document.querySelectorAll(".verdicts [role=row]").length > 3`)
	x, y := p.middle(".verdicts [role=row]:nth-child(3)")
	under := fmt.Sprintf("document.elementFromPoint(%g, %g).closest('[role=row]')?.textContent", x, y)
	p.do("point at a row", chromedp.MouseEvent(chromedp.MouseMoved, x, y))
	aimed := eval[string](p, under)
	p.see("newer rows, told of", `parseInt(document.querySelector(".verdicts .newer:not([hidden])")?.textContent) >= 3`)
	if now := eval[string](p, under); now != aimed {
		t.Fatalf("under the pointer was %q and is %q", aimed, now)
	}
	p.shot("verdicts-held")

	p.do("press", chromedp.MouseEvent(chromedp.MousePressed, x, y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	told := eval[string](p, `document.querySelector(".totals").textContent`)
	p.see("that more have come in", fmt.Sprintf(`document.querySelector(".totals").textContent !== %q`, told))
	p.do("let go", chromedp.MouseEvent(chromedp.MouseReleased, x, y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	p.reads(".detail", "is isolated by NetworkPolicy shop/db-guard")
	p.see("the row marked", fmt.Sprintf(`document.querySelector(".verdicts [aria-selected=true]").textContent === %q`, aimed))

	x, y = p.middle("nav")
	p.do("point elsewhere", chromedp.MouseEvent(chromedp.MouseMoved, x, y))
	p.see("the newest rows", `document.querySelector(".verdicts .body").scrollTop === 0 && document.querySelector(".verdicts .newer").hidden`)
}

func testNarrow(t *testing.T, n *node) {
	p := open(t, n.page(t))
	p.narrow(420, 900)
	p.see("tables one below the other", `new Set([...document.querySelectorAll(".table")].map((t) => t.getBoundingClientRect().left)).size === 1`)
	p.see("nothing beside the screen", `document.documentElement.scrollWidth <= innerWidth`)
	p.press("t")
	p.see("the field for the source", `document.activeElement.name === "from"`)
	p.press("shop/frontend\tshop/db\t\t5432\r")
	p.reads(".outcome", "no rule allows this")
	p.shot("trace-narrow-light")
	p.visit("#/pods")
	p.reads(".tally", "3 pods")
	p.press("/")
	p.press("db")
	p.reads(".tally", "1 of 3 pods")
	eval[any](p, `document.querySelector(".list .body").focus()`)
	p.press(kb.ArrowDown)
	p.press("\r")
	p.reads(".detail h2", "shop/db")
	p.shot("pods-narrow-light")
	p.press(kb.Escape)
	p.see("the detail closed", `document.querySelector(".detail").hidden`)
	for _, view := range []string{"pipeline", "verdicts", "pods", "policies"} {
		p.visit("#/" + view)
		p.see("the view "+view, `document.querySelector("[aria-current]").dataset.view === "`+view+`"`)
		if names := eval[string](p, nameless); names != "" {
			t.Errorf("%s: elements that can be used have no name: %s", view, names)
		}
	}
}

// A page that is open does not keep the agent from stopping, says so, and goes on
// with the next one.
func testRestart(t *testing.T, n *node) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := open(t, n.page(t)+"#/verdicts")
	p.reads(".tally", "Live")
	p.expect("status of 50") // what the browser says of an agent that stops or is away
	begin := time.Now()
	if err := n.StopAgent(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("the agent took %v to stop", took)
	}
	p.reads(".node.bad", "no agent listens")
	if err := n.StartAgent(ctx); err != nil {
		t.Fatal(err)
	}
	p.reads(".node.good", "node0")
	p.reads(".tally", "Live")
	p.reads(".verdicts [role=row]", "shop/frontend")
}

// nameless lists what has neither text nor a label that a screen reader could say.
const nameless = `[...document.querySelectorAll("a, button, input, select, [tabindex='0'], [role=button]")].filter((e) =>
	!e.textContent.trim() && !e.getAttribute("aria-label") && !e.labels?.length).map((e) => e.outerHTML).join(" ")`
