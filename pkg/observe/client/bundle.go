package client

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Bundle asks for a support bundle and hands on each file as it comes; its reader
// is valid during the call only. all is how many files there will be.
func (c *Client) Bundle(ctx context.Context, req api.BundleRequest, file func(h *tar.Header, r io.Reader, all int) error) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("write the question for a support bundle: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, "support-bundle", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	all, _ := strconv.Atoi(resp.Header.Get(api.BundleFiles)) // for progress only
	return EachFile(resp.Body, func(h *tar.Header, r io.Reader) error { return file(h, r, all) })
}

// EachFile reads a bundle, which has to end with its manifest: one that breaks off
// before is an error.
func EachFile(bundle io.Reader, file func(h *tar.Header, r io.Reader) error) error {
	in := tar.NewReader(bundle)
	var last string
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			if last != "sluice-support/"+api.ManifestName {
				return fmt.Errorf("the support bundle breaks off after %q", last)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the support bundle after %q: %w", last, err)
		}
		if err := file(h, in); err != nil {
			return err
		}
		last = h.Name
	}
}
