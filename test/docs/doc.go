// Package docs holds the documentation against the code: examples of
// configurations are read by the code that reads real ones, links lead
// somewhere, flows that are shown are in the golden file, traces that are shown are
// what is answered, and tests that are named exist.
package docs
