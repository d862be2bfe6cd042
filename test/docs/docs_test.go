package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the top folder of the project.
const root = "../.."

// pages returns the README and all pages in docs, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, path := range append(paths, filepath.Join(root, "README.md")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[path] = string(data)
	}
	return out
}

var (
	fenceRE   = regexp.MustCompile("(?ms)^```.*?^```")
	codeRE    = regexp.MustCompile("`[^`\n]*`")
	linkRE    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingRE = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// Links in the documentation lead to files that are there and to headings that
// are in them.
func TestLinksLeadSomewhere(t *testing.T) {
	for path, text := range pages(t) {
		text = codeRE.ReplaceAllString(fenceRE.ReplaceAllString(text, ""), "")
		for _, m := range linkRE.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // outside of the project
			}
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link %s: %v", path, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, file), anchor) {
				t.Errorf("%s: link %s: no such heading", path, m[1])
			}
		}
	}
}

// anchors returns the names by which headings of a page can be linked.
func anchors(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range headingRE.FindAllStringSubmatch(fenceRE.ReplaceAllString(string(data), ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		out = append(out, name)
	}
	return out
}

var flowsRE = regexp.MustCompile("(?ms)^```flows\n(.*?)^```")

// Flows that a page shows, in blocks marked "flows", stand in the golden file.
func TestFlowsThatAreShownAreReal(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join(root, "flows/testdata/sample.flows"))
	if err != nil {
		t.Fatal(err)
	}
	real := map[string]bool{}
	for line := range strings.Lines(string(golden)) {
		real[strings.Join(strings.Fields(line), " ")] = true
	}
	shown := 0
	for path, text := range pages(t) {
		for _, m := range flowsRE.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(m[1]) {
				shown++
				if line = strings.Join(strings.Fields(line), " "); line != "" && !real[line] {
					t.Errorf("%s shows a flow that the sample does not have:\n%s", path, line)
				}
			}
		}
	}
	if shown == 0 {
		t.Error("no page shows a flow")
	}
}

// Every module that go.mod names directly stands in the page about dependencies.
func TestEveryDirectModuleIsExplained(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	page := pages(t)[filepath.Join(root, "docs/dependencies.md")]
	for _, m := range requireRE.FindAllStringSubmatch(string(mod), -1) {
		if !strings.Contains(m[2], "indirect") && !strings.Contains(page, m[1]) {
			t.Errorf("docs/dependencies.md says nothing of %s", m[1])
		}
	}
}

var requireRE = regexp.MustCompile(`(?m)^\t(\S+) v\S+(.*)$`)

var testRE = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)(?:/([^`]+))?`")

// Tests that the documentation names exist, with their cases: a case is named
// after a slash, as it is written in the code.
func TestTestsThatAreNamedExist(t *testing.T) {
	source := testSource(t)
	for path, text := range pages(t) {
		for _, m := range testRE.FindAllStringSubmatch(text, -1) {
			name, sub := m[1], m[2]
			dirs := source.dirs[name]
			if len(dirs) == 0 {
				t.Errorf("%s names %s, which is no test", path, name)
				continue
			}
			if sub != "" && !slices.ContainsFunc(dirs, func(dir string) bool { return bytes.Contains(source.text[dir], []byte(`"`+sub+`"`)) }) {
				t.Errorf("%s names %s/%s: there is no such case in %s", path, name, sub, strings.Join(dirs, ", "))
			}
		}
	}
}

// tests are the tests of the project.
type tests struct {
	dirs map[string][]string // function -> folders
	text map[string][]byte   // folder -> all its code, where tables of cases may be
}

var testFuncRE = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)

func testSource(t *testing.T) tests {
	t.Helper()
	all := tests{map[string][]string{}, map[string][]byte{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		all.text[dir] = append(all.text[dir], data...)
		for _, m := range testFuncRE.FindAllSubmatch(data, -1) {
			all.dirs[string(m[1])] = append(all.dirs[string(m[1])], dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
