package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Run is the first process of a node. It returns only if the node could not be
// set up; it is ended by being killed, which ends all that runs on the node.
func Run(c *Config) error {
	if os.Getpid() != 1 {
		return errors.New("run a node: not the first process of a pid namespace")
	}
	if err := unix.Sethostname([]byte(c.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := c.enterRoot(); err != nil {
		return fmt.Errorf("set up the node's root: %w", err)
	}
	if err := write(c.Files); err != nil {
		return fmt.Errorf("write the node's files: %w", err)
	}
	if err := linkPlugins(c.Plugins); err != nil {
		return fmt.Errorf("give the node its CNI plugins: %w", err)
	}
	r := runner{Config: c, processes: newProcesses()}
	return r.run()
}

// RunFile is Run with a configuration in a file.
func RunFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("read the node's configuration %s: %w", path, err)
	}
	return Run(&c)
}

type runner struct {
	*Config
	processes *processes
}

func (r *runner) run() error {
	if r.Underlay != nil {
		if err := r.startUnderlay(r.Underlay); err != nil {
			return err
		}
		log.Print("Open vSwitch is up")
	}
	if err := write(map[string]string{containerdConfig: r.containerdConfig()}); err != nil {
		return err
	}
	if err := r.keepProgram("containerd", "--config", containerdConfig); err != nil {
		return err
	}
	if err := waitSocket(containerdSocket, time.Minute); err != nil {
		return fmt.Errorf("wait for containerd: %w", err)
	}
	log.Print("containerd is up")
	for _, image := range r.Images {
		if err := r.load(image); err != nil {
			return err
		}
	}
	log.Print("images are there")
	for _, d := range r.Daemons {
		go r.keep(d)
	}
	select {}
}

// keep runs a daemon again and again, as a service manager does.
func (r *runner) keep(d Daemon) {
	const pause = time.Second
	for {
		status, err := r.processes.run(r.log(d.Name), d.Args...)
		if err != nil {
			log.Print(err)
		} else {
			log.Printf("%s has ended, %s; starting it again", d.Name, describe(status))
		}
		time.Sleep(pause)
	}
}

// load gives containerd an image.
func (r *runner) load(archive string) error {
	// The namespace is where the kubelet's images are. All files of an archive are
	// there: it is not to be asked which platforms it has.
	return r.do("ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", archive)
}

// linkPlugins puts CNI plugins where every CNI installation finds them. Others may
// be put beside them.
func linkPlugins(from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(pluginDir, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(pluginDir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// waitSocket waits until someone listens on a unix socket.
func waitSocket(path string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-poll.C:
		}
	}
}
