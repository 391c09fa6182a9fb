package fake

import (
	"context"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// postCopy is the post-copy phase of a migration.
type postCopy struct {
	// wanted is whether the switch was asked for, and active whether it was made.
	wanted, active bool
	// unplugged is whether the phase is to break, and broken whether it has.
	unplugged, broken bool
	// lost is whether the destination's emulator has died: nothing brings the
	// guest back.
	lost bool
	// unattended is whether libvirt no longer follows the phase: both emulators
	// go on by themselves.
	unattended bool
}

// requestedBytes is how much of what is sent in post-copy was waited for: one
// page in each so many bytes.
const requestedBytes = 1 << 20

// runPostCopy switches to post-copy and sends what is left, however often that
// breaks. Nothing is ever rolled back.
func (m *migration) runPostCopy() bool {
	from := m.source.domains[m.uuid]
	left := m.passBytes - m.passSent + m.written()
	m.suspend(from)
	m.stage, m.postCopy.active = stageSwitching, true
	from.state, from.reason, from.partial = hypervisor.StatePaused, hypervisor.ReasonPostcopy, true
	m.source.emit(m.uuid, hypervisor.LifecycleSuspended, hypervisor.DetailPostcopy)
	m.bandwidth = m.fleet.bandwidth
	m.beginPass(left)
	// The destination looks like any incoming half until here.
	if !m.sleep(switchTime) {
		return false
	}
	m.downtime += switchTime
	// The destination has a worker wait for the rest of the memory.
	if !m.awaitTarget() {
		return false
	}
	if m.halfGone() {
		m.postCopy.lost, m.postCopy.unplugged = true, true
	} else {
		m.define()
		m.carry()
		m.resumeHalf(hypervisor.ReasonPostcopy, hypervisor.DetailPostcopy)
	}
	if !m.reach(StagePostCopy) || !m.sendRest() {
		return false
	}
	m.vacate()
	m.half.in, m.half.partial = nil, false
	if m.suspended {
		m.resumeHalf(hypervisor.ReasonMigrated, hypervisor.DetailMigrated)
	} else {
		m.resumeHalf(hypervisor.ReasonUser, "")
	}
	if m.script.Ending == EndsUnheard && !m.awaitTheWord() {
		return false
	}
	return m.reach(StageSwitched) && m.sleep(reapTime)
}

// awaitTheWord has the source wait for a word that does not come.
func (m *migration) awaitTheWord() bool {
	m.loseSupervision()
	for m.idle() {
	}
	return false
}

// sendRest sends the pass that is left, however often that breaks.
func (m *migration) sendRest() bool {
	p, breakAt := &m.postCopy, m.passBytes
	if m.script.Ending == EndsPostCopyBroken || m.script.Ending == EndsGuestLost {
		breakAt /= 2
	}
	for m.passSent < m.passBytes {
		if !p.unplugged && !m.copyPass(breakAt, func() bool { return p.unplugged }) {
			return false
		}
		if m.passSent >= breakAt && breakAt < m.passBytes {
			p.lost = m.script.Ending == EndsGuestLost
			breakAt, p.unplugged = m.passBytes, true
		}
		if p.unplugged && !m.awaitRecovery() {
			return false
		}
	}
	return true
}

// resumeHalf makes the guest run at the destination, or says why it does now. A
// guest that its user had paused stays so.
func (m *migration) resumeHalf(reason hypervisor.Reason, detail string) {
	if m.halfGone() {
		return
	}
	m.half.reason = reason
	if m.suspended {
		m.half.state = hypervisor.StateRunning
		m.target.emit(m.uuid, hypervisor.LifecycleResumed, detail)
	}
}

// halfGone reports whether the destination has no guest any more.
func (m *migration) halfGone() bool {
	return m.target.domains[m.uuid] != m.half || !m.half.active()
}

// awaitRecovery breaks the phase and waits until it is taken up again.
func (m *migration) awaitRecovery() bool {
	p := &m.postCopy
	p.broken = true
	m.vacate()
	m.source.domains[m.uuid].reason = hypervisor.ReasonPostcopyFailed
	m.source.emit(m.uuid, hypervisor.LifecycleSuspended, hypervisor.DetailPostcopyFailed)
	if p.lost {
		m.half.in = nil
		if !m.halfGone() {
			m.target.emit(m.uuid, hypervisor.LifecycleStopped, hypervisor.DetailFailed)
			m.target.end(m.half, hypervisor.ReasonCrashed)
		}
		m.answer(failed("operation failed: domain is not running"))
	} else {
		m.resumeHalf(hypervisor.ReasonPostcopyFailed, hypervisor.DetailPostcopyFailed)
		m.answer(failed("operation failed: job 'migration in' failed in post-copy phase"))
	}
	for p.broken {
		if !m.idle() {
			return false
		}
	}
	m.occupy()
	if !m.sleep(setupTime) {
		return false
	}
	m.source.domains[m.uuid].reason = hypervisor.ReasonPostcopy
	m.source.emit(m.uuid, hypervisor.LifecycleSuspended, hypervisor.DetailPostcopy)
	m.resumeHalf(hypervisor.ReasonPostcopy, hypervisor.DetailPostcopy)
	return !m.over()
}

// idle waits until something changes.
func (m *migration) idle() bool {
	if m.over() {
		return false
	}
	m.fleet.mu.Unlock()
	<-m.wake
	m.fleet.mu.Lock()
	return !m.over()
}

// BreakPostCopy breaks the post-copy phase of a domain's migration, as a network
// does between the two emulators: it stays broken until RecoverPostCopy is
// called, or for ever. Before that phase it has no effect.
func (f *Fleet) BreakPostCopy(uuid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.migrations {
		if m.uuid == uuid && m.inPostCopy() {
			m.count()
			m.postCopy.unplugged = true
			m.change()
		}
	}
}

// LoseSupervision makes the two libvirts of a migration in its post-copy phase
// lose each other, while the memory's stream survives: Migrate fails with
// KindPeerLost and the source shows ReasonPostcopyFailed, but the phase
// goes on to its end, after which the source keeps its definition.
func (f *Fleet) LoseSupervision(uuid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.migrations {
		if m.uuid == uuid && m.inPostCopy() {
			m.loseSupervision()
		}
	}
}

// inPostCopy reports whether the migration has switched to post-copy and still
// has memory to send.
func (m *migration) inPostCopy() bool {
	return m.postCopy.active && m.stage < StageSwitched && !m.finished
}

func (m *migration) loseSupervision() {
	m.postCopy.unattended = true
	from := m.source.domains[m.uuid]
	if from.reason == hypervisor.ReasonPostcopy {
		from.reason = hypervisor.ReasonPostcopyFailed
		m.source.emit(m.uuid, hypervisor.LifecycleSuspended, hypervisor.DetailPostcopyFailed)
	}
	m.answer(peerLost())
}

// RecoverPostCopy implements hypervisor.Migrator.
func (h *Host) RecoverPostCopy(ctx context.Context, uuid string, params hypervisor.MigrateParams) error {
	return h.ride(ctx, &Call{Method: MethodRecoverPostCopy, UUID: uuid, Params: params}, func() (*migrateCall, error) {
		const method = MethodRecoverPostCopy
		d := h.domains[uuid]
		switch {
		case params.DestinationURI == "":
			return nil, fault(method, hypervisor.KindOther, "a recovery needs a destination URI")
		case d == nil:
			return nil, noDomain(method, uuid)
		case d.out == nil || !d.active():
			return nil, refused(method, hypervisor.ErrNoJob)
		case !d.out.inPostCopy():
			return nil, refused(method, hypervisor.ErrNotInPostCopy)
		case d.reason == hypervisor.ReasonPostcopy:
			return nil, refused(method, hypervisor.ErrPostCopyRuns)
		case !d.out.postCopy.broken:
			return nil, fault(method, hypervisor.KindOperationInvalid,
				"Requested operation is not valid: QEMU reports migration is still running")
		case d.out.postCopy.lost:
			return nil, fault(method, hypervisor.KindOperationInvalid,
				"Requested operation is not valid: domain '"+d.guest.Name+"' is not processing incoming migration")
		case h.fleet.apart(h, d.out.target):
			return nil, unreachable(method)
		case h.fleet.resolve(params.DestinationURI) != d.out.target || d.out.target.down:
			return nil, fault(method, hypervisor.KindPeerLost, "unable to connect to server: Connection refused")
		}
		m := d.out
		m.call = newMigrateCall()
		m.postCopy.broken, m.postCopy.unplugged = false, false
		m.change()
		return m.call, nil
	})
}
