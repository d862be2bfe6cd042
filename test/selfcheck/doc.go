// Package selfcheck tests sluice check and sluice support-bundle on a real node:
// each thing that can be broken is broken behind the agent's back, and has to be
// found.
package selfcheck
