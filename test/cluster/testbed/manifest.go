package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// The place of the agent's configuration in the manifest.
const (
	agentConfigMap = "sluice-config"
	agentConfigKey = "agent.yaml"
)

// configure returns a manifest with fields of the agent's configuration set.
// Values are YAML: "noEncap", "1400", "[10.0.0.0/8]".
func configure(manifest []byte, fields map[string]string) ([]byte, error) {
	if len(fields) == 0 {
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
		config, ok := data[agentConfigKey].(string)
		if !ok {
			return nil, fmt.Errorf("ConfigMap %s has no %s", agentConfigMap, agentConfigKey)
		}
		changed, err := setFields(config, fields)
		if err != nil {
			return nil, err
		}
		data[agentConfigKey] = changed
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

func setFields(config string, fields map[string]string) (string, error) {
	var all map[string]any
	if err := yaml.Unmarshal([]byte(config), &all); err != nil {
		return "", fmt.Errorf("read the agent's configuration: %w", err)
	}
	for name, text := range fields {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return "", fmt.Errorf("field %s of the agent's configuration: %w", name, err)
		}
		all[name] = value
	}
	out, err := yaml.Marshal(all)
	return string(out), err
}
