// Command images makes the images that pods of a test cluster run, as archives:
// what Kubernetes publishes under the same names can't be pulled there. They hold
// the same programs, built from the same sources, and from Debian what the upstream
// suite runs in them besides.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// image is one image.
type image struct {
	file string // of the archive, without .tar
	tags []string
	// program is the file in the folder of built programs that the image runs; with
	// args if nothing else is said.
	program string
	args    []string
	// files are files in the folder of built programs, and their names in the image.
	files map[string]string
	// debian are programs of this machine, and the names they have in the image.
	debian map[string]string
	// applets are the names under which the image has busybox.
	applets []string
}

// images are all images, by the names and versions that Kubernetes v1.34 asks for.
var images = []image{
	{
		file: "pause", program: "pause",
		tags: []string{"registry.k8s.io/pause:3.10.1"},
	},
	{
		// The upstream suite runs all of these in it. That of the second name is for
		// looking names up with another libc, which here is the same.
		file: "agnhost", program: "agnhost", args: []string{"pause"},
		tags: []string{
			"registry.k8s.io/e2e-test-images/agnhost:2.56",
			"registry.k8s.io/e2e-test-images/jessie-dnsutils:1.7",
		},
		files: map[string]string{"localhost.crt": "/localhost.crt", "localhost.key": "/localhost.key"},
		debian: map[string]string{
			// Debian's busybox prefers its own applets to programs, and its nc has no -u.
			"/usr/bin/dash":       "/bin/sh",
			"/usr/bin/busybox":    "/bin/busybox",
			"/usr/bin/curl":       "/usr/bin/curl",
			"/usr/bin/dig":        "/usr/bin/dig",
			"/usr/bin/getent":     "/usr/bin/getent",
			"/usr/bin/nc.openbsd": "/bin/nc",
		},
		applets: []string{
			"awk", "cat", "chmod", "chown", "cut", "date", "echo", "env", "expr", "false", "find", "grep", "head", "hostname",
			"id", "ifconfig", "ip", "kill", "ls", "mkdir", "mount", "mv", "netstat", "nslookup", "ping", "ping6", "printf", "ps",
			"rm", "route", "sed", "seq", "sleep", "sort", "stat", "tail", "test", "timeout", "touch", "tr", "true", "uname", "wc",
			"wget", "which", "xargs",
		},
	},
	{
		file: "coredns", program: "coredns",
		tags: []string{"registry.k8s.io/coredns/coredns:v1.12.4"},
	},
}

func main() {
	bin := flag.String("bin", "", "folder of the built programs")
	out := flag.String("o", "", "folder of the archives to write")
	flag.Parse()
	for _, i := range images {
		if err := i.write(*bin, filepath.Join(*out, i.file+".tar")); err != nil {
			fmt.Fprintf(os.Stderr, "images: make image %s: %v\n", i.file, err)
			os.Exit(1)
		}
	}
}

// write makes the image and writes its archive.
func (i image) write(bin, path string) error {
	layer, err := i.layer(bin)
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = runtime.GOARCH, "linux"
	config.Config = v1.Config{
		Entrypoint: []string{"/" + i.program}, Cmd: i.args,
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	tags := map[name.Tag]v1.Image{}
	for _, text := range i.tags {
		tag, err := name.NewTag(text, name.StrictValidation)
		if err != nil {
			return err
		}
		tags[tag] = img
	}
	// By way of another file: the archive is there whole or not.
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = tarball.MultiWrite(tags, f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// layer makes the image's only layer.
func (i image) layer(bin string) (v1.Layer, error) {
	t := tree{}
	t.copy(filepath.Join(bin, i.program), "/"+i.program)
	for from, to := range i.files {
		t.copy(filepath.Join(bin, from), to)
	}
	for from, to := range i.debian {
		if err := t.program(from, to); err != nil {
			return nil, fmt.Errorf("add %s: %w", from, err)
		}
	}
	for _, applet := range i.applets {
		t.link("/bin/"+applet, "/bin/busybox")
	}
	t.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
	t.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
	// Not libc's default, which asks the DNS first and takes its no for an answer.
	t.text("/etc/nsswitch.conf", "hosts: files dns\n")
	t.dir("/tmp", 0o1777)
	var packed bytes.Buffer
	if err := t.pack(&packed); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
	})
}
