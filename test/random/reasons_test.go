package random

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/oracle"
)

// A right verdict for a wrong reason is a wrong verdict of the next packet, and
// a wrong answer of `sluice trace`.

var conjRE = regexp.MustCompile(`conj_id=(\d+)`)

// reasons checks what the product says of why it came to a verdict: the rule
// that the trace met, the drop that ended it, and the pipeline's own judgement.
func (b *bed) reasons(conn oracle.Conn, allowed bool, tr *trace.Trace) error {
	v := b.now.Judge(conn)
	sides := [2]oracle.Side{flows.Egress: v.Egress, flows.Ingress: v.Ingress}
	asked := [2]bool{}
	for d, s := range sides {
		asked[d] = s.Node == b.now.Node && s.Isolated && s.Exempt == ""
	}
	for _, step := range tr.Steps {
		d, ok := map[flows.Kind]flows.Direction{flows.KindEgressRule: flows.Egress, flows.KindIngressRule: flows.Ingress}[flows.Cookie(step.Cookie).Kind()]
		m := conjRE.FindStringSubmatch(step.Match)
		if !ok || m == nil {
			continue
		}
		id, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			return err
		}
		key, ok := b.pipeline.RuleByID(d, uint32(id))
		if !ok {
			return fmt.Errorf("conj_id %d is no rule of %s", id, d)
		}
		if ref, err := b.ref(key); err != nil {
			return err
		} else if !slices.Contains(sides[d].AllowedBy, ref) {
			return fmt.Errorf("the trace meets %s (%s), the oracle has %v", key, d, sides[d].AllowedBy)
		}
	}
	if denied := decider(tr); !allowed && denied != nil {
		kind, want := flows.Cookie(denied.Cookie).Kind(), flows.KindIngressIsolation
		if asked[flows.Egress] && !v.Egress.Allowed() {
			want = flows.KindEgressIsolation
		}
		if kind != want {
			return fmt.Errorf("the drop is one of %s, not of %s", kind, want)
		}
	}
	return b.judgement(conn, allowed, asked, sides)
}

// decider is the last step that decided something: what it denied is dropped in
// TableDenied.
func decider(tr *trace.Trace) *trace.Step {
	for i := len(tr.Steps) - 1; i >= 0; i-- {
		if flows.Table(tr.Steps[i].Table) != flows.TableDenied {
			return &tr.Steps[i]
		}
	}
	return nil
}

// judgement checks what the pipeline says without a switch: it decides which
// live connections are cut.
func (b *bed) judgement(conn oracle.Conn, allowed bool, asked [2]bool, sides [2]oracle.Side) error {
	c := flows.Connection{Src: conn.Src.Addr, Dst: conn.Dst.Addr, DstPort: conn.Port}
	c.Protocol = protocolNumbers[string(conn.Protocol)][one(conn.Src.Addr.Is6())]
	got := b.pipeline.Judge(c)
	if got.Allowed != allowed {
		return fmt.Errorf("the switch and Pipeline.Judge differ: %v and %v", allowed, got.Allowed)
	}
	for _, d := range flows.Directions {
		// A drop for egress ends the matter, so ingress is not to be looked at.
		if !asked[d] || d == flows.Ingress && asked[flows.Egress] && !sides[flows.Egress].Allowed() {
			continue
		}
		var rules []oracle.RuleRef
		for _, key := range got.Rules[d] {
			ref, err := b.ref(key)
			if err != nil {
				return err
			}
			if !slices.Contains(rules, ref) {
				rules = append(rules, ref)
			}
		}
		for _, ref := range sides[d].AllowedBy {
			if !slices.Contains(rules, ref) {
				return fmt.Errorf("Pipeline.Judge does not know that %v allows %s; it has %v", ref, d, rules)
			}
		}
		if len(rules) != len(sides[d].AllowedBy) {
			return fmt.Errorf("Pipeline.Judge has %v allow %s, the oracle %v", rules, d, sides[d].AllowedBy)
		}
	}
	return nil
}

// ref is the rule of a policy that a rule of the pipeline stands for.
func (b *bed) ref(key flows.RuleKey) (oracle.RuleRef, error) {
	info, ok := b.compiler.RuleOf(key)
	if !ok {
		return oracle.RuleRef{}, fmt.Errorf("the compiler does not know rule %s", key)
	}
	return oracle.RuleRef{Policy: oracle.Key{Namespace: info.Policy.Namespace, Name: info.Policy.Name}, Index: info.Index}, nil
}
