package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

// list packs a tree and returns what the archive has, by name.
func list(t *testing.T, files tree) map[string]*tar.Header {
	t.Helper()
	var packed bytes.Buffer
	if err := files.pack(&packed); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := files.pack(&again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed.Bytes(), again.Bytes()) {
		t.Error("the same files give other bytes")
	}
	found := map[string]*tar.Header{}
	for archive := tar.NewReader(&packed); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h
	}
}

func TestALayerHasTheFoldersThatLeadToItsFiles(t *testing.T) {
	files := tree{}
	files.text("/etc/deep/file", "text")
	files.link("/bin/a", "/bin/b")
	files.dir("/tmp", 0o1777)
	found := list(t, files)
	for name, want := range map[string]struct {
		kind byte
		mode int64
	}{
		"etc/":          {tar.TypeDir, 0o755},
		"etc/deep/":     {tar.TypeDir, 0o755},
		"etc/deep/file": {tar.TypeReg, 0o644},
		"bin/":          {tar.TypeDir, 0o755},
		"bin/a":         {tar.TypeSymlink, 0o777},
		"tmp/":          {tar.TypeDir, 0o1777},
	} {
		switch h := found[name]; {
		case h == nil:
			t.Errorf("%s is not there", name)
		case h.Typeflag != want.kind || h.Mode != want.mode:
			t.Errorf("%s has type %c and mode %o, want %c and %o", name, h.Typeflag, h.Mode, want.kind, want.mode)
		}
	}
	if len(found) != 6 {
		t.Errorf("%d files, want 6: %v", len(found), found)
	}
}

func TestAProgramComesWithWhatItsLinkerLooksFor(t *testing.T) {
	const program = "/bin/ls"
	if _, err := os.Stat(program); err != nil {
		t.Skip(err)
	}
	files := tree{}
	if err := files.program(program, "/bin/other"); err != nil {
		t.Fatal(err)
	}
	libc, err := library("libc.so.6")
	if err != nil {
		t.Skip("this machine's C library is another: ", err)
	}
	if !files.has("/bin/other") || !files.has(libc) {
		t.Errorf("the program or %s is not among %v", libc, files)
	}
	if _, err := library("libnowhere.so.1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a library that is not there: %v", err)
	}
}
