// Package daemon starts processes that outlive the process that starts them, and
// ends them again.
//
// A daemon writes down who it is before it becomes the program it is to run, so
// there is never one that End does not know of, whenever the process that
// started it is killed:
//
//	Start ── fork ──> this program again (Main)
//	                     enter the network namespace and cgroups
//	                     write DIR/NAME.json: pid and start time
//	                     exec the program
//
// Only a process that has the written pid and the written start time is ever
// signalled: a pid that another process has by now is left alone.
package daemon
