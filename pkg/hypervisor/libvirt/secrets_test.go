package libvirt

import (
	"errors"
	"strings"
	"testing"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestSecretDriverIsToldFromTheConnection: virtqemud answers, and passes on that virtsecretd
// does not. Of a connection that it has lost it says so for ever.
func TestSecretDriverIsToldFromTheConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		err        error
		of, remade bool
	}{
		{"there is no virtsecretd", lv.Error{Code: lv.ERR_SYSTEM_ERROR, Domain: lv.FROM_RPC, Message: "Failed to connect socket to '/run/libvirt/virtsecretd-sock': No such file or directory"}, true, false},
		{"it has just died", lv.Error{Code: lv.ERR_SYSTEM_ERROR, Domain: lv.FROM_RPC, Message: "End of file while reading data: Input/output error"}, true, false},
		{"it died before", lv.Error{Code: lv.ERR_INTERNAL_ERROR, Domain: lv.FROM_RPC, Message: "internal error: client socket is closed"}, true, true},
		{"no such secret", lv.Error{Code: lv.ERR_NO_SECRET, Domain: lv.FROM_SECRET, Message: "Secret not found"}, false, false},
		{"libvirt does not take it", lv.Error{Code: lv.ERR_INTERNAL_ERROR, Domain: lv.FROM_SECRET, Message: "no space is left"}, false, false},
		{"anything else", errors.New("anything"), false, false},
	} {
		remade, got := ofSecretDriver("looking secrets up", c.err)
		if remade != c.remade {
			t.Errorf("%s: the connection is made anew: %t", c.name, remade)
		}
		if of := errors.Is(got, hypervisor.ErrNoSecretDriver); of != c.of {
			t.Errorf("%s: it is the secret driver's: %t", c.name, of)
		}
		if !c.of {
			continue
		}
		passed := convert("trying", got)
		if hypervisor.KindOf(passed) != hypervisor.KindOther || !errors.Is(passed, hypervisor.ErrNoSecretDriver) || !strings.HasPrefix(passed.Error(), "looking secrets up: ") {
			t.Errorf("%s: it comes as %v", c.name, passed)
		}
	}
}
