package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestModulesComeAfterThoseTheyNeed(t *testing.T) {
	l := &linux{release: "6.1.0", modules: t.TempDir()}
	dir := filepath.Join(l.modules, l.release)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const deps = `kernel/9p.ko: kernel/9pnet.ko kernel/fscache.ko kernel/netfs.ko
kernel/9pnet.ko:
kernel/9pnet_virtio.ko.xz: kernel/9pnet.ko kernel/virtio.ko
kernel/overlay.ko:
`
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(deps), 0o600); err != nil {
		t.Fatal(err)
	}

	files, err := l.moduleFiles("9pnet_virtio", "9p", "overlay")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		got = append(got, name)
	}
	want := []string{"virtio", "9pnet", "9pnet_virtio", "netfs", "fscache", "9p", "overlay"}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}

	if _, err := l.moduleFiles("nonesuch"); err == nil || !strings.Contains(err.Error(), "nonesuch") {
		t.Errorf("module that is not there: %v", err)
	}
}
