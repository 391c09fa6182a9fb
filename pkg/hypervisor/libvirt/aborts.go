package libvirt

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// aborts knows which migrations under way libvirt has agreed to abort. It tells
// an aborted migration from a failed one where the error does not: QEMU shuts
// the stream down before it notes that it is being cancelled, and where it is
// slow, its migration thread meets the broken stream in between and has failed.
// libvirt then reports no abort but what became of either end of the stream,
// for example "qemu unexpectedly closed the monitor: ... load of migration
// failed: Input/output error", which a destination that dies by itself looks
// like, too.
type aborts struct {
	mu sync.Mutex
	// running are the migrate calls in flight; there may be more than one of a
	// domain, as libvirt refuses the second only after a while.
	running map[string]map[*atomic.Bool]bool
}

// watch begins to note aborts of a domain's migration.
func (a *aborts) watch(uuid string) *atomic.Bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil {
		a.running = map[string]map[*atomic.Bool]bool{}
	}
	if a.running[uuid] == nil {
		a.running[uuid] = map[*atomic.Bool]bool{}
	}
	aborted := &atomic.Bool{}
	a.running[uuid][aborted] = true
	return aborted
}

// note notes an abort that libvirt has agreed to.
func (a *aborts) note(uuid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for aborted := range a.running[uuid] {
		aborted.Store(true)
	}
}

// forget ends what watch began and reports whether there was an abort.
func (a *aborts) forget(uuid string, aborted *atomic.Bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running[uuid], aborted)
	if len(a.running[uuid]) == 0 {
		delete(a.running, uuid)
	}
	return aborted.Load()
}

// asAborted makes what a migration that was aborted failed with an abort, where
// libvirt did not say anything more definite.
func asAborted(err error, aborted bool) error {
	e, ok := errors.AsType[*hypervisor.Error](err)
	if !ok || !aborted || e.Kind != hypervisor.KindOther {
		return err
	}
	named := *e
	named.Kind = hypervisor.KindAborted
	return &named
}
