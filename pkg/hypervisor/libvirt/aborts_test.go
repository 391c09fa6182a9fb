package libvirt

import (
	"errors"
	"testing"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestAbortsAreNotedForTheMigrationUnderWay(t *testing.T) {
	const guest, other = "guest", "other"
	var a aborts
	a.note(guest)
	first, second, stranger := a.watch(guest), a.watch(guest), a.watch(other)
	a.note(guest)
	late := a.watch(guest)
	if !a.forget(guest, first) || !a.forget(guest, second) {
		t.Error("an abort was missed")
	}
	if a.forget(guest, late) {
		t.Error("an abort counts for a migration that began after it")
	}
	if a.forget(other, stranger) {
		t.Error("an abort counts for another domain")
	}
	if len(a.running) != 0 {
		t.Errorf("%d domains are kept", len(a.running))
	}
}

func TestAsAborted(t *testing.T) {
	failed := lv.Error{Code: lv.ERR_OPERATION_FAILED, Domain: fromQEMU, Message: "job 'migration out' failed: Unable to write to socket"}
	died := lv.Error{Code: lv.ERR_INTERNAL_ERROR, Domain: fromQEMU, Message: "qemu unexpectedly closed the monitor"}
	tests := []struct {
		name    string
		err     error
		aborted bool
		want    hypervisor.Kind
	}{
		{"no error", nil, true, ""},
		{"failed without an abort", convert(opMigrate, failed), false, hypervisor.KindOther},
		{"failed by an abort", convert(opMigrate, failed), true, hypervisor.KindAborted},
		{"destination killed by an abort", convert(opMigrate, died), true, hypervisor.KindAborted},
		{"said to be aborted", convert(opMigrate, lv.Error{Code: lv.ERR_OPERATION_ABORTED}), true, hypervisor.KindAborted},
		{"connection lost after an abort", convert(opMigrate, lv.Error{Code: 1, Domain: lv.FROM_RPC}), true, hypervisor.KindConnectionLost},
		{"refused after an abort of another call", convert(opMigrate, lv.Error{Code: 55}), true, hypervisor.KindOperationInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := asAborted(test.err, test.aborted)
			if hypervisor.KindOf(got) != test.want {
				t.Errorf("kind is %q, want %q", hypervisor.KindOf(got), test.want)
			}
			var e *hypervisor.Error
			if errors.As(test.err, &e) && got.Error() != test.err.Error() {
				t.Errorf("the message became %q", got)
			}
		})
	}
}
