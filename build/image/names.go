package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"sigs.k8s.io/yaml"
)

// names are what the images are called: what the chart, and with it the
// manifests, ask for.
type names struct{ sluice, ovs name.Tag }

type imageValues struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
}

func readNames(chart string) (names, error) {
	var about struct {
		AppVersion string `json:"appVersion"`
	}
	var values struct {
		Image imageValues `json:"image"`
		OVS   struct {
			Image imageValues `json:"image"`
		} `json:"ovs"`
	}
	for file, into := range map[string]any{"Chart.yaml": &about, "values.yaml": &values} {
		text, err := os.ReadFile(filepath.Join(chart, file))
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			return names{}, fmt.Errorf("names of the images: chart file %s: %w", file, err)
		}
	}
	if values.Image.Tag == "" {
		values.Image.Tag = about.AppVersion
	}
	var n names
	for field, of := range map[string]struct {
		values imageValues
		into   *name.Tag
	}{"image": {values.Image, &n.sluice}, "ovs.image": {values.OVS.Image, &n.ovs}} {
		tag, err := name.NewTag(of.values.Repository+":"+of.values.Tag, name.StrictValidation)
		if err != nil {
			return names{}, fmt.Errorf("names of the images: chart value %s: %w", field, err)
		}
		*of.into = tag
	}
	return n, nil
}
