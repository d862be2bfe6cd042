package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// read lists what Parse finds as one line each, in the order objects, ignored,
// errors.
func read(file, data string) (lines []string) {
	c := Parse(file, []byte(data))
	for _, o := range c.Objects {
		lines = append(lines, fmt.Sprintf("object %s at %s", o.ID, o.Place))
	}
	for _, i := range c.Ignored {
		lines = append(lines, fmt.Sprintf("ignored %s at %s", i.Kind.Kind, i.Place))
	}
	for _, e := range c.Errors {
		lines = append(lines, "error "+e.Error())
	}
	return lines
}

func TestParse(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
	for _, test := range []struct {
		name, file, data string
		want             []string // a line matches if it begins so
	}{
		{"documents are counted, those of comments too", "f.yaml", "# nothing\n---\n" + pod + "---\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n",
			[]string{"object Pod default/a at f.yaml: document 2", "object Namespace ns at f.yaml: document 3"}},
		{"lists are read item by item", "f.yaml", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: A}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b, namespace: ns}}\n",
			[]string{"object Pod ns/b at f.yaml: document 1, item 2", "error f.yaml: document 1, item 1: Pod default/A: metadata.name: Invalid value"}},
		{"items of a typed list take its kind", "f.yaml", "apiVersion: v1\nkind: PodList\nitems:\n- {metadata: {name: b}}\n",
			[]string{"object Pod default/b at f.yaml: document 1, item 1"}},
		{"other kinds are told apart", "f.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n---\napiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}\n",
			[]string{"ignored Secret at f.yaml: document 1", "ignored NetworkPolicy at f.yaml: document 2"}},
		{"JSON values follow one another, tabs and all", "f.json", "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}",
			[]string{"object Pod default/a at f.json: document 1", "object Node n at f.json: document 2"}},
		{"JSON that ends too early", "f.json", `{"apiVersion": "v1"`, []string{"error f.json: document 1: unexpected EOF"}},
		{"an unknown field is refused by path", "f.yaml", pod + "spec: {hostNetwrk: true}\n",
			[]string{`error f.yaml: document 1: Pod default/a: unknown field "spec.hostNetwrk"`}},
		{"the case of a field counts", "f.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: ns}\nspec: {podselector: {}, ingres: []}\n",
			[]string{`error f.yaml: document 1: NetworkPolicy ns/p: unknown field "spec.ingres"; unknown field "spec.podselector"`}},
		{"a wrong type is refused by path", "f.yaml", pod + "spec: {hostNetwork: 7}\n",
			[]string{"error f.yaml: document 1: Pod default/a: json: cannot unmarshal number into Go struct field PodSpec.spec.hostNetwork"}},
		{"a name that YAML takes for a boolean", "f.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: y}\n",
			[]string{"error f.yaml: document 1: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name"}},
		{"a namespace that YAML takes for a boolean leaves the object unnamed", "f.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: n}\n",
			[]string{"error f.yaml: document 1: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.namespace"}},
		{"a key that stands twice", "f.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\n",
			[]string{`error f.yaml: document 1: yaml: line 5: key "name" already set in map`}},
		{"a syntax error leaves the other documents", "f.yaml", "a: {b\n---\n" + pod,
			[]string{"object Pod default/a at f.yaml: document 2", "error f.yaml: document 1: yaml: line"}},
		{"neither kind", "f.yaml", "- a\n---\nhello\n---\napiVersion: v1\n",
			[]string{"error f.yaml: document 1: kind: required", "error f.yaml: document 2: kind: required", "error f.yaml: document 3: kind: required"}},
		{"nor version", "f.yaml", "kind: Pod\nmetadata: {name: a}\n", []string{"error f.yaml: document 1: Pod a: apiVersion: required"}},
		{"metadata as the API server wants it", "f.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: a.b, namespace: ns}\n---\n" +
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: 'a b'}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {}\n",
			[]string{"error f.yaml: document 1: Namespace a.b: metadata.name", "error f.yaml: document 2: Node a.b: metadata.namespace: Forbidden",
				"error f.yaml: document 3: Pod default/a: metadata.labels: Invalid value", "error f.yaml: document 4: metadata.name: Required"}},
		{"aliases that would fill the memory", "f.yaml", bomb(), []string{"error f.yaml: document 1: yaml: document contains excessive aliasing"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := read(test.file, test.data)
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

// bomb is a document of a few hundred bytes that stands for 10^9 strings.
func bomb() string {
	text := "l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 9; i++ {
		text += fmt.Sprintf("l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d,", i-1), 10), ","))
	}
	return text
}

func FuzzParse(f *testing.F) {
	f.Add("f.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n")
	f.Add("f.json", `{"apiVersion":"v1","kind":"List","items":[{}]}`)
	f.Fuzz(func(t *testing.T, file, data string) {
		for _, o := range Parse(file, []byte(data)).Objects {
			if o.ID.Name == "" || o.ID.Kind == "" || o.Value == nil {
				t.Errorf("incomplete object %+v", o)
			}
		}
	})
}
