package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report prints figures as tables in Markdown.
type report struct{ w io.Writer }

// quantity is a number with its unit.
type quantity struct {
	n    float64
	unit string // "s", "B" or what is counted
}

func seconds(d time.Duration) quantity { return quantity{d.Seconds(), "s"} }

func count[N int | uint64 | int64](n N) quantity { return quantity{float64(n), ""} }

func size[N int | uint64 | float64](n N) quantity { return quantity{float64(n), "B"} }

// String returns the quantity with three digits and a unit that fits.
func (q quantity) String() string {
	steps := []struct {
		per  float64
		unit string
	}{{1, q.unit}}
	switch q.unit {
	case "s":
		steps = []struct {
			per  float64
			unit string
		}{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}}
	case "B":
		steps = []struct {
			per  float64
			unit string
		}{{1e6, "MB"}, {1e3, "kB"}, {1, "B"}}
	}
	for i, s := range steps {
		v := q.n / s.per
		if v < 1 && i < len(steps)-1 {
			continue
		}
		text := fmt.Sprintf("%.3g", v)
		if v >= 100 || q.unit == "" {
			text = fmt.Sprintf("%.0f", v)
		}
		return strings.TrimSpace(text + " " + s.unit)
	}
	return ""
}

// machine says where and under what load the figures are taken.
func (r *report) machine() {
	load, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(load), " ")
	fmt.Fprintf(r.w, "%s, %s/%s, %d CPUs, load %s at the start, root: %v\n",
		time.Now().UTC().Format(time.RFC3339), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), first, os.Geteuid() == 0)
}

func (r *report) section(b benchmark) {
	fmt.Fprintf(r.w, "\n## %s: %s\n\n| figure | Sluice | reference | ratio |\n|---|---|---|---|\n", b.name, b.about)
}

// figure prints a figure that has no reference.
func (r *report) figure(what string, q quantity) { fmt.Fprintf(r.w, "| %s | %s | | |\n", what, q) }

// against prints a figure beside a reference.
func (r *report) against(what string, q, reference quantity, of string) {
	ratio := "-"
	if reference.n != 0 {
		ratio = fmt.Sprintf("%.3g", q.n/reference.n)
	}
	fmt.Fprintf(r.w, "| %s | %s | %s (%s) | %s |\n", what, q, reference, of, ratio)
}

// latencies prints the middle and the tail of some times beside those of a
// reference, which may be nil.
func (r *report) latencies(what string, took, reference times, of string) {
	for _, p := range []int{50, 99} {
		name := fmt.Sprintf("%s, p%d of %d", what, p, len(took))
		if reference == nil {
			r.figure(name, seconds(took.percentile(p)))
			continue
		}
		r.against(name, seconds(took.percentile(p)), seconds(reference.percentile(p)), of)
	}
}

// times are durations of the same thing.
type times []time.Duration

// percentile returns the smallest of the times that at least p percent of them
// do not exceed (the nearest-rank method); zero if there are none.
func (t times) percentile(p int) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[max(0, (len(t)*p+99)/100-1)]
}

// repeat takes the time of n calls.
func repeat(n int, f func(i int) error) (times, error) {
	var took times
	for i := range n {
		started := time.Now()
		if err := f(i); err != nil {
			return nil, err
		}
		took = append(took, time.Since(started))
	}
	return took, nil
}

// clock takes the time of one call.
func clock(f func() error) (time.Duration, error) {
	started := time.Now()
	err := f()
	return time.Since(started), err
}
