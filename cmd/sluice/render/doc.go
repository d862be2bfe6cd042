// Package render lays out for people what the other packages find out: tables,
// the way of a packet, matrices of verdicts. It decides nothing, and its output
// is the same for the same input.
package render
