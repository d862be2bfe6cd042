package service

import (
	"fmt"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Problem is a part of a Service that is not in force.
type Problem struct {
	Service cluster.Key
	// Field is the path of the field at fault, such as "spec.externalIPs".
	Field string
	// Message says what is wrong with it.
	Message string
}

// String returns the problem as one line.
func (p Problem) String() string {
	return fmt.Sprintf("Service %s: %s: %s", p.Service, p.Field, p.Message)
}
