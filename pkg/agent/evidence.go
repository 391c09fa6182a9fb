package agent

import (
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// evidence is what a session has heard and seen since it made its migrate call. It is for
// the case that the target is never seen again: a guest that was never suspended cannot
// have left.
type evidence struct {
	// reason is libvirt's reason for the guest to run when the call was made; empty where
	// there is no evidence.
	reason hypervisor.Reason
	// heard is whether there was an event at all: events may be lost without a word.
	heard bool
	// broken is whether the guest was suspended, or events may have been lost.
	broken bool
}

// noteEvent takes an event in.
func (e *evidence) noteEvent(event hypervisor.Event) {
	e.heard = true
	suspended := event.Type == hypervisor.EventLifecycle && event.Lifecycle == hypervisor.LifecycleSuspended
	e.broken = e.broken || suspended || event.Type == hypervisor.EventResync
}

// noteSight takes in what was seen.
func (e *evidence) noteSight(seen sighting) {
	e.broken = e.broken || seen.domain != nil && seen.domain.State != hypervisor.StateRunning
}

// neverLeft reports whether the guest that is seen now has never been suspended. libvirt
// gives a guest that it lets go on after a switch-over that failed another reason for
// running than it had. Where it had that already, an event must have been heard.
func (e *evidence) neverLeft(seen sighting) bool {
	if e.reason == "" || e.broken || seen.domain == nil || seen.job.MigratingOut() {
		return false
	}
	resumed := e.reason == hypervisor.ReasonMigrationCanceled || e.reason == hypervisor.ReasonUnpaused
	return seen.domain.State == hypervisor.StateRunning && seen.domain.Reason == e.reason && (e.heard || !resumed)
}

// neverLeft reports whether the guest is known never to have left this side.
func (s *sourceSession) neverLeft() bool {
	moved := s.call == migration.CallReturned && s.callErr == nil
	return !moved && !s.called.IsZero() && !migration.InPostCopy(s.section) && s.evidence.neverLeft(s.now)
}
