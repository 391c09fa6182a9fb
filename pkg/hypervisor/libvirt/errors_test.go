package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const fromQEMU = lv.ErrorDomain(10)

func TestConvertSortsErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want hypervisor.Kind
	}{
		{"unknown domain", lv.Error{Code: 42, Domain: fromQEMU}, hypervisor.KindNoDomain},
		{"aborted job", lv.Error{Code: 78, Domain: fromQEMU}, hypervisor.KindAborted},
		{"unsafe migration", lv.Error{Code: 81, Domain: fromQEMU}, hypervisor.KindUnsafe},
		{"changed definition", lv.Error{Code: 67, Domain: 24}, hypervisor.KindConfigUnsupported},
		{"malformed definition", lv.Error{Code: 35}, hypervisor.KindConfigUnsupported},
		{"incompatible processor", lv.Error{Code: 91}, hypervisor.KindConfigUnsupported},
		{"wrong state", lv.Error{Code: 55, Domain: fromQEMU}, hypervisor.KindOperationInvalid},
		{"lock not acquired", lv.Error{Code: 68, Domain: fromQEMU}, hypervisor.KindBusy},
		{"resource busy", lv.Error{Code: 87}, hypervisor.KindBusy},
		{"socket closed, as a system error", lv.Error{Code: 38, Domain: lv.FROM_RPC}, hypervisor.KindConnectionLost},
		{"socket closed, as an internal error", lv.Error{Code: 1, Domain: lv.FROM_RPC}, hypervisor.KindConnectionLost},
		{"whatever the RPC code says", lv.Error{Code: 55, Domain: lv.FROM_RPC}, hypervisor.KindConnectionLost},
		{"closed connection", lv.Error{Code: 6}, hypervisor.KindConnectionLost},
		{"operation failed", lv.Error{Code: 9, Domain: fromQEMU}, hypervisor.KindOther},
		{"internal error", lv.Error{Code: 1, Domain: fromQEMU}, hypervisor.KindOther},
		{"wrapped", fmt.Errorf("outer: %w", lv.Error{Code: 42}), hypervisor.KindNoDomain},
		{"no connection", &notConnectedError{lv.Error{Code: 45}}, hypervisor.KindConnectionLost},
		{"client closed before the call", &notConnectedError{errPoolClosed}, hypervisor.KindConnectionLost},
		{"deadline while connecting", &notConnectedError{errDeadline}, hypervisor.KindTimeout},
		{"deadline", errDeadline, hypervisor.KindTimeout},
		{"caller's deadline", context.DeadlineExceeded, hypervisor.KindTimeout},
		{"too many hung calls", errManyHung, hypervisor.KindTimeout},
		{"canceled", context.Canceled, hypervisor.KindCanceled},
		{"client closed during the call", errClosing, hypervisor.KindCanceled},
		{"anything else", errors.New("anything"), hypervisor.KindOther},
		{"converted before", fault("other", hypervisor.KindBusy, "busy"), hypervisor.KindBusy},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := convert("trying", test.err)
			if hypervisor.KindOf(got) != test.want {
				t.Errorf("kind is %q, want %q", hypervisor.KindOf(got), test.want)
			}
			var e *hypervisor.Error
			if !errors.As(got, &e) {
				t.Fatalf("error is a %T", got)
			}
			if libvirt := (lv.Error{}); errors.As(test.err, &libvirt) && (e.Code != int(libvirt.Code) || e.Domain != int(libvirt.Domain)) {
				t.Errorf("numbers are %d and %d", e.Code, e.Domain)
			}
		})
	}
	if convert("trying", nil) != nil {
		t.Error("no error became one")
	}
}

func TestConvertKeepsDefinitionsSecret(t *testing.T) {
	err := convert("migrating", lv.Error{Code: 35, Message: "(domain_definition):1: bad\nasswd='sesame'><graphics/>\n----^"})
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		if strings.Contains(text, "sesame") || strings.Contains(text, "graphics") {
			t.Errorf("the definition shows in %q", text)
		}
	}
	if errors.Unwrap(err) != nil {
		t.Errorf("the cause is kept: %v", errors.Unwrap(err))
	}
	if want := "migrating: (domain_definition):1: bad"; err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
}

func TestSanitize(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{" two\nlines\t", "two lines"},
		{"before <after", "before"},
		{"<all", "unspecified error"},
		{"", "unspecified error"},
		{"a\x00b", "a b"},
		{strings.Repeat("x", maxMessage), strings.Repeat("x", maxMessage)},
		{strings.Repeat("x", maxMessage+1), strings.Repeat("x", maxMessage) + "..."},
		{strings.Repeat("x", maxMessage-1) + "é", strings.Repeat("x", maxMessage-1) + "..."},
	}
	for _, test := range tests {
		if got := sanitize(test.in); got != test.want {
			t.Errorf("sanitize(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}
