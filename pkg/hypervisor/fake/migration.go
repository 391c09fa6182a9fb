package fake

import (
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const pageBytes = 4096

// migration moves one guest. Its goroutine and everybody else touch it with
// the fleet's mutex held.
type migration struct {
	fleet          *Fleet
	source, target *Host
	uuid           string
	params         hypervisor.MigrateParams
	script         Script

	stage Stage
	begun time.Time
	// half is the destination's domain once it exists, and before what the
	// destination had under the same UUID.
	half, before *domain
	// suspended is whether the guest was stopped by the migration, or in the
	// middle of it by a user, which is the same to libvirt.
	suspended bool

	bandwidth   uint64
	maxDowntime time.Duration
	// pass counts the passes over the memory. Of the bytes in the present one,
	// those sent until counted are in passSent.
	pass                uint64
	passBytes, passSent uint64
	counted             time.Time
	copying             bool
	// dirtied is what the guest has written to during the pass, which took
	// passTime until counted, as long as what was sent should have taken: what
	// timers add in real time is no time to it.
	dirtied   float64
	passTime  time.Duration
	sent      uint64
	dirtyRate uint64
	// expected is how long the guest would have to stop for what is left, and
	// downtime how long it was stopped.
	expected, downtime time.Duration
	throttle           throttle
	postCopy           postCopy
	// stalled is whether the two hosts do not reach each other.
	stalled bool

	cancelled, finished bool
	// wake interrupts what the goroutine waits for.
	wake chan struct{}
	// call is the migrate call in flight, if there is one.
	call *migrateCall
	// atTarget is what the source's daemon has the destination's do, if it does.
	atTarget *request
}

// migrateCall is a call of Migrate, or of RecoverPostCopy, on a migration.
type migrateCall struct {
	done chan struct{}
	err  error
	// worker is the request whose worker the call holds.
	worker *request
}

func newMigrateCall() *migrateCall { return &migrateCall{done: make(chan struct{})} }

// answer makes the call in flight return.
func (m *migration) answer(err error) {
	if m.call == nil {
		return
	}
	m.call.err = err
	close(m.call.done)
	m.call.worker.finish()
	m.call = nil
}

// start starts the goroutine.
func (m *migration) start() {
	m.fleet.migrations[m] = true
	m.fleet.running.Go(m.run)
}

func (m *migration) run() {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	for _, step := range []func() bool{m.prepare, m.copy, m.leave, m.complete} {
		if !step() {
			break
		}
	}
	if m.finished {
		return
	}
	// Only an abort ends the steps with the migration unfinished.
	m.rest(teardownTime)
	if !m.finished {
		m.settle(cause{ending: endsAborted})
	}
}

// over reports whether the steps have to end.
func (m *migration) over() bool { return m.finished || m.cancelled }

// change makes the goroutine look again.
func (m *migration) change() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// cancel aborts the migration.
func (m *migration) cancel() {
	m.cancelled = true
	m.change()
}

// wait lets so much of the fleet's time pass, or less if something changes. It
// reports whether the migration goes on.
func (m *migration) wait(length time.Duration) bool {
	if m.over() {
		return false
	}
	m.fleet.mu.Unlock()
	// Some time has to pass for the least of lengths too.
	timer := time.NewTimer(max(m.fleet.real(length), time.Microsecond))
	select {
	case <-timer.C:
	case <-m.wake:
		timer.Stop()
	}
	m.fleet.mu.Lock()
	return !m.over()
}

// sleep is wait for all of the time.
func (m *migration) sleep(length time.Duration) bool {
	begin := time.Now()
	for left := length; left > 0; left = length - m.fleet.since(begin) {
		if !m.wait(left) {
			return false
		}
	}
	return !m.over()
}

// rest is sleep for a migration that is over.
func (m *migration) rest(length time.Duration) {
	m.fleet.mu.Unlock()
	time.Sleep(m.fleet.real(length))
	m.fleet.mu.Lock()
}

// reach enters a stage and waits at its gate.
func (m *migration) reach(stage Stage) bool {
	m.stage = stage
	m.fleet.onStage(m.uuid, stage)
	key := gateKey{m.uuid, stage}
	gate := m.fleet.gates[key]
	if gate == nil {
		return !m.over()
	}
	delete(m.fleet.gates, key)
	gate.reach()
	for released := false; !released && !m.over(); {
		m.fleet.mu.Unlock()
		select {
		case <-gate.released:
			released = true
		case <-m.wake:
		}
		m.fleet.mu.Lock()
	}
	return !m.over()
}

// prepare makes the destination's half.
func (m *migration) prepare() bool {
	if !m.reach(StagePreparing) {
		return false
	}
	m.occupy()
	defer m.vacate()
	if !m.sleep(prepareTime) {
		return false
	}
	from := m.source.domains[m.uuid]
	m.before = m.target.domains[m.uuid]
	if m.before != nil && m.before.active() {
		m.finish(alreadyActive(m.before))
		return false
	}
	half := &domain{
		id: m.target.newRun(), guest: from.guest, state: hypervisor.StatePaused, reason: hypervisor.ReasonMigration,
		live: m.params.LiveXML, in: m, boot: from.boot, partial: true, maxDowntime: defaultMaxDowntime,
	}
	if m.before != nil {
		half.persistent, half.inactive = m.before.persistent, m.before.inactive
	}
	m.half = half
	m.target.domains[m.uuid] = half
	m.target.emit(m.uuid, hypervisor.LifecycleStarted, "Migrated")
	return m.sleep(setupTime)
}

// copy goes through passes until what is left fits into the downtime, or until
// post-copy is asked for.
func (m *migration) copy() bool {
	m.beginPass(m.source.domains[m.uuid].guest.MemoryBytes)
	if !m.reach(StageCopying) {
		return false
	}
	for {
		if !m.copyPass(m.passBytes, m.mayTurn) {
			return false
		}
		if m.postCopy.wanted {
			return true
		}
		if !m.script.Ending.atSwitch() && m.pass >= m.script.AfterPass {
			m.settle(cause{ending: m.script.Ending})
			return false
		}
		dirtied, left := m.written(), m.passBytes-m.passSent
		if m.source.domains[m.uuid].state == hypervisor.StateRunning {
			// As QEMU has it: what is written twice counts once.
			m.dirtyRate = uint64(float64(dirtied) / m.passTime.Seconds())
			m.throttle.adjust(m.params.AutoConverge, dirtied, m.passSent)
		}
		m.beginPass(left + dirtied)
		m.expected = m.timeFor(m.passBytes)
		if m.fits(m.passBytes) {
			break
		}
	}
	if !m.script.Ending.atSwitch() {
		m.settle(cause{ending: m.script.Ending})
		return false
	}
	return true
}

// mayTurn reports whether a pass may end before all of it is sent: for the
// switch to post-copy, or because the limits have changed so that what is left
// fits into the downtime now.
func (m *migration) mayTurn() bool {
	return m.postCopy.wanted || m.pass > 1 && m.fits(m.passBytes-m.passSent+m.written())
}

// fits reports whether so much can be sent within the downtime that is allowed, as QEMU
// reckons: as fast as before, unless it was told otherwise.
func (m *migration) fits(bytes uint64) bool {
	if told := m.params.Transfer.SwitchoverBandwidthMiBps << 20; told != 0 {
		return float64(bytes) <= float64(told)*m.maxDowntime.Seconds()
	}
	return m.timeFor(bytes) <= m.maxDowntime
}

func (m *migration) beginPass(bytes uint64) {
	m.pass++
	m.passBytes, m.passSent, m.dirtied, m.passTime = bytes, 0, 0, 0
	m.source.publish(hypervisor.Event{Type: hypervisor.EventIteration, UUID: m.uuid, Iteration: m.pass})
}

// copyPass sends a pass up to so many bytes, at a bandwidth that may change
// meanwhile, or what of it is sent by the time that turn is true.
func (m *migration) copyPass(upTo uint64, turn func() bool) bool {
	m.copying = true
	defer func() { m.copying = false }()
	m.counted = time.Now()
	// The last page is not worth a wait.
	for m.passSent+pageBytes < upTo {
		if m.over() {
			return false
		}
		if m.stalled {
			if !m.idle() {
				return false
			}
			m.counted = time.Now()
			continue
		}
		if turn() {
			return true
		}
		if !m.wait(m.timeFor(upTo - m.passSent)) {
			return false
		}
		m.count()
	}
	m.add(upTo - min(m.passSent, upTo))
	return !m.over()
}

// never is for a pass that does not end before all of it is sent.
func never() bool { return false }

// count notes what was sent until now. It comes before whatever changes how
// much is sent, or written, from now on.
func (m *migration) count() {
	m.add(m.sentNow() - m.passSent)
	m.counted = time.Now()
}

func (m *migration) add(bytes uint64) {
	m.sent += bytes
	m.passSent += bytes
	took := m.timeFor(bytes)
	m.passTime += took
	if from := m.source.domains[m.uuid]; from != nil && from.state == hypervisor.StateRunning {
		m.dirtied += float64(m.effectiveDirtyRate()) * took.Seconds()
	} else if m.suspended && !m.postCopy.active {
		m.downtime += took
	}
}

// written returns what the guest has written to in the pass: it writes to the
// same memory again and again.
func (m *migration) written() uint64 {
	return min(uint64(m.dirtied), m.half.guest.WorkingSetBytes)
}

// effectiveDirtyRate is how fast the guest writes, slowed down as it is.
func (m *migration) effectiveDirtyRate() uint64 {
	return m.source.domains[m.uuid].guest.DirtyBytesPerSecond * (100 - m.throttle.percent) / 100
}

// sentNow returns what of the pass has been sent.
func (m *migration) sentNow() uint64 {
	if !m.copying || m.stalled {
		return m.passSent
	}
	moved := uint64(m.fleet.since(m.counted).Seconds() * float64(m.bandwidth))
	return min(m.passSent+moved, m.passBytes)
}

func (m *migration) timeFor(bytes uint64) time.Duration {
	return time.Duration(float64(bytes) / float64(m.bandwidth) * float64(time.Second))
}

// leave moves the guest to the destination, with all of its memory or without.
func (m *migration) leave() bool {
	if m.postCopy.wanted {
		return m.runPostCopy()
	}
	return m.stop() && m.switchOver()
}

// stop stops the guest and sends the rest, which is not limited any more.
func (m *migration) stop() bool {
	rest := m.passBytes
	m.suspend(m.source.domains[m.uuid])
	m.bandwidth = m.fleet.bandwidth
	m.beginPass(rest)
	if !m.copyPass(m.passBytes, never) || !m.reach(StageStopped) {
		return false
	}
	m.half.partial = false
	if e := m.script.Ending; m.suspended && (e == EndsBothHeld || e == EndsHeldAlone) {
		if e == EndsHeldAlone {
			m.dropHalf("Failed")
		}
		m.settle(cause{ending: e})
		return false
	}
	return m.sleep(switchTime)
}

// suspend stops the guest at the source, if it runs.
func (m *migration) suspend(from *domain) {
	if from.state == hypervisor.StateRunning {
		m.suspended = true
		from.state, from.reason = hypervisor.StatePaused, hypervisor.ReasonMigration
		m.source.emit(m.uuid, hypervisor.LifecycleSuspended, hypervisor.DetailMigrated)
	}
}

// awaitTarget waits until the destination sees to the guest that has arrived. No
// abort is heard meanwhile.
func (m *migration) awaitTarget() bool {
	begin := time.Now()
	m.occupy()
	if m.suspended {
		m.downtime += m.fleet.since(begin)
	}
	return !m.finished
}

// switchOver makes the guest run at the destination.
func (m *migration) switchOver() bool {
	if !m.awaitTarget() {
		return false
	}
	m.define()
	m.carry()
	if !m.suspended {
		m.half.reason = hypervisor.ReasonUser
		m.target.emit(m.uuid, hypervisor.LifecycleSuspended, "Paused")
	} else {
		m.downtime += switchTime
		m.half.state, m.half.reason = hypervisor.StateRunning, hypervisor.ReasonMigrated
		m.target.emit(m.uuid, hypervisor.LifecycleResumed, "Migrated")
	}
	m.half.in = nil
	m.half.completed = m.finalStats(hypervisor.OperationMigrationIn)
	// From here on nothing stops it.
	m.cancelled = false
	m.vacate()
	if !m.reach(StageSwitched) {
		return false
	}
	if e := m.script.Ending; e == EndsBothRunning || m.suspended && e == EndsHeld {
		m.settle(cause{ending: e})
		return false
	}
	return m.sleep(reapTime)
}

// carry brings over what is in the guest's memory.
func (m *migration) carry() {
	if from := m.source.domains[m.uuid]; from != nil {
		m.half.frozenSince = from.frozenSince
	}
}

// define gives the destination the definition that it keeps.
func (m *migration) define() {
	if !m.params.Persist {
		return
	}
	m.half.persistent = true
	m.half.inactive = m.params.PersistentXML
	if m.half.inactive == "" {
		// libvirt before 10 keeps what the source had.
		m.half.inactive = m.source.domains[m.uuid].inactive
	}
	m.target.emit(m.uuid, hypervisor.LifecycleDefined, "Added")
}

// complete ends the source's half.
func (m *migration) complete() bool {
	from := m.source.domains[m.uuid]
	if from == nil {
		m.finish(nil)
		return false
	}
	silent := m.script.Ending == EndsSourceKept
	m.source.emit(m.uuid, hypervisor.LifecycleStopped, hypervisor.DetailMigrated)
	if !silent {
		from.completed = m.finalStats(hypervisor.OperationMigrationOut)
		m.source.publish(hypervisor.Event{Type: hypervisor.EventJobCompleted, UUID: m.uuid, Stats: from.completed})
	}
	if m.params.Persist && !silent && !m.postCopy.unattended {
		from.persistent = false
	}
	m.source.end(from, hypervisor.ReasonMigrated)
	if !m.reach(StageFinished) {
		return false
	}
	if silent {
		m.finish(lostConnection(MethodMigrate))
	} else {
		m.finish(nil)
	}
	return false
}

// finish ends the migration with what Migrate returns.
func (m *migration) finish(err error) {
	m.finished = true
	if from := m.source.domains[m.uuid]; from != nil && from.out == m {
		from.out = nil
	}
	if m.half != nil {
		m.half.in = nil
	}
	delete(m.fleet.migrations, m)
	m.fleet.onStage(m.uuid, StageOver)
	m.vacate()
	m.answer(err)
	m.change()
}
