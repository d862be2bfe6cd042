package openflow

import "testing"

// What ParseFlow accepts has one text, and the text is accepted and has itself.
func FuzzParseFlow(f *testing.F) {
	for _, c := range flowCorpus {
		f.Add(c.in)
		f.Add(c.want)
	}
	f.Add("cookie=0x5, duration=168.888s, table=0, n_packets=3, n_bytes=250, idle_age=168, priority=100,ip,in_port=1 actions=ct(commit,exec(load:1->NXM_NX_CT_MARK[])),note:")
	f.Add("actions=conjunction(1,2/3),conjunction(1,1/3),clone(clone(ct(nat(src=1.2.3.4,random)))),resubmit(,)")
	f.Add("actions=resubmit(0 0),unknown(0 0, 1)")
	f.Add("A=[ actions=]")
	f.Fuzz(func(t *testing.T, s string) {
		flow, err := ParseFlow(s)
		if err != nil {
			return
		}
		text := Text(flow)
		again, err := ParseFlow(text)
		if err != nil {
			t.Fatalf("the text of %q does not parse: %v", s, err)
		}
		if got := Text(again); got != text {
			t.Fatalf("text of text of %q\n got %q\nwant %q", s, got, text)
		}
		if Key(again) != Key(flow) {
			t.Fatalf("key of %q changes from %q to %q", s, Key(flow), Key(again))
		}
	})
}

func FuzzParseGroup(f *testing.F) {
	for _, c := range groupCorpus {
		f.Add(c.in)
		f.Add(c.want)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGroup(s)
		if err != nil {
			return
		}
		text := g.String()
		again, err := ParseGroup(text)
		if err != nil {
			t.Fatalf("the text of %q does not parse: %v", s, err)
		}
		if got := again.String(); got != text {
			t.Fatalf("text of text of %q\n got %q\nwant %q", s, got, text)
		}
	})
}
