package applyconv

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestUndeclared(t *testing.T) {
	t.Parallel()
	answer := func(message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Message: message, Code: http.StatusInternalServerError}}
	}
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"no error":             {nil, nil},
		"another":              {answer("etcdserver: request timed out"), nil},
		"not the API server's": {errors.New(".status.host: field not declared in schema"), nil},
		"one, as Kubernetes 1.37 tells of it": {
			answer("failed to create typed patch object (/node-a; migration.virtferry.dev/v1alpha1, Kind=Hypervisor): .status.host: field not declared in schema"),
			[]string{".status.host"},
		},
		"several": {
			fmt.Errorf("applying: %w", answer("failed to create typed patch object (ns/m; migration.virtferry.dev/v1alpha1, Kind=LiveMigration): errors:\n"+
				"  .status.source.knownFaults: field not declared in schema\n  .status.host: field not declared in schema\n  .status.host: field not declared in schema")),
			[]string{".status.host", ".status.source.knownFaults"},
		},
	} {
		if got := Undeclared(tt.err); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q", name, got)
		}
		explained := Explain(tt.err)
		if errors.Is(explained, ErrOlderCRDs) != (tt.want != nil) || !errors.Is(explained, tt.err) {
			t.Errorf("%s: got %v", name, explained)
		}
	}
}
