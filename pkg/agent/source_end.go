package agent

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// What the source's agent does after the end.

// see takes over what is seen of the guest here.
func (s *sourceSession) see(now v1alpha1.DomainObservation) {
	if migration.SeeSource(s.section, migration.CurrentTarget(s.lm), now, s.node.Clock.Now()) {
		s.asked = s.node.Clock.Now()
	}
}

// observe reports the guest as it is after the end.
func (s *sourceSession) observe() {
	if !s.now.seen {
		return
	}
	s.see(s.sinceEnd())
	s.report(atOnce)
}

// sinceEnd is the guest here as it is after the end. Why one stopped of which nothing is left,
// only an event has told.
func (s *sourceSession) sinceEnd() v1alpha1.DomainObservation {
	if s.now.domain == nil && s.stopped != nil {
		return *s.stopped
	}
	return migration.SideSince(s.section.End.Domain, s.now.domain, s.now.job)
}

// ask has the target look again.
func (s *sourceSession) ask() {
	s.section.End.Observation++
	s.asked = s.node.Clock.Now()
	s.report(atOnce)
}

// settle does what is left to do here after the end, and reports what came of it.
func (s *sourceSession) settle(ctx context.Context, what string, do func(ctx context.Context, uuid string) error) {
	s.log.Info(what)
	if err := do(ctx, s.lm.Status.DomainUUID); err != nil {
		s.log.Error(err, "The cleanup failed; trying again", "after", followInterval)
		return
	}
	s.look(ctx)
	s.observe()
}

// pauseCopy pauses the guest here because it runs on the target as well, once: a person
// who resumes it must not find it paused again. So it is recorded before, and an API
// server that cannot be reached delays it. It could a moment ago. Writing takes time, so
// all is looked at again between the two.
func (s *sourceSession) pauseCopy(ctx context.Context) time.Duration {
	if s.pausing && s.recorded {
		s.suspendCopy(ctx)
		return followInterval
	}
	if s.section.End.CopyPausedTime == nil {
		s.section.End.CopyPausedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
		s.report(atOnce)
	}
	s.pausing = true
	if s.recorded = s.out.flush(ctx, recordPatience); s.recorded {
		return noWait
	}
	s.log.Info("Recording the pause of the guest failed; trying again", "after", followInterval)
	return followInterval
}

func (s *sourceSession) suspendCopy(ctx context.Context) {
	s.log.Info("Pausing the guest, which runs on the target as well")
	err := s.hv.Suspend(ctx, s.lm.Status.DomainUUID)
	if err != nil && !hypervisor.KindOf(err).OutcomeUnknown() {
		s.log.Error(err, "The cleanup failed; trying again", "after", followInterval)
		return
	}
	if err != nil {
		s.log.Error(err, "It is not known whether the pause took effect")
	}
	s.pausing = false
	s.look(ctx)
	s.observe()
}

// undefine removes the definition that libvirt leaves behind when it ends a
// migration unattended, and reports that it is gone.
func (s *sourceSession) undefine(ctx context.Context) time.Duration {
	s.log.Info("Removing the definition of the guest, which has been migrated")
	if err := s.hv.Undefine(ctx, s.lm.Status.DomainUUID); err != nil {
		s.log.Error(err, "Removing the definition failed; trying again", "after", followInterval)
		return followInterval
	}
	now := s.section.End.Domain
	now.Defined = false
	s.see(now)
	s.report(atOnce)
	return 0
}

// linger ends the session of a migration that is done, after a wait for the
// final statistics where some are to come.
func (s *sourceSession) linger(now time.Time) (wait time.Duration, done bool) {
	s.completeProgress()
	if s.section == nil || s.section.End == nil || s.section.End.Call != v1alpha1.CallSucceeded ||
		s.progress != nil && s.progress.DowntimeMilliseconds != nil {
		return 0, true
	}
	wait = s.section.End.Time.Add(statsGrace).Sub(now)
	return wait, wait <= 0
}

// completeProgress says that everything is copied of a guest that has moved, and what brought
// it over, where this side could not tell: it had gone by the time that anybody looked.
func (s *sourceSession) completeProgress() {
	moved := meta.IsStatusConditionTrue(s.lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if !moved || s.section == nil || s.section.End == nil || s.progress != nil && s.progress.Percent == 100 && s.progress.Switchover != "" {
		return
	}
	s.progress = migration.NoteSwitchover(migration.Complete(s.progress), s.section)
	s.report(atOnce)
}
