package fake

import (
	"maps"
	"sync"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// hang holds the calls of one method up.
type hang struct {
	// calls are what the calls do once the hang is over.
	calls []func()
}

// FailNext makes the next calls of a method fail, with one of the errors each,
// and without effect; nil lets one succeed. Error makes such errors.
func (h *Host) FailNext(method Method, errs ...error) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.failures[method] = append(h.failures[method], errs...)
}

// Hang makes calls of a method hang until the function that it returns is
// called. A call whose caller gave up meanwhile still takes effect then, as an
// abandoned call to libvirt does.
func (h *Host) Hang(method Method) (release func()) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	stuck := h.hangs[method]
	if stuck == nil {
		stuck = &hang{}
		h.hangs[method] = stuck
	}
	return sync.OnceFunc(func() {
		h.fleet.mu.Lock()
		defer h.fleet.mu.Unlock()
		if h.hangs[method] == stuck {
			delete(h.hangs, method)
		}
		for _, call := range stuck.calls {
			call()
		}
		stuck.calls = nil
	})
}

// Wedge makes all calls about a domain hang until the function that it returns is
// called, and listing the domains with them: libvirt looks at each domain for that.
// Calls about other domains, and about the host, go on.
func (h *Host) Wedge(uuid string) (release func()) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	stuck := &hang{}
	h.wedges[uuid] = stuck
	return sync.OnceFunc(func() {
		h.fleet.mu.Lock()
		defer h.fleet.mu.Unlock()
		delete(h.wedges, uuid)
		for _, call := range stuck.calls {
			call()
		}
	})
}

// stuck returns what holds a call up, or nil. The fleet's mutex is held.
func (h *Host) stuck(call *Call) *hang {
	if stuck := h.hangs[call.Method]; stuck != nil {
		return stuck
	}
	if stuck := h.wedges[call.UUID]; stuck != nil {
		return stuck
	}
	if call.Method == MethodListDomains {
		for _, stuck := range h.wedges {
			return stuck
		}
	}
	return nil
}

// Hanging returns how many calls of a method hang, whether or not their callers
// are still there.
func (h *Host) Hanging(method Method) int {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if stuck := h.hangs[method]; stuck != nil {
		return len(stuck.calls)
	}
	return 0
}

// SetLatency makes every call take so much longer, in the fleet's time.
func (h *Host) SetLatency(latency time.Duration) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.latency = latency
}

// DropEvents makes the host lose all further events, or no more. Nobody is told.
func (h *Host) DropEvents(drop bool) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.dropping = drop
}

// Disconnect breaks the connection to the host: calls in flight and further
// ones fail with KindConnectionLost, and events are lost. Migrations go on.
func (h *Host) Disconnect() {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.disconnect()
}

func (h *Host) disconnect() {
	if h.connected {
		h.connected = false
		close(h.lost)
	}
}

// Reconnect undoes Disconnect. Subscribers receive an EventResync.
func (h *Host) Reconnect() {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if h.connected || h.fleet.closed {
		return
	}
	if h.down {
		h.countAnew()
		maps.DeleteFunc(h.secrets, func(_ hypervisor.SecretName, s *secret) bool { return !s.own })
	}
	h.connected, h.down = true, false
	h.lost = make(chan struct{})
	h.publish(hypervisor.Event{Type: hypervisor.EventResync})
}

// LoseConnection breaks the connection to the host for a moment: calls in
// flight fail with KindConnectionLost, and subscribers receive an EventResync.
// Migrations go on.
func (h *Host) LoseConnection() {
	h.Disconnect()
	h.Reconnect()
}

// KillDaemon kills the host's libvirt daemon; Reconnect starts it again. Guests
// live on. Migrations from here and to here end: before the guest has switched
// sides the source goes on with it and the destination's half is gone; after
// that, the guest has moved, and the source keeps its definition whatever was
// asked for. In post-copy the guest moves unattended, with the same end; until
// then the source shows ReasonPostcopyFailed where it was the destination's
// daemon that was killed. Statistics of past jobs are lost.
func (h *Host) KillDaemon() {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	for m := range h.fleet.migrations {
		switch {
		case m.inPostCopy() && m.source == h:
			m.postCopy.unattended = true
		case m.inPostCopy() && m.target == h:
			m.loseSupervision()
		case m.source == h && m.stage >= StageSwitched:
			m.script.Ending = EndsSourceKept
		}
		if m.source == h || m.target == h {
			m.interrupt(cause{ending: endsDaemonKilled, daemon: h})
		}
	}
	for _, d := range h.domains {
		d.completed = hypervisor.JobStats{}
	}
	h.down = true
	h.workers.kill()
	h.workers = newWorkers(h.fleet)
	h.disconnect()
}
