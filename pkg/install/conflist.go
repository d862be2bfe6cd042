package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// ConfList is a network configuration list of the CNI specification that has
// Sluice's plugin in it.
type ConfList struct {
	name   string // of the file
	data   []byte
	plugin json.RawMessage // what the plugin gets, as a runtime makes it
	conf   *wire.Config
}

// ReadConfList reads a list from a file, and checks what Sluice has to do with.
func ReadConfList(path string) (*ConfList, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("network configuration list: %w", err)
	}
	c := &ConfList{name: filepath.Base(path), data: data}
	if err := c.parse(); err != nil {
		return nil, fmt.Errorf("network configuration list %s: %w", path, err)
	}
	return c, nil
}

func (c *ConfList) parse() error {
	var list struct {
		CNIVersion string                       `json:"cniVersion"`
		Name       string                       `json:"name"`
		Plugins    []map[string]json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal(c.data, &list); err != nil {
		return err
	}
	for _, p := range list.Plugins {
		if string(p["type"]) != `"`+PluginName+`"` {
			continue
		}
		var err error
		// As in section 3, "derivation of execution configuration".
		if p["name"], err = json.Marshal(list.Name); err != nil {
			return err
		}
		if p["cniVersion"], err = json.Marshal(list.CNIVersion); err != nil {
			return err
		}
		if c.plugin, err = json.Marshal(p); err != nil {
			return err
		}
		c.conf, err = wire.ParseConfig(c.plugin)
		return err
	}
	return fmt.Errorf("plugins: none is of type %s", PluginName)
}

// How often the agent is asked whether pods can be attached, and how long it may
// take to answer.
const (
	askInterval = 200 * time.Millisecond
	askTime     = 5 * time.Second
)

// Publish puts the list in a folder, where the container runtime finds it, once
// the agent answers the plugin's STATUS with success. It returns then, or when
// ctx is done.
//
// A runtime reports its network as ready as soon as there is a list, and the node
// becomes ready with it: a list put there earlier would bring pods to a node that
// can't attach them. A list from before is replaced at once, since the node has
// been ready with it. When the agent stops the list stays: pods are attached and
// policies enforced without it, and the plugin has to delete pods meanwhile.
func (c *ConfList) Publish(ctx context.Context, dir string) error {
	logger := klog.FromContext(ctx)
	path := filepath.Join(dir, c.name)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		c.awaitAgent(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	changed, err := place(path, c.data, 0o644)
	if err != nil {
		return err
	}
	logger.Info("The network configuration is in place", "file", path, "new", changed)
	return nil
}

// awaitAgent returns when pods can be attached, or ctx is done. It asks what a
// runtime would, in the way that a plugin does.
func (c *ConfList) awaitAgent(ctx context.Context) {
	tick := time.NewTicker(askInterval)
	defer tick.Stop()
	for {
		if c.ask(ctx) == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *ConfList) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := wire.Call(ctx, c.conf.Socket, wire.Status, wire.Request{Config: c.plugin})
	return err
}

// Plugin returns what the list says to Sluice's plugin. It is read only.
func (c *ConfList) Plugin() *wire.Config { return c.conf }
