package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// root makes a Debian root with one program of this machine, its libraries, and a
// package for each.
func root(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	ldd, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := append(regexp.MustCompile(`/\S+`).FindAllString(string(ldd), -1), program)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, f), string(text), 0o755)
		owner := filepath.Join(dir, status, filepath.Base(f))
		put(t, owner, "Package: "+filepath.Base(f)+"\n", 0o644)
		put(t, owner+".md5sums", "0  "+strings.TrimPrefix(f, "/")+"\n", 0o644)
	}
	return dir
}

func entries(t *testing.T, layer []byte) map[string]*tar.Header {
	t.Helper()
	all := map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = h
	}
}

const someProgram = "/usr/bin/env"

func TestAProgramComesWithWhatItNeedsAndItsPackages(t *testing.T) {
	d, err := openDebian(root(t, someProgram))
	if err != nil {
		t.Fatal(err)
	}
	made := tree{}
	if err := d.program(made, program{path: someProgram, name: "/usr/sbin/daemon", links: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	if err := d.packages(made); err != nil {
		t.Fatal(err)
	}
	if n := made["/usr/bin/other"]; n.link != "daemon" {
		t.Errorf("the link leads to %q", n.link)
	}
	var has []string
	for file := range made {
		has = append(has, file)
		if strings.HasPrefix(file, "/lib") || strings.HasPrefix(file, "/bin") {
			t.Errorf("%s is not below /usr, where /lib is a link to", file)
		}
	}
	all := strings.Join(has, " ")
	for _, want := range []string{"/usr/sbin/daemon", "libc.so.6", "ld-linux", status + "/env", status + "/libc.so.6.md5sums"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s among %s", want, all)
		}
	}
}

func TestAFileOfNoPackageIsRefused(t *testing.T) {
	dir := root(t, someProgram)
	put(t, filepath.Join(dir, "/usr/bin/stranger"), "", 0o755)
	d, err := openDebian(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.take(tree{}, "/usr/bin/stranger", "/usr/bin/stranger"); err == nil || !strings.Contains(err.Error(), "no Debian package") {
		t.Errorf("error %v", err)
	}
	if err := d.program(tree{}, program{path: "/usr/bin/absent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestALibraryThatIsMissingIsNamedWithWhoNeedsIt(t *testing.T) {
	dir := root(t, someProgram)
	libc, err := filepath.Glob(dir + "/*/*/libc.so.6")
	if err != nil || len(libc) == 0 {
		t.Fatalf("no libc in the root: %v", err)
	}
	if err := os.Remove(libc[0]); err != nil {
		t.Fatal(err)
	}
	d, err := openDebian(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = d.program(tree{}, program{path: someProgram})
	if err == nil || !strings.Contains(err.Error(), someProgram+" needs libc.so.6") {
		t.Errorf("error %v", err)
	}
}

func TestALayerDependsOnItsContentsAlone(t *testing.T) {
	var layers [2]bytes.Buffer
	for i := range layers {
		source := filepath.Join(t.TempDir(), "file")
		put(t, source, "text", 0o700)
		made := tree{}
		if err := made.file("/usr/bin/file", source); err != nil {
			t.Fatal(err)
		}
		made.link("/bin", "usr/bin")
		made.dir("/tmp")
		if err := made.write(&layers[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(layers[0].Bytes(), layers[1].Bytes()) {
		t.Error("the same contents make two layers")
	}
	all := entries(t, layers[0].Bytes())
	for _, want := range []struct {
		name string
		kind byte
		mode int64
	}{
		{"usr/", tar.TypeDir, 0o755}, {"usr/bin/", tar.TypeDir, 0o755}, {"usr/bin/file", tar.TypeReg, 0o755},
		{"bin", tar.TypeSymlink, 0o777}, {"tmp/", tar.TypeDir, 0o1777},
	} {
		h := all[want.name]
		if h == nil || h.Typeflag != want.kind || h.Mode != want.mode || h.Uid != 0 || h.ModTime.Unix() > 0 {
			t.Errorf("%s is %+v", want.name, h)
		}
	}
	if len(all) != 5 {
		t.Errorf("%d entries", len(all))
	}
}

// mini assembles an archive as main does, of less.
func mini(t *testing.T, out string) {
	t.Helper()
	bin, files := t.TempDir(), t.TempDir()
	for _, b := range binaries {
		put(t, filepath.Join(bin, b.path), "binary", 0o755)
	}
	put(t, filepath.Join(files, "etc/passwd"), "root", 0o644)
	o := options{
		root: root(t, someProgram), files: files, bin: bin, chart: "../chart", out: out,
		version: "v1", revision: "abc", created: "2026-01-02T03:04:05Z",
		programs: []program{{path: someProgram}},
	}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
}

func TestTheArchiveHoldsTheImagesThatTheManifestAsksFor(t *testing.T) {
	out := filepath.Join(t.TempDir(), "images.tar")
	mini(t, out)
	manifest, err := os.ReadFile("../manifests/sluice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var layers [][]v1.Layer
	asked := regexp.MustCompile(`image: (\S+)`).FindAllStringSubmatch(string(manifest), -1)
	slices.SortFunc(asked, func(a, b []string) int { return strings.Compare(a[1], b[1]) })
	asked = slices.CompactFunc(asked, func(a, b []string) bool { return a[1] == b[1] })
	for _, a := range asked {
		tag, err := name.NewTag(a[1])
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(out, &tag)
		if err != nil {
			t.Fatalf("%s: %v", tag, err)
		}
		l, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
		file, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if file.OS != "linux" || len(file.History) != len(l) || !slices.Equal(file.Config.Env, []string{"PATH=/usr/sbin:/usr/bin"}) {
			t.Errorf("%s: configuration %+v", tag, file)
		}
	}
	if len(layers) != 2 || len(layers[0])+len(layers[1]) != 3 {
		t.Fatalf("the images %v have %d layers", asked, layers)
	}
	// What they share is one layer on a node.
	first, err := layers[0][0].DiffID()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := layers[1][0].DiffID(); err != nil || first != second {
		t.Errorf("the first layers are %v and %v: %v", first, second, err)
	}
}

func TestTheSameInputsGiveTheSameArchive(t *testing.T) {
	var archives [2][]byte
	for i := range archives {
		out := filepath.Join(t.TempDir(), "images.tar")
		mini(t, out)
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = text
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same inputs differ")
	}
}
