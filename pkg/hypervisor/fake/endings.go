package fake

import (
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// cause is why a migration does not end well.
type cause struct {
	ending Ending
	// daemon is whose daemon was killed, with endsDaemonKilled.
	daemon *Host
}

// interrupt ends a migration at once, unless it has switched.
func (m *migration) interrupt(c cause) {
	if m.finished || m.stage >= stageSwitching && c.ending != endsNowhere {
		return
	}
	m.settle(c)
}

// settle brings both sides to where an ending leaves them.
func (m *migration) settle(c cause) {
	from := m.source.domains[m.uuid]
	switch c.ending {
	case EndsPoweredOff:
		m.source.powerOff(from)
		m.dropHalf("Failed")
		m.finish(failed("operation failed: domain is not running"))
	case EndsCrashed:
		m.source.emit(m.uuid, hypervisor.LifecycleStopped, "Failed")
		m.source.end(from, hypervisor.ReasonCrashed)
		m.dropHalf("Failed")
		m.finish(failed("operation failed: domain is not running"))
	case EndsTargetLost, endsDestroyed:
		if c.ending == EndsTargetLost {
			m.dropHalf("Failed")
		}
		m.resume(from)
		m.finish(failed("operation failed: job 'migration out' failed: Unable to write to socket: Bad file descriptor"))
	case EndsShellLeft:
		m.resume(from)
		m.finish(peerLost())
	case EndsBothRunning:
		from.state, from.reason = hypervisor.StateRunning, hypervisor.ReasonMigrationCanceled
		m.source.emit(m.uuid, hypervisor.LifecycleResumed, "Migrated")
		m.finish(peerLost())
	case EndsNeither:
		m.source.emit(m.uuid, hypervisor.LifecycleStopped, "Failed")
		m.dropHalf("Failed")
		delete(m.source.domains, m.uuid)
		m.finish(failed("operation failed: domain is not running"))
	case endsAborted:
		m.dropHalf("Failed")
		m.resume(from)
		m.finish(fault(MethodMigrate, hypervisor.KindAborted, "operation aborted: job 'migration out' canceled by client"))
	case endsDaemonKilled:
		err := peerLost()
		if c.daemon == m.source {
			err = lostConnection(MethodMigrate)
			m.destroyHalf()
		} else {
			m.removeHalf()
		}
		m.resume(from)
		m.finish(err)
	case EndsWell, EndsSourceKept, EndsPostCopyBroken, EndsGuestLost, EndsUnheard, EndsHeld, EndsBothHeld, EndsHeldAlone, endsNowhere:
		m.finish(lostConnection(MethodMigrate))
	}
}

func failed(message string) error { return fault(MethodMigrate, hypervisor.KindOther, message) }

// resume makes the guest go on at the source where the migration stopped it.
func (m *migration) resume(from *domain) {
	if !m.suspended || from == nil {
		return
	}
	m.suspended = false
	from.state, from.reason = hypervisor.StateRunning, hypervisor.ReasonMigrationCanceled
	m.source.emit(m.uuid, hypervisor.LifecycleResumed, "Migrated")
}

// dropHalf makes the destination's half go as it does when a migration fails.
func (m *migration) dropHalf(detail string) {
	if m.half == nil {
		return
	}
	m.target.emit(m.uuid, hypervisor.LifecycleStopped, detail)
	m.removeHalf()
}

// destroyHalf makes the destination's half go as it does on purpose.
func (m *migration) destroyHalf() {
	if m.half == nil {
		return
	}
	m.target.emit(m.uuid, hypervisor.LifecycleShutdown, "Host")
	m.dropHalf("Destroyed")
}

// removeHalf puts back what the destination had before.
func (m *migration) removeHalf() {
	if m.half == nil {
		return
	}
	if m.before != nil {
		m.target.domains[m.uuid] = m.before
	} else {
		delete(m.target.domains, m.uuid)
	}
}

// stats returns the statistics of the job at the source.
func (m *migration) stats() hypervisor.JobStats {
	stats := hypervisor.JobStats{
		Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut, Elapsed: m.fleet.since(m.begun),
	}
	if m.cancelled {
		stats.Type = hypervisor.JobCancelled
		return stats
	}
	if m.pass == 0 {
		return stats
	}
	now := m.sentNow()
	stats.Memory = hypervisor.Transfer{
		TotalBytes:     m.memory(),
		ProcessedBytes: m.sent + now - m.passSent,
		RemainingBytes: m.passBytes - now,
		BytesPerSecond: m.bandwidth,
	}
	stats.Setup = setupTime
	stats.MemoryIteration, stats.MemoryPageBytes = m.pass, pageBytes
	stats.MemoryPostcopyRequests = m.requests()
	stats.AutoConvergeThrottlePercent = m.throttle.percent
	stats.DowntimeKnown = true
	// QEMU shows the limit until it knows the dirty rate.
	stats.Downtime = m.maxDowntime
	if m.pass > 1 {
		stats.Downtime, stats.MemoryDirtyBytesPerSecond = m.expected, m.dirtyRate
	}
	return stats
}

// finalStats returns the statistics that are kept on either side.
func (m *migration) finalStats(operation hypervisor.JobOperation) hypervisor.JobStats {
	return hypervisor.JobStats{
		Type: hypervisor.JobCompleted, Operation: operation, Elapsed: m.fleet.since(m.begun),
		Setup: setupTime, Downtime: m.downtime, DowntimeKnown: true, GrossDowntime: m.downtime,
		Memory:          hypervisor.Transfer{TotalBytes: m.memory(), ProcessedBytes: m.sent, BytesPerSecond: m.bandwidth},
		MemoryIteration: m.pass, MemoryPageBytes: pageBytes, MemoryPostcopyRequests: m.requests(),
		AutoConvergeThrottlePercent: m.throttle.percent,
	}
}

// requests is how many pages the destination asked for.
func (m *migration) requests() uint64 {
	if !m.postCopy.active {
		return 0
	}
	return m.sentNow() / requestedBytes
}

func (m *migration) memory() uint64 { return m.half.guest.MemoryBytes }
