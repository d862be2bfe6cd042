package api

import "time"

// Statuses of a Check.
const (
	CheckOK = "ok"
	// CheckWarn is a fault that does no harm yet, or not to all.
	CheckWarn = "warn"
	CheckFail = "fail"
	// CheckSkip is a check that does not apply, or could not be made.
	CheckSkip = "skip"
)

// CheckRequest says which checks to make: those of Only, or all if it is empty,
// without those of Skip.
type CheckRequest struct {
	Only []string `json:"only,omitempty"`
	Skip []string `json:"skip,omitempty"`
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	// Message is one line that names object and field, Hint how to mend what is
	// wrong.
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Details are the single faults, the first ones if there are many.
	Details []string `json:"details,omitempty"`
	// Millis is how long the check took, in milliseconds.
	Millis int64 `json:"millis"`
}

// CheckReport is what came of the checks of a node.
type CheckReport struct {
	Node string `json:"node"`
	// Version is the agent's.
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	Checks  []Check   `json:"checks"`
}

// Failed reports whether a check has failed.
func (r *CheckReport) Failed() bool {
	for _, c := range r.Checks {
		if c.Status == CheckFail {
			return true
		}
	}
	return false
}

// Progress is one line of an answer that takes a while: how far it is, or, in the
// last line, what came of it.
type Progress[T any] struct {
	Done   int    `json:"done"`
	All    int    `json:"all"`
	Result *T     `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// VerdictRequest asks to hold the bridge's verdicts against what policies say.
type VerdictRequest struct {
	// Max bounds the number of connections that are traced; zero means 2000. Of
	// more, as many are drawn at random, by Seed, each pair of ends equally often.
	// A Seed of zero is drawn too.
	Max  int    `json:"max,omitempty"`
	Seed uint64 `json:"seed,omitempty"`
	// Seconds bounds the time; zero means 60. What is not traced by then is left
	// out.
	Seconds int `json:"seconds,omitempty"`
}

// VerdictReport is what came of it.
type VerdictReport struct {
	Node string    `json:"node"`
	Time time.Time `json:"time"`
	Seed uint64    `json:"seed"`
	// Possible is how many connections there are to ask about, Traced how many
	// were.
	Possible int `json:"possible"`
	Traced   int `json:"traced"`
	// Unknown are ports left out because their pod is not known yet: their
	// isolation is no matter of policies.
	Unknown []string `json:"unknown,omitempty"`
	// TimeUp is true if the time was over before all was traced.
	TimeUp bool `json:"timeUp,omitempty"`
	// Differences are the first ones by chance if there are many, More how many
	// others there are.
	Differences []VerdictDifference `json:"differences"`
	More        int                 `json:"more,omitempty"`
}

// VerdictDifference is a connection on which bridge and policies do not agree.
type VerdictDifference struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port,omitempty"`
	Family   int    `json:"family"`
	// Bridge and Policies are "allowed" or "denied"; the reasons are in one line
	// each. Flow is the flow that decided on the bridge, with the object it is for.
	Bridge         string `json:"bridge"`
	BridgeReason   string `json:"bridgeReason"`
	Policies       string `json:"policies"`
	PoliciesReason string `json:"policiesReason"`
	Flow           string `json:"flow,omitempty"`
}
