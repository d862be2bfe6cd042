package list

import "testing"

func TestAnElementEndsAtACommaOutsideParentheses(t *testing.T) {
	for _, c := range []struct{ list, element, rest string }{
		{"", "", ""},
		{"3", "3", ""},
		{"3,4", "3", "4"},
		{",4", "", "4"},
		{"orig=(src=10.0.0.1,dst=10.0.0.2),zone=5", "orig=(src=10.0.0.1,dst=10.0.0.2)", "zone=5"},
		{"clone(ct(commit,zone=1),3),4", "clone(ct(commit,zone=1),3)", "4"},
		{"a),b", "a)", "b"},
		{"a),b(c,d),e", "a)", "b(c,d),e"},
		{"a)(b,c),d", "a)(b,c)", "d"},
		{"(a,b", "(a,b", ""},
	} {
		if element, rest := Cut(c.list); element != c.element || rest != c.rest {
			t.Errorf("%q is cut into %q and %q, want %q and %q", c.list, element, rest, c.element, c.rest)
		}
	}
}
