package api

import "time"

// BundleRequest asks for a support bundle.
type BundleRequest struct {
	// Redact replaces names of pods, namespaces, nodes, policies and Services,
	// labels and addresses, the same one by the same everywhere.
	Redact bool `json:"redact,omitempty"`
}

// ManifestName is the name of the last file of a bundle, a Manifest.
const ManifestName = "manifest.json"

// BundleFiles is the HTTP header that says how many files a bundle will have.
const BundleFiles = "Sluice-Bundle-Files"

// Manifest says what is in a bundle, and what is not and why.
type Manifest struct {
	Node     string         `json:"node,omitempty"`
	Time     time.Time      `json:"time"`
	Version  string         `json:"version"`
	Redacted bool           `json:"redacted"`
	Files    []ManifestFile `json:"files"`
}

// ManifestFile is one file of a bundle.
type ManifestFile struct {
	Name string `json:"name"`
	// About says what it is and where it is from.
	About string `json:"about"`
	Bytes int    `json:"bytes"`
	// Truncated is true if there was more than is here.
	Truncated bool `json:"truncated,omitempty"`
	// Error is why it is missing or not whole.
	Error  string `json:"error,omitempty"`
	Millis int64  `json:"millis"`
}
