package testbed

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/need"
)

func TestMountsAreReadWithEscapedNames(t *testing.T) {
	got, err := parseMount(`36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue`)
	if want := (mountInfo{point: `/mnt 2\x`, kind: "ext3"}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "36 35 98:0 /mnt1 /mnt2 rw", "36 35 98:0 / /mnt2 rw -"} {
		if _, err := parseMount(bad); err == nil {
			t.Errorf("%q is taken for a mount", bad)
		}
	}
}

func TestMountsBelowAFolderAreTakenAwayInsideOut(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	inner := filepath.Join(dir, "a", "b")
	for _, target := range []string{filepath.Join(dir, "a"), inner} {
		if err := os.MkdirAll(target, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", target, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	points, err := mountsBelow(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 2 || points[0] != inner {
		t.Errorf("mounts are %v, want %s first of two", points, inner)
	}
	if err := unmountBelow(dir); err != nil {
		t.Fatal(err)
	}
	if points, err := mountsBelow(dir); err != nil || len(points) > 0 {
		t.Errorf("left: %v, %v", points, err)
	}
}
