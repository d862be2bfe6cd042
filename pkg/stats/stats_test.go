package stats_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// check reads the counters and compares with what they should be, one a line:
// "rule db/ingress/0 3", "policy db allowed 3 denied 2", "port p-b denied 2 pending
// 0", "ingress-rule 3".
func (b *bed) check(want string) {
	b.Helper()
	if err := b.Collect(b.context()); err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(want) {
		line = strings.TrimSpace(line)
		word := strings.Fields(line)
		if len(word) == 0 {
			continue
		}
		got := "nothing"
		switch word[0] {
		case "rule":
			if n, ok := b.Rule(flows.RuleKey("NetworkPolicy/shop/" + word[1])); ok {
				got = fmt.Sprintf("rule %s %d", word[1], n.Attempts)
			}
		case "policy":
			if n, ok := b.Policy(cluster.Key{Namespace: "shop", Name: word[1]}); ok {
				got = fmt.Sprintf("policy %s allowed %d denied %d", word[1], n.Allowed[flows.Ingress], n.Denied[flows.Ingress])
			}
		case "port":
			if n, ok := b.Collector.Port(word[1]); ok {
				got = fmt.Sprintf("port %s denied %d pending %d", word[1], n.Denied[flows.Ingress], n.Pending[flows.Ingress])
			}
		default:
			for _, v := range b.Verdicts() {
				if v.Kind.String() == word[0] {
					got = fmt.Sprintf("%s %d", v.Kind, v.Attempts)
				}
			}
		}
		if got != line {
			b.Errorf("counted %s, want %s", got, line)
		}
	}
}

func TestRulesAndDefaultDropsAreCounted(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"), guard("also", "b"))
	b.start()
	b.dial("a", "b", 3)
	b.dial("c", "b", 2)
	b.dial("b", "c", 4) // not isolated: no rule, no drop
	b.check(`
		rule db/ingress/0 3
		policy db allowed 3 denied 2
		policy also allowed 0 denied 2
		port p-b denied 2 pending 0
		ingress-rule 3
		ingress-isolation 2
		egress-rule 0
		spoof 0
		invalid 0`)
}

// A SYN that is sent again before it is answered is one more attempt: see Count.
func TestAnAttemptIsEachPacketBeforeTheAnswer(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	b.dial("a", "b", 1)
	b.ports-- // the same connection
	b.dial("a", "b", 1)
	b.check("rule db/ingress/0 2")
}

