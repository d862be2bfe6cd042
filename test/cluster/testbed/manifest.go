package testbed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// The places of the agent's configuration, and of the network's, in the manifest.
const (
	agentConfigMap   = "sluice-config"
	agentConfigKey   = "agent.yaml"
	networkConfigKey = "10-sluice.conflist"
)

// portmap gives pods ports of their node (hostPort), which Sluice leaves to it.
var portmap = map[string]any{"type": "portmap", "backend": "nftables", "capabilities": map[string]bool{"portMappings": true}}

// configure returns a manifest with fields of the agent's configuration set, and
// with more plugins in the network configuration's chain. Values of fields are
// YAML: "noEncap", "1400", "[10.0.0.0/8]".
func configure(manifest []byte, fields map[string]string, plugins ...map[string]any) ([]byte, error) {
	if len(fields) == 0 && len(plugins) == 0 {
		return manifest, nil
	}
	const separator = "\n---\n"
	documents := strings.Split(string(manifest), separator)
	found := false
	for i, text := range documents {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		metadata, _ := object["metadata"].(map[string]any)
		if object["kind"] != "ConfigMap" || metadata["name"] != agentConfigMap {
			continue
		}
		found = true
		data, _ := object["data"].(map[string]any)
		err := edit(data, agentConfigKey, func(config string) (string, error) { return setFields(config, fields) })
		if err == nil && len(plugins) > 0 {
			err = edit(data, networkConfigKey, func(config string) (string, error) { return addPlugins(config, plugins) })
		}
		if err != nil {
			return nil, err
		}
		out, err := yaml.Marshal(object)
		if err != nil {
			return nil, err
		}
		documents[i] = string(bytes.TrimSpace(out))
	}
	if !found {
		return nil, errors.New("the manifest has no ConfigMap " + agentConfigMap)
	}
	return []byte(strings.Join(documents, separator)), nil
}

// edit changes a text of the ConfigMap.
func edit(data map[string]any, key string, change func(string) (string, error)) error {
	text, ok := data[key].(string)
	if !ok {
		return fmt.Errorf("ConfigMap %s has no %s", agentConfigMap, key)
	}
	text, err := change(text)
	if err != nil {
		return fmt.Errorf("ConfigMap %s, %s: %w", agentConfigMap, key, err)
	}
	data[key] = text
	return nil
}

func addPlugins(config string, plugins []map[string]any) (string, error) {
	var all map[string]any
	if err := json.Unmarshal([]byte(config), &all); err != nil {
		return "", err
	}
	chain, _ := all["plugins"].([]any)
	for _, p := range plugins {
		chain = append(chain, p)
	}
	all["plugins"] = chain
	out, err := json.Marshal(all)
	return string(out), err
}

func setFields(config string, fields map[string]string) (string, error) {
	var all map[string]any
	if err := yaml.Unmarshal([]byte(config), &all); err != nil {
		return "", err
	}
	for name, text := range fields {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return "", fmt.Errorf("field %s: %w", name, err)
		}
		all[name] = value
	}
	out, err := yaml.Marshal(all)
	return string(out), err
}
