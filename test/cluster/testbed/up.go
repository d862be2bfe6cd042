package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-cni/sluice/test/cache"
)

// Up brings up a cluster and reports progress. ctx bounds the bringing up: if it
// ends, or a step fails, what has been brought up is taken down again.
func Up(ctx context.Context, o Options, out io.Writer) (_ *Cluster, err error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("bring up a cluster: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("nodes are namespaces, which needs root: run with sudo")
	}
	c := &Cluster{Options: o, Plan: NewPlan(o), out: out, begin: time.Now()}
	if c.archives, err = c.images(); err != nil {
		return nil, err
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 1 { // besides the lock
		return nil, fmt.Errorf("bring up a cluster: %s is in use; take down what is there first", o.Dir)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	// From here on there is a cluster to take down.
	if err := os.WriteFile(c.Path(optionsFile), text, 0o644); err != nil {
		return nil, err
	}
	if err := c.up(ctx); err != nil {
		// Also when ctx has ended.
		down := c.down(context.WithoutCancel(ctx))
		return nil, errors.Join(fmt.Errorf("bring up the cluster: %w", err), down)
	}
	return c, nil
}

// images returns the archives of the testbed's own images.
func (c *Cluster) images() ([]string, error) {
	var archives []string
	for _, name := range []string{"pause", "agnhost", "coredns"} {
		path, err := cache.Path("cluster", "images", name+".tar")
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("find image %s: %w (run: %s)", name, err, BuildCommand)
		}
		archives = append(archives, path)
	}
	return archives, nil
}

// copyImages copies the images of the options to where nodes see them.
func (c *Cluster) copyImages() error {
	for i, from := range c.Options.Images {
		to := c.Path("images", fmt.Sprintf("%d-%s", i, filepath.Base(from)))
		if err := copyFile(from, to); err != nil {
			return fmt.Errorf("copy image %s: %w", from, err)
		}
		c.archives = append(c.archives, to)
	}
	return nil
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// BuildCommand builds what a cluster needs and keeps it in the cache.
const BuildCommand = "build/cluster/build.sh"

func (c *Cluster) up(ctx context.Context) error {
	if err := c.copyImages(); err != nil {
		return err
	}
	if err := c.writeControl(); err != nil {
		return err
	}
	if err := c.makeNetwork(); err != nil {
		return err
	}
	c.say("networks of %s and %d nodes", Control, len(c.Plan.Nodes))
	if err := c.startStore(ctx); err != nil {
		return err
	}
	// Nodes load their images while the API server starts.
	for _, n := range c.Plan.Nodes {
		if err := c.startNode(n); err != nil {
			return err
		}
	}
	if err := c.startControl(ctx); err != nil {
		return err
	}
	c.say("control plane")
	if err := c.waitRegistered(ctx); err != nil {
		return err
	}
	c.say("nodes registered, with ranges of pod addresses")
	if err := c.installCNI(ctx); err != nil {
		return err
	}
	if c.Options.CNI == None {
		return nil
	}
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	c.say("nodes ready")
	if c.Options.DNS {
		if err := c.installDNS(ctx); err != nil {
			return err
		}
		c.say("DNS ready")
	}
	return nil
}
