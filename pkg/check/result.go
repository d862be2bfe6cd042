package check

import (
	"errors"
	"fmt"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// result is what a check has found.
type result struct {
	status, message, hint string
	details               []string
}

func ok(format string, args ...any) result {
	return result{status: api.CheckOK, message: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) result {
	return result{status: api.CheckSkip, message: fmt.Sprintf(format, args...)}
}

func warn(hint, format string, args ...any) result {
	return result{status: api.CheckWarn, message: fmt.Sprintf(format, args...), hint: hint}
}

func fail(hint, format string, args ...any) result {
	return result{status: api.CheckFail, message: fmt.Sprintf(format, args...), hint: hint}
}

// maxDetails bounds the faults that are listed one by one.
const maxDetails = 20

// with adds the single faults.
func (r result) with(details []string) result {
	if more := len(details) - maxDetails; more > 0 {
		details = append(details[:maxDetails:maxDetails], fmt.Sprintf("and %d more", more))
	}
	r.details = details
	return r
}

// fault makes a result of faults found: the first one is its message.
func fault(hint string, found []string) result {
	r := fail(hint, "%s", found[0])
	if len(found) > 1 {
		r.message = fmt.Sprintf("%s, and %d other faults", found[0], len(found)-1)
		r = r.with(found)
	}
	return r
}

// setup returns what the agent wants of the node, or the answer of a check that
// can't be made without.
func (c *Checker) setup() (Setup, *result) {
	s, err := c.cfg.Setup()
	if err == nil && s.Plan == nil {
		err = errors.New("it has not been tried yet")
	}
	if err != nil {
		r := skip("the node is not set up: %v", err)
		return s, &r
	}
	return s, nil
}
