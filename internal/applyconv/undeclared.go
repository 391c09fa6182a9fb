package applyconv

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ErrOlderCRDs says that the cluster's CRDs lack what this program writes, and what helps.
var ErrOlderCRDs = errors.New("the cluster's CRDs are older than this program; apply those of its version")

// undeclared is how the API server names a field that it does not know. It has no reason for
// that: the status of its answer is 500.
var undeclared = regexp.MustCompile(`(\.[^\s:]+): field not declared in schema`)

// Undeclared returns the fields, such as ".status.host", that the error of a server-side apply
// says are in no schema; none of another error.
func Undeclared(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil
	}
	var fields []string
	for _, match := range undeclared.FindAllStringSubmatch(status.Status().Message, -1) {
		fields = append(fields, match[1])
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// Explain returns the error of a server-side apply with what helps if the CRDs are to blame.
func Explain(err error) error {
	if len(Undeclared(err)) == 0 {
		return err
	}
	return fmt.Errorf("%w: %w", ErrOlderCRDs, err)
}
