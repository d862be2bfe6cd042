package policy

import (
	"fmt"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Problem is input of a policy that can't be used. The rule it stands in matches
// nothing; the policy still isolates.
type Problem struct {
	Policy cluster.Key
	// Field is the path of the offending field, such as
	// "spec.ingress[0].from[1].ipBlock.except[0]".
	Field string
	// Message says what is wrong with the field's value.
	Message string
}

// String returns the problem as one line.
func (p Problem) String() string {
	return fmt.Sprintf("NetworkPolicy %s: %s: %s", p.Policy, p.Field, p.Message)
}
