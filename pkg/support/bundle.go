// Package support collects what a bug report needs: what the agent wants and what
// is there, of Open vSwitch, the node's network and the cluster as far as policies
// are concerned.
//
// No secret is read: no Secret of the API, no credentials of a kubeconfig or a
// service account, no keys or certificates; of files only their paths. Every part
// has a deadline and a size, and what could not be had is named in the manifest.
package support

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/version"
)

// Limits of one file and of all, in bytes before compression, and how long one
// may take.
const (
	maxFile  = 16 << 20
	maxTotal = 128 << 20
	fileTime = 20 * time.Second
)

// part is a file of a bundle.
type part struct {
	name, about string
	write       func(context.Context, io.Writer) error
}

// bundle is a bundle that is being written.
type bundle struct {
	out      *tar.Writer
	redact   *redactor // nil if nothing is
	manifest api.Manifest
	total    int
}

// collect writes the parts and the manifest as a tar archive.
func collect(ctx context.Context, out io.Writer, node string, parts []part, redact *redactor) error {
	b := &bundle{out: tar.NewWriter(out), redact: redact}
	b.manifest = api.Manifest{Time: time.Now(), Version: version.String(), Redacted: redact != nil, Node: node}
	for _, p := range parts {
		if err := b.add(ctx, p); err != nil {
			return err
		}
	}
	if redact != nil {
		b.manifest.Node = string(redact.text([]byte(node)))
	}
	text, err := json.MarshalIndent(b.manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	if redact != nil { // errors name things
		text = redact.text(text)
	}
	return errors.Join(b.file(api.ManifestName, text), b.out.Close())
}

// add makes a part and writes it. An error is one of writing: what could not be
// had is told by the manifest.
func (b *bundle) add(ctx context.Context, p part) error {
	begun := time.Now()
	f := api.ManifestFile{Name: p.name, About: p.about}
	var text []byte
	if b.total >= maxTotal {
		f.Error = fmt.Sprintf("left out: the bundle has %d bytes already", b.total)
	} else {
		var err error
		text, f.Truncated, err = produce(ctx, p)
		if err != nil {
			f.Error = err.Error()
		}
		if b.redact != nil {
			text = b.redact.text(text)
		}
	}
	f.Bytes, f.Millis = len(text), time.Since(begun).Milliseconds()
	b.total += len(text)
	b.manifest.Files = append(b.manifest.Files, f)
	if len(text) == 0 {
		return context.Cause(ctx)
	}
	return b.file(p.name, text)
}

func (b *bundle) file(name string, text []byte) error {
	h := &tar.Header{Name: "sluice-support/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: b.manifest.Time, Format: tar.FormatPAX}
	if err := b.out.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := b.out.Write(text); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// produce makes a part's text, as much as there is in time.
func produce(ctx context.Context, p part) (text []byte, truncated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	out := &bounded{}
	done := make(chan error, 1)
	go func() { done <- p.write(ctx, out) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("not done in time: %w", context.Cause(ctx))
	}
	text, truncated = out.end()
	if errors.Is(err, errFull) {
		err = nil
	}
	return text, truncated, err
}

// errFull says that a part is larger than a file may be.
var errFull = errors.New("larger than a file of the bundle may be")

// bounded takes maxFile bytes, until its end is asked for.
type bounded struct {
	mu    sync.Mutex
	b     bytes.Buffer
	full  bool
	ended bool
}

// Write implements io.Writer.
func (w *bounded) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, io.ErrClosedPipe
	}
	if room := maxFile - w.b.Len(); len(p) > room {
		w.b.Write(p[:room])
		w.full = true
		return room, errFull
	}
	return w.b.Write(p)
}

// end returns what there is and takes no more.
func (w *bounded) end() (text []byte, truncated bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	return w.b.Bytes(), w.full
}
