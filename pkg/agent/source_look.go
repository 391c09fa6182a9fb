package agent

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/virtferry/virtferry/pkg/migration"
)

// noteStall records whether the migration can be brought to its end.
func (s *sourceSession) noteStall(now time.Time) {
	if s.section == nil {
		return
	}
	stall := migration.Stall(s.facts(), now)
	if equality.Semantic.DeepEqual(stall, s.section.Stall) {
		return
	}
	if s.section.Stall = stall; stall != nil {
		s.log.Info("The migration cannot be brought to its end", "reason", stall.Reason, "since", stall.Time)
	}
	s.report(atOnce)
}

// noteSeen remembers since when the hypervisor, which was asked then, has not answered, and
// forgets why the guest had stopped if it has not.
func (s *sourceSession) noteSeen(asked time.Time) {
	switch {
	case s.now.seen:
		s.unseenSince = time.Time{}
	case s.unseenSince.IsZero():
		s.unseenSince = asked
	}
	if s.now.domain != nil && s.now.domain.Active() {
		s.stopped = nil // It was started again.
	}
}

// look reads the guest and its job, and since when they are what they are.
func (s *sourceSession) look(ctx context.Context) {
	before, asked := s.now, s.node.Clock.Now()
	s.now = look(ctx, s.hv, s.lm.Status.DomainUUID)
	s.evidence.noteSight(s.now)
	if s.now.jobSeen {
		s.now.foreign = s.jobOver || migration.Foreign(s.section, s.called, s.now.job, s.node.Clock.Now())
		// What runs after ours has ended is somebody else's, however soon it begins.
		s.jobOver = s.jobOver || s.section.JobStartedTime != nil && !s.now.job.MigratingOut() && !migration.InPostCopy(s.section)
	} else {
		// A half whose job cannot be asked about is ours only if its job was seen to be,
		// perhaps by another process.
		s.now.foreign = before.foreign || s.section.JobStartedTime == nil
	}
	s.noteSeen(asked)
	switch {
	case !s.now.seen, s.now.ours():
		s.quietSince = time.Time{}
	case s.quietSince.IsZero():
		s.quietSince = s.node.Clock.Now()
	}
	switch whole := migration.Whole(migration.CurrentTarget(s.lm)); {
	case !whole:
		s.wholeSince = time.Time{}
	case s.wholeSince.IsZero():
		s.wholeSince = s.node.Clock.Now()
	}
}
