// Package random makes clusters, edits of them and connections to ask about,
// and compares what the product does with each connection with the oracle.
//
// Everything random is drawn from a Choices: either a plain seed, for long runs
// that say their seed, or a rapid test, which shrinks a failing case to a small
// one. The sizes, labels, addresses and ports are few on purpose, so that
// selectors meet labels, blocks meet pods and rules contradict each other often.
package random
