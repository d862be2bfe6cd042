package suite

import (
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// State is how a test has ended.
type State string

const (
	Passed  State = "passed"
	Failed  State = "failed" // also what panicked, took too long or was interrupted
	Skipped State = "skipped"
	// Unreached is what was to be run, but the suite ended before it.
	Unreached State = "not reached"
)

// Result is what has come of one test.
type Result struct {
	Test  string
	State State
	Took  time.Duration
	// Reason says why it was skipped, or how it failed.
	Reason string
}

// The parts of a JUnit report, as ginkgo writes it.
type (
	junitSuites struct {
		Suites []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Cases []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Status  string        `xml:"status,attr"`
		Seconds float64       `xml:"time,attr"`
		Skipped *junitMessage `xml:"skipped"`
		Failure *junitMessage `xml:"failure"`
		Error   *junitMessage `xml:"error"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// isTest begins the name of a test, other than that of what is run before or
// after all of them.
const isTest = "[It] "

// notChosen is the message of tests that were skipped because they were not
// chosen; that of others goes on with a reason.
const notChosen = "skipped"

// parse reads the results of a set's tests from a JUnit report. Tests of other
// sets are left out.
func parse(r io.Reader, set Set, exclusions []exclusion) ([]Result, error) {
	var report junitSuites
	if err := xml.NewDecoder(r).Decode(&report); err != nil {
		return nil, fmt.Errorf("read the report of %s: %w", set.Name, err)
	}
	focus, err := regexp.Compile(set.Focus)
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", set.Name, err)
	}
	var results []Result
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			name, ok := strings.CutPrefix(c.Name, isTest)
			if !ok {
				// What surrounds the tests is told only if it fails.
				if c.Failure != nil || c.Error != nil {
					results = append(results, c.result(c.Name))
				}
				continue
			}
			if focus.MatchString(name) {
				results = append(results, c.result(name))
			}
		}
	}
	for i := range results {
		r := &results[i]
		if r.State != Skipped || r.Reason != "" {
			continue
		}
		if r.Reason = reason(exclusions, r.Test); r.Reason == "" {
			r.State, r.Reason = Unreached, "the suite ended before it"
		}
	}
	slices.SortFunc(results, func(a, b Result) int { return strings.Compare(a.Test, b.Test) })
	return results, nil
}

func (c junitCase) result(name string) Result {
	r := Result{Test: name, State: Passed, Took: time.Duration(c.Seconds * float64(time.Second))}
	switch {
	case c.Failure != nil:
		r.State, r.Reason = Failed, c.Failure.first()
	case c.Error != nil:
		r.State, r.Reason = Failed, c.Error.first()
	case c.Skipped != nil:
		r.State, r.Reason = Skipped, strings.TrimPrefix(strings.TrimPrefix(c.Skipped.Message, notChosen), " - ")
	}
	return r
}

// first is the first line of what a failure says.
func (m *junitMessage) first() string {
	text := m.Message
	if text == "" {
		text = m.Text
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
