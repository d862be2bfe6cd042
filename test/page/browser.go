// Package page tests the page to look at the way a person uses it: in a headless
// Chromium, against an agent on a real bridge.
package page

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/sluice-cni/sluice/test/need"
)

// shotsVariable names a folder where screenshots are left, for people to look at.
const shotsVariable = "SLUICE_SHOTS"

// waitTime bounds the wait for something to show.
const waitTime = 20 * time.Second

// tab is a page in a browser.
type tab struct {
	t   testing.TB
	ctx context.Context
	// expected is a text in errors that do not fail the test; empty if there is none.
	expected atomic.Pointer[string]
}

// expect lets the page log errors with a text.
func (p *tab) expect(text string) { p.expected.Store(&text) }

// open starts a browser and shows an address. What the page logs as an error, an
// exception or a breach of its security policy among them, fails the test.
func open(t testing.TB, address string) *tab {
	t.Helper()
	// The sandbox of Chromium does not work for root, and the page is our own.
	ctx, stop := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(
		chromedp.ExecPath(need.Tool(t, "chromium-headless-shell", "apt-get install chromium-headless-shell")), chromedp.NoSandbox))
	t.Cleanup(stop)
	p := &tab{t: t, ctx: ctx}
	// The browser ends with the context of what is done first.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1360, 860)); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	messages := chromedp.Console(ctx)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for m, err := range messages {
			if err != nil {
				return // the browser has ended
			}
			if text := p.expected.Load(); text != nil && strings.Contains(m.String(), *text) {
				continue
			}
			if m.IsException() || m.Type == chromedp.ConsoleError {
				t.Errorf("the page says: %s (%s)", m, m.URL)
			}
		}
	}()
	t.Cleanup(func() { stop(); <-heard })
	p.do("open the page", chromedp.Navigate(address))
	return p
}

func (p *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, waitTime)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.shot("failed")
		p.t.Fatalf("%s: %v", what, err)
	}
}

// eval evaluates an expression.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// see waits until an expression is true.
func (p *tab) see(what, expression string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(waitTime))); err != nil {
		p.shot("failed")
		p.t.Fatalf("%s is not to be seen: %v; the page shows\n%s", what, err, eval[string](p, "document.body.innerText"))
	}
}

// reads waits until an element holds a text.
func (p *tab) reads(selector, text string) {
	p.t.Helper()
	p.see(fmt.Sprintf("%q in %s", text, selector), fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.textContent.includes(%q))", selector, text))
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// middle returns where the middle of an element is in the window, in pixels.
func (p *tab) middle(selector string) (x, y float64) {
	p.t.Helper()
	at := eval[[2]float64](p, fmt.Sprintf(`(() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`, selector))
	return at[0], at[1]
}

// write puts a text into a field in place of what is there, as from the keyboard.
func (p *tab) write(selector, text string) {
	p.t.Helper()
	p.click(selector)
	eval[any](p, fmt.Sprintf("document.querySelector(%q).select()", selector))
	p.press(text)
}

// theme has the page drawn for a person who prefers "light" or "dark".
func (p *tab) theme(name string) {
	p.t.Helper()
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, params); err != nil {
		p.t.Fatal(err)
	}
}

// shot leaves a screenshot, if somebody wants it.
func (p *tab) shot(name string) {
	dir := os.Getenv(shotsVariable)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Log(err)
	}
}

// evalAwait evaluates an expression that is a promise.
func evalAwait[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// visit goes to a view of the page, as its links do.
func (p *tab) visit(hash string) {
	p.t.Helper()
	eval[any](p, fmt.Sprintf("location.hash = %q", hash))
}

// press types on the keyboard, to what has the focus.
func (p *tab) press(keys string) {
	p.t.Helper()
	p.do("press "+keys, chromedp.KeyEvent(keys))
}

// narrow gives the page a screen of a size in pixels.
func (p *tab) narrow(width, height int64) {
	p.t.Helper()
	p.do("change the screen", chromedp.EmulateViewport(width, height))
}
