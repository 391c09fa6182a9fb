package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestMachineTypesAreReadOnce for each time that a guest runs.
func TestMachineTypesAreReadOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		host := w.fleet.Host("node-a")
		n, m := w.a.node, &machineTypes{}
		read := func(want string, calls int, domains ...hypervisor.Domain) {
			t.Helper()
			before := host.Count(fake.MethodMachineType, "")
			if got := m.read(t.Context(), n, domains, nil)[guestUUID]; got != want {
				t.Errorf("it is %q, want %q", got, want)
			}
			if n := host.Count(fake.MethodMachineType, "") - before; n != calls {
				t.Errorf("libvirt was asked %d times, want %d", n, calls)
			}
		}
		guest := hypervisor.Domain{UUID: guestUUID, ID: 1, State: hypervisor.StateRunning}
		again, off := guest, guest
		again.ID = 2
		off.ID, off.State = 0, hypervisor.StateShutoff
		read("pc-i440fx-7.2", 1, guest)
		read("pc-i440fx-7.2", 0, guest)
		read("pc-i440fx-7.2", 1, again)
		read("", 0, off)
		host.FailNext(fake.MethodMachineType, errors.New("no"))
		read("", 1, guest)
		read("", 0, guest)
		time.Sleep(machineTypeRetry)
		if got := m.read(t.Context(), n, []hypervisor.Domain{guest}, map[string]bool{guestUUID: true}); len(got) != 0 {
			t.Errorf("of a guest that is stuck, it is %v", got)
		}
		read("pc-i440fx-7.2", 1, guest)
		if len(m.known) != 1 {
			t.Errorf("%d are kept", len(m.known))
		}
	})
}
