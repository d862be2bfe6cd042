// Package ui is the page to look at: what a browser needs to show what package
// observe answers. It is plain HTML, CSS and JavaScript modules, written by hand
// and served as they stand in the folder page.
//
// Whoever may ask the agent may see the page, and nobody else: [Guard] stands
// before it wherever it is not served on the agent's own socket.
package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
)

//go:embed page
var embedded embed.FS

// Prefix is the path below which the page lies. It asks for /v1/ beside it.
const Prefix = "/ui/"

// policy is the page's Content-Security-Policy: nothing but its own files, no
// inline script or style, no frames around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Register mounts the page on a mux, under Prefix, and leads there from the root.
func Register(mux *http.ServeMux) {
	page, err := fs.Sub(embedded, "page")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	files := http.StripPrefix("/ui", http.FileServerFS(page))
	tag := version(page)
	mux.Handle("GET /{$}", http.RedirectHandler("ui/", http.StatusFound))
	mux.HandleFunc("GET "+Prefix, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		harden(h)
		// Files in the binary have no time. They are asked for anew, so that the page is
		// that of the agent which answers.
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		files.ServeHTTP(w, r)
	})
}

// harden sets what every answer to a browser should have.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// version is an entity tag of all files together.
func version(files fs.FS) string {
	sum := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		sum.Write([]byte(path))
		sum.Write(data)
		return err
	})
	if err != nil {
		panic(err)
	}
	return `"` + hex.EncodeToString(sum.Sum(nil)[:12]) + `"`
}
