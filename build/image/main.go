// Command image assembles Sluice's two container images, without a container
// engine: that of Open vSwitch, with the few files of Debian that it takes, and
// that of Sluice, which is the same and its binaries. The archive it writes holds
// both and is read by `docker load` and `ctr images import`.
//
// The same inputs give the same bytes.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type options struct {
	root, files, bin, chart, out, tree string
	version, revision, created         string

	programs []program
	data     []string
}

func main() {
	o := options{programs: programs, data: data}
	flag.StringVar(&o.root, "root", "", "Debian root made by root.sh")
	flag.StringVar(&o.files, "files", "files", "folder of files to add to the first layer")
	flag.StringVar(&o.bin, "bin", "../../bin", "folder of Sluice's binaries")
	flag.StringVar(&o.chart, "chart", "../chart", "Helm chart that says what the images are called")
	flag.StringVar(&o.out, "o", "", "archive to write")
	flag.StringVar(&o.tree, "layer", "", "write the first layer alone, as a tar archive, for a Dockerfile")
	flag.StringVar(&o.version, "version", "", "version of Sluice, for the image's label")
	flag.StringVar(&o.revision, "revision", "", "commit, for the image's label")
	flag.StringVar(&o.created, "created", "1970-01-01T00:00:00Z", "time of the commit, RFC 3339")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	base, err := baseTree(o)
	if err != nil {
		return err
	}
	if o.tree != "" {
		return writeFile(o.tree, base.write)
	}
	names, err := readNames(o.chart)
	if err != nil {
		return err
	}
	ovs, err := image(empty.Image, base, v1.Config{Cmd: []string{"sh"}}, time.Unix(0, 0).UTC())
	if err != nil {
		return fmt.Errorf("image %s: %w", names.ovs, err)
	}
	own := tree{}
	for _, b := range binaries {
		if err := own.file(b.name, filepath.Join(o.bin, b.path)); err != nil {
			return err
		}
	}
	created, err := time.Parse(time.RFC3339, o.created)
	if err != nil {
		return fmt.Errorf("-created: %w", err)
	}
	sluice, err := image(ovs, own, v1.Config{Cmd: []string{"sluice-agent"}, Labels: map[string]string{
		"org.opencontainers.image.title":    "Sluice",
		"org.opencontainers.image.source":   "https://github.com/sluice-cni/sluice",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  o.version,
		"org.opencontainers.image.revision": o.revision,
	}}, created)
	if err != nil {
		return fmt.Errorf("image %s: %w", names.sluice, err)
	}
	return writeFile(o.out, func(w io.Writer) error {
		return writeArchive(w, map[name.Tag]v1.Image{names.ovs: ovs, names.sluice: sluice})
	})
}

// baseTree is the layer of Open vSwitch.
func baseTree(o options) (tree, error) {
	d, err := openDebian(o.root)
	if err != nil {
		return nil, err
	}
	t := tree{}
	for link, target := range links {
		t.link(link, target)
	}
	for _, dir := range dirs {
		t.dir(dir)
	}
	for _, p := range o.programs {
		if err := d.program(t, p); err != nil {
			return nil, err
		}
	}
	for _, file := range o.data {
		if err := d.take(t, file, file); err != nil {
			return nil, err
		}
	}
	if err := d.packages(t); err != nil {
		return nil, err
	}
	return t, t.copyAll(o.files)
}

// image adds a layer to an image.
func image(base v1.Image, files tree, config v1.Config, created time.Time) (v1.Image, error) {
	var packed bytes.Buffer
	if err := files.write(&packed); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(base, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "build/image"},
	})
	if err != nil {
		return nil, err
	}
	config.Env = []string{"PATH=/usr/sbin:/usr/bin"}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config, file.Created = runtime.GOARCH, "linux", config, v1.Time{Time: created}
	return mutate.ConfigFile(img, file)
}

// writeFile writes a file by way of a temporary one: it is there whole or not.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	if err = write(f); err == nil {
		err = f.Chmod(0o644)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