func TestARestartOfTheAgentNeitherLosesNorDoubles(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	b.dial("a", "b", 2)
	b.check("rule db/ingress/0 2")
	since, _ := b.Rule("NetworkPolicy/shop/db/ingress/0")
	b.stop()
	b.dial("a", "b", 3) // while no agent runs
	b.start()
	b.dial("c", "b", 1)
	b.check("rule db/ingress/0 5\n policy db allowed 5 denied 1")
	b.stop()
	saved, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(b.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: mode %v, %v, want 0600", b.file, info.Mode(), err)
	}
	b.start()
	b.dial("a", "b", 4)
	b.check("rule db/ingress/0 9")
	b.stop()
	// As if that agent had been killed before it could save anything.
	if err := os.WriteFile(b.file, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.check("rule db/ingress/0 9\n policy db allowed 9 denied 1")
	if n, _ := b.Rule("NetworkPolicy/shop/db/ingress/0"); !n.Since.Equal(since.Since) {
		t.Errorf("counted since %v, want %v", n.Since, since.Since)
	}
}

// Where nothing was kept, the flows that stand have counted since they were added.
func TestWithoutAFileCountingBeginsWithTheFlows(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	b.dial("a", "b", 2)
	b.stop()
	for _, content := range []string{"", "{", `{"version":99}`} {
		if err := os.WriteFile(b.file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.check("rule db/ingress/0 2")
		b.stop()
	}
}

func (b *bed) restartVswitchd() {
	b.Helper()
	if err := b.sandbox.StopVswitchd(b.context()); err != nil {
		b.Fatal(err)
	}
	if err := b.sandbox.StartVswitchd(b.context()); err != nil {
		b.Fatal(err)
	}
	if err := b.bridge().Wait(b.context()); err != nil {
		b.Fatal(err)
	}
	ports, err := b.db.Ports(b.context())
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range ports {
		local := b.pods[p.PodName]
		local.OFPort = p.OFPort
		b.pods[p.PodName] = local
	}
}

// After the restart the flows count more than before it, so that numbers alone do
// not show that they are others.
func TestARestartOfVswitchdBeginsAnewAndTotalsGoOn(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	b.dial("a", "b", 5)
	b.dial("c", "b", 2)
	b.check("rule db/ingress/0 5\n port p-b denied 2 pending 0")
	b.restartVswitchd()
	for _, p := range b.pods {
		b.TellPort(p)
	}
	if err := b.Resync(b.context()); err != nil {
		t.Fatal(err)
	}
	b.dial("a", "b", 7)
	b.dial("c", "b", 3)
	b.check("rule db/ingress/0 12\n port p-b denied 5 pending 0\n policy db allowed 12 denied 5")
	b.stop()
	b.restartVswitchd() // while no agent runs
	b.start()
	b.dial("a", "b", 13)
	b.dial("c", "b", 6)
	b.check("rule db/ingress/0 25\n port p-b denied 11 pending 0\n policy db allowed 25 denied 11")
}

func TestARuleThatIsReplacedGoesOn(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	b.dial("a", "b", 2)
	b.tell(guard("db", "b", "a", "c"))
	b.dial("a", "b", 1)
	b.dial("c", "b", 4)
	b.check("rule db/ingress/0 3\n rule db/ingress/1 4\n policy db allowed 7 denied 0")
	b.tell(guard("db", "b", "c")) // the second rule is gone, the first is another
	b.dial("c", "b", 1)
	b.dial("a", "b", 1)
	b.check("rule db/ingress/0 4\n rule db/ingress/1 4\n policy db allowed 8 denied 1")
}

func TestARuleThatMovesToAnotherPageGoesOn(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	page := func() (page uint32) {
		if err := b.Look(b.context(), func(v enforce.View) {
			for f := range v.Pipeline().Flows() {
				if flows.Cookie(f.Cookie) == flows.RuleCookie(flows.Ingress, "NetworkPolicy/shop/db/ingress/0") {
					for _, m := range f.Matches {
						text, _ := m.MarshalText()
						fmt.Sscanf(string(text), "reg9=0x%x", &page)
					}
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		return page
	}
	b.dial("a", "b", 5) // never read before the flow goes
	was := page()
	b.tell(deleted(guard("db", "b", "a")), guard("fill", "b", strings.Fields(strings.Repeat("nobody ", 128))...))
	b.dial("a", "b", 2)
	b.check("policy fill allowed 0 denied 2")
	b.tell(guard("db", "b", "a"))
	if now := page(); now == was || now == 0 {
		t.Fatalf("the rule is on page %d, and was on %d before: this test has to move it", now, was)
	}
	b.dial("a", "b", 6)
	b.check("rule db/ingress/0 11\n policy db allowed 11 denied 0\n policy fill allowed 0 denied 2\n ingress-rule 11")
}

func TestAPolicyThatIsRenamedBeginsAtZeroAndTheNodesTotalsGoOn(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	b.dial("a", "b", 3)
	b.dial("c", "b", 1)
	b.check("policy db allowed 3 denied 1")
	b.tell(deleted(guard("db", "b", "a")), guard("database", "b", "a"))
	b.dial("a", "b", 2)
	b.dial("c", "b", 2)
	b.check(`
		rule database/ingress/0 2
		policy database allowed 2 denied 2
		rule db/ingress/0 3
		ingress-rule 5
		ingress-isolation 3`)
	if n, _ := b.Rule("NetworkPolicy/shop/db/ingress/0"); n.Gone.IsZero() {
		t.Error("the totals of the rule that is gone do not say so")
	}
}

// The drops of a port that is pending and of one that is isolated are flows of the
// same match, and have one counter.
func TestWhatAPendingPortDropsIsNotItsIsolations(t *testing.T) {
	b := newBed(t)
	db := b.events[2] // the pod shop/b
	if db.Pod.Name != "b" {
		t.Fatalf("the third event is of pod %s", db.Pod)
	}
	b.events = append(b.events[:2:2], b.events[3], guard("db", "b", "a"))
	b.start()
	b.dial("a", "b", 3)
	b.tell(db)
	b.dial("c", "b", 2)
	b.check("port p-b denied 2 pending 3\n ingress-pending 3\n ingress-isolation 2\n policy db allowed 0 denied 2")
	b.tell(deleted(db))
	b.dial("c", "b", 4)
	b.check("port p-b denied 2 pending 7")
}

// Whatever happens in whatever order, and whoever reads meanwhile, each packet is
// counted once.
func TestCountsAddUpOverAnyHistory(t *testing.T) {
	b := newBed(t)
	b.events = append(b.events, guard("db", "b", "a"))
	b.start()
	random := rand.New(rand.NewPCG(1, 2))
	allowed, denied, isolated := 0, 0, true
	from := "a"
	for range 60 {
		switch random.IntN(8) {
		case 0:
			b.tell(deleted(guard("db", "b")))
			isolated = false
		case 1, 2:
			from = []string{"a", "c"}[random.IntN(2)]
			b.tell(guard("db", "b", from))
			isolated = true
		case 3:
			b.stop()
			b.start()
		case 4, 5:
			var reader sync.WaitGroup
			reader.Go(func() { _ = b.Collect(b.context()) })
			b.tell(guard("other", "c", []string{"a", "b"}[random.IntN(2)]))
			reader.Wait()
		default:
			who := []string{"a", "c"}[random.IntN(2)]
			n := 1 + random.IntN(3)
			b.dial(who, "b", n)
			switch {
			case !isolated:
			case who == from:
				allowed += n
			default:
				denied += n
			}
		}
	}
	b.check(fmt.Sprintf("ingress-rule %d\n ingress-isolation %d\n rule db/ingress/0 %d\n port p-b denied %d pending 0", allowed, denied, allowed, denied))
}
