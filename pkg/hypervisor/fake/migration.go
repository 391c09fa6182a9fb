package fake

import (
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

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
	// suspended is whether the migration stopped the guest.
	suspended bool

	bandwidth   uint64
	maxDowntime time.Duration
	// pass counts the passes over the memory. Of the bytes in the present one,
	// those sent until counted are in passSent.
	pass                uint64
	passBytes, passSent uint64
	counted             time.Time
	copying             bool
	// passTime is what the pass should have taken until counted. The guest
	// writes for that long: what timers add in real time is no time to it.
	passTime  time.Duration
	sent      uint64
	dirtyRate uint64
	expected  time.Duration

	cancelled, finished bool
	// wake interrupts what the goroutine waits for.
	wake chan struct{}
	done chan struct{}
	err  error
}

// start starts the goroutine.
func (m *migration) start() {
	m.fleet.migrations[m] = true
	m.fleet.running.Go(m.run)
}

func (m *migration) run() {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	for _, step := range []func() bool{m.prepare, m.copy, m.stop, m.switchOver, m.complete} {
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
	if !m.reach(StagePreparing) || !m.sleep(prepareTime) {
		return false
	}
	from := m.source.domains[m.uuid]
	m.before = m.target.domains[m.uuid]
	half := &domain{
		guest: from.guest, state: hypervisor.StatePaused, reason: hypervisor.ReasonMigration,
		live: m.params.LiveXML, in: m, maxDowntime: defaultMaxDowntime,
	}
	if m.before != nil {
		half.persistent, half.inactive = m.before.persistent, m.before.inactive
	}
	m.half = half
	m.target.domains[m.uuid] = half
	m.target.emit(m.uuid, hypervisor.LifecycleStarted, "Migrated")
	return m.sleep(setupTime)
}

// copy goes through passes until what is left fits into the downtime.
func (m *migration) copy() bool {
	m.beginPass(m.source.domains[m.uuid].guest.MemoryBytes)
	if !m.reach(StageCopying) {
		return false
	}
	for {
		if !m.copyPass() {
			return false
		}
		from := m.source.domains[m.uuid]
		var dirtied uint64
		if from.state == hypervisor.StateRunning {
			m.dirtyRate = from.guest.DirtyBytesPerSecond
			dirtied = min(uint64(float64(m.dirtyRate)*m.passTime.Seconds()), from.guest.WorkingSetBytes)
		}
		if !m.script.Ending.atSwitch() && m.pass >= m.script.AfterPass {
			m.settle(cause{ending: m.script.Ending})
			return false
		}
		m.beginPass(dirtied)
		m.expected = m.timeFor(dirtied)
		if m.expected <= m.maxDowntime {
			break
		}
	}
	if !m.script.Ending.atSwitch() {
		m.settle(cause{ending: m.script.Ending})
		return false
	}
	return true
}

func (m *migration) beginPass(bytes uint64) {
	m.pass++
	m.passBytes, m.passSent, m.passTime = bytes, 0, 0
	m.source.publish(hypervisor.Event{Type: hypervisor.EventIteration, UUID: m.uuid, Iteration: m.pass})
}

// copyPass sends all of a pass, at a bandwidth that may change meanwhile.
func (m *migration) copyPass() bool {
	// The last page is not worth a wait.
	const page = 4096
	m.copying = true
	defer func() { m.copying = false }()
	m.counted = time.Now()
	for m.passBytes-m.passSent > page {
		if !m.wait(m.timeFor(m.passBytes - m.passSent)) {
			return false
		}
		m.count()
	}
	m.add(m.passBytes - m.passSent)
	return !m.over()
}

// count notes what was sent until now.
func (m *migration) count() {
	m.add(m.sentNow() - m.passSent)
	m.counted = time.Now()
}

func (m *migration) add(bytes uint64) {
	m.sent += bytes
	m.passSent += bytes
	m.passTime += m.timeFor(bytes)
}

// sentNow returns what of the pass has been sent.
func (m *migration) sentNow() uint64 {
	if !m.copying {
		return m.passSent
	}
	moved := uint64(m.fleet.since(m.counted).Seconds() * float64(m.bandwidth))
	return min(m.passSent+moved, m.passBytes)
}

func (m *migration) timeFor(bytes uint64) time.Duration {
	return time.Duration(float64(bytes) / float64(m.bandwidth) * float64(time.Second))
}

// stop stops the guest and sends the rest.
func (m *migration) stop() bool {
	from := m.source.domains[m.uuid]
	rest := m.passBytes
	if from.state == hypervisor.StateRunning {
		m.suspended = true
		from.state, from.reason = hypervisor.StatePaused, hypervisor.ReasonMigration
		m.source.emit(m.uuid, hypervisor.LifecycleSuspended, "Migrated")
	}
	m.beginPass(rest)
	if !m.copyPass() || !m.reach(StageStopped) {
		return false
	}
	return m.sleep(switchTime)
}

// switchOver makes the guest run at the destination.
func (m *migration) switchOver() bool {
	from := m.source.domains[m.uuid]
	if m.params.Persist {
		m.half.persistent = true
		m.half.inactive = m.params.PersistentXML
		if m.half.inactive == "" {
			// libvirt before 10 keeps what the source had.
			m.half.inactive = from.inactive
		}
		m.target.emit(m.uuid, hypervisor.LifecycleDefined, "Added")
	}
	if !m.suspended {
		m.half.reason = hypervisor.ReasonUser
		m.target.emit(m.uuid, hypervisor.LifecycleSuspended, "Paused")
	} else {
		m.expected = m.passTime + switchTime
		m.half.state, m.half.reason = hypervisor.StateRunning, hypervisor.ReasonMigrated
		m.target.emit(m.uuid, hypervisor.LifecycleResumed, "Migrated")
	}
	m.half.in = nil
	m.half.completed = m.finalStats(hypervisor.OperationMigrationIn)
	// From here on nothing stops it.
	m.cancelled = false
	if !m.reach(StageSwitched) {
		return false
	}
	if m.script.Ending == EndsBothRunning {
		m.settle(cause{ending: EndsBothRunning})
		return false
	}
	return m.sleep(reapTime)
}

// complete ends the source's half.
func (m *migration) complete() bool {
	from := m.source.domains[m.uuid]
	if from == nil {
		m.finish(nil)
		return false
	}
	kept := m.script.Ending == EndsSourceKept
	m.source.emit(m.uuid, hypervisor.LifecycleStopped, "Migrated")
	stats := m.finalStats(hypervisor.OperationMigrationOut)
	if !kept {
		m.source.publish(hypervisor.Event{Type: hypervisor.EventJobCompleted, UUID: m.uuid, Stats: stats})
	}
	if m.params.Persist && !kept {
		from.persistent = false
	}
	if !kept {
		from.completed = stats
	}
	m.source.end(from, hypervisor.ReasonMigrated)
	if !m.reach(StageFinished) {
		return false
	}
	if kept {
		m.finish(lostConnection(MethodMigrate))
	} else {
		m.finish(nil)
	}
	return false
}

// finish ends the migration with what Migrate returns.
func (m *migration) finish(err error) {
	m.finished, m.err = true, err
	if from := m.source.domains[m.uuid]; from != nil && from.out == m {
		from.out = nil
	}
	if m.half != nil {
		m.half.in = nil
	}
	delete(m.fleet.migrations, m)
	close(m.done)
	m.change()
}
