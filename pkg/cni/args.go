package cni

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// Args are the CNI_ARGS that a Kubernetes runtime passes.
type Args struct {
	PodNamespace     string // K8S_POD_NAMESPACE
	PodName          string // K8S_POD_NAME
	PodUID           string // K8S_POD_UID; empty with runtimes that do not pass it
	InfraContainerID string // K8S_POD_INFRA_CONTAINER_ID
}

// maxArgs bounds CNI_ARGS in bytes. Its values are two Kubernetes names of at
// most 253 characters, a UID and a container id.
const maxArgs = 4096

// The shapes of RFC 1123 names, as Kubernetes has them for namespaces and pods,
// and of what runtimes use for ids.
var (
	namespaceShape = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	podNameShape   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	idShape        = regexp.MustCompile(`^[a-zA-Z0-9_.\-]{0,253}$`)
)

// ParseArgs reads CNI_ARGS, "KEY=value;KEY=value". A key it does not know is an
// error unless IgnoreUnknown=1 is among the pairs (CNI conventions). Errors are
// *types.Error and name the key.
func ParseArgs(text string) (Args, error) {
	var (
		a             Args
		unknown       []string
		ignoreUnknown bool
	)
	if len(text) > maxArgs {
		return a, argsError("has %d bytes, at most %d are allowed", len(text), maxArgs)
	}
	for pair := range strings.SplitSeq(text, ";") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return a, argsError("%q is no KEY=value pair", pair)
		}
		var err error
		switch key {
		case "K8S_POD_NAMESPACE":
			err = setArg(&a.PodNamespace, key, value, namespaceShape)
		case "K8S_POD_NAME":
			err = setArg(&a.PodName, key, value, podNameShape)
		case "K8S_POD_UID":
			err = setArg(&a.PodUID, key, value, idShape)
		case "K8S_POD_INFRA_CONTAINER_ID":
			err = setArg(&a.InfraContainerID, key, value, idShape)
		case "IgnoreUnknown":
			ignoreUnknown, err = parseBool(key, value)
		default:
			unknown = append(unknown, key)
		}
		if err != nil {
			return a, err
		}
	}
	switch {
	case len(unknown) > 0 && !ignoreUnknown:
		return a, argsError("unknown keys %q without IgnoreUnknown=1", unknown)
	case a.PodNamespace == "":
		return a, argsError("K8S_POD_NAMESPACE is missing: Sluice attaches Kubernetes pods only")
	case a.PodName == "":
		return a, argsError("K8S_POD_NAME is missing: Sluice attaches Kubernetes pods only")
	}
	return a, nil
}

func setArg(field *string, key, value string, shape *regexp.Regexp) error {
	if !shape.MatchString(value) {
		return argsError("%s: %q is no valid value", key, value)
	}
	*field = value
	return nil
}

// parseBool takes what types.UnmarshallableBool takes.
func parseBool(key, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, argsError("%s: %q is neither true nor false", key, value)
}

func argsError(format string, args ...any) error {
	return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS: "+fmt.Sprintf(format, args...), "")
}
