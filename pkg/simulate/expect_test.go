package simulate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

func TestParseExpectationsNamesLineAndField(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"a/b a/c TCP 1", "line 2: has 4 fields"},
		{"a a/c TCP 1 allow", `line 2: from: "a" is neither NAMESPACE/POD nor an address`},
		{"a/* a/c TCP 1 allow", `line 2: from: "a/*" is neither`},
		{"a/b 10.0.0.300 TCP 1 allow", `line 2: to: "10.0.0.300"`},
		{"a/b a/c GRE 1 allow", "line 2: protocol and port: "},
		{"a/b a/c TCP 0 allow", `line 2: protocol and port: "tcp/0": "0" is not a port`},
		{"a/b a/c TCP 65536 allow", `line 2: protocol and port: `},
		{"a/b a/c TCP - allow", `line 2: protocol and port: `},
		{"a/b a/c TCP 1 maybe", `line 2: verdict: "maybe"`},
	} {
		_, err := ParseExpectations(strings.NewReader("# from to\n" + tc.line + "\n"))
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tc.want)) {
			t.Errorf("%q: got error %v, want %s", tc.line, err, tc.want)
		}
	}
}

func TestExpectationsAreReadAsTheyAreWritten(t *testing.T) {
	cell := func(s Service, family int, verdict string) Cell {
		return Cell{Connection: Connection{"a/b", "2001:db8::1", s}, Family: family, Verdict: verdict}
	}
	m := &Matrix{Cells: []Cell{
		cell(Service{"tcp", 80}, 4, api.Allowed), cell(Service{"tcp", 80}, 6, api.Allowed),
		cell(Service{"udp", 53}, 4, api.Denied), cell(Service{"icmp", 0}, 6, api.Allowed),
		cell(Service{"sctp", 1}, 4, api.Allowed), cell(Service{"sctp", 1}, 6, api.Denied),
	}}
	var out strings.Builder
	if err := WriteExpectations(&out, m); err != nil {
		t.Fatal(err)
	}
	list, err := ParseExpectations(strings.NewReader(out.String()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	got := ""
	for _, x := range list {
		got += fmt.Sprintf("%s %s; ", x.Connection, x.Wanted())
	}
	want := "a/b -> 2001:db8::1 tcp/80 allowed; a/b -> 2001:db8::1 udp/53 denied; a/b -> 2001:db8::1 icmp allowed; "
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnExpectationThatCannotBeTriedDoesNotHold(t *testing.T) {
	c := load(t, "../../examples/guarded-database", nil)
	list, err := ParseExpectations(strings.NewReader(`
shop/frontend shop/db TCP 5432 deny # holds
shop/frontend shop/db TCP 5432 allow
shop/nobody shop/db TCP 5432 deny
203.0.113.7 203.0.113.8 TCP 80 allow
2001:db8::1 shop/db TCP 5432 deny
`))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := c.Check(t.Context(), list, OnlyIPv4, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		holds   bool
		problem string
	}{
		{true, ""},
		{false, ""},
		{false, "there is no pod shop/nobody"},
		{false, "neither end is a pod"},
		{false, "the two have no address family in common that is asked for"},
	} {
		if o := outcomes[i]; o.Holds != want.holds || o.Problem != want.problem || (o.Problem == "") != (len(o.Seen) == 1) {
			t.Errorf("line %d: %+v, want %+v", i, o, want)
		}
	}
	if outcomes[0].Because != "holds" {
		t.Errorf("the reason reads %q", outcomes[0].Because)
	}
}
