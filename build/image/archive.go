package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// manifestName is the file of a docker archive that says which images it holds.
const manifestName = "manifest.json"

// writeArchive writes images as one archive, always in the same order: the
// library takes them as they come out of a map.
func writeArchive(w io.Writer, images map[name.Tag]v1.Image) error {
	var packed bytes.Buffer
	if err := tarball.MultiWrite(images, &packed); err != nil {
		return err
	}
	type entry struct {
		header *tar.Header
		body   []byte
	}
	var entries []entry
	for r := tar.NewReader(&packed); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if h.Name == manifestName {
			if body, err = sortManifest(body); err != nil {
				return err
			}
			h.Size = int64(len(body))
		}
		entries = append(entries, entry{h, body})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.header.Name, b.header.Name) })
	out := tar.NewWriter(w)
	for _, e := range entries {
		if err := out.WriteHeader(e.header); err != nil {
			return err
		}
		if _, err := out.Write(e.body); err != nil {
			return err
		}
	}
	return out.Close()
}

func sortManifest(text []byte) ([]byte, error) {
	var m tarball.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	slices.SortFunc(m, func(a, b tarball.Descriptor) int { return slices.Compare(a.RepoTags, b.RepoTags) })
	return json.Marshal(m)
}
