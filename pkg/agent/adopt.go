package agent

import (
	"context"
	"errors"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// adoptPatience is how long a migration that is adopted waits for the API server: while it is
// away, the guest is steered by what is known.
const adoptPatience = 5 * time.Second

// adopt reads a migration that another process has started once more, from the API server
// itself: what a new process is told first may be older than what the last one has reported,
// which must not be taken back.
func (s *sourceSession) adopt(ctx context.Context) {
	s.foundation.Store(s.lm)
	ctx, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	if err := s.readFoundation(ctx, s.lm); err != nil {
		s.log.Error(err, "Reading a migration that is under way failed; going on with what is known of it")
	}
}

// readFoundation reads the object that the first report is to be added to.
func (s *sourceSession) readFoundation(ctx context.Context, of *v1alpha1.LiveMigration) error {
	lm, err := s.node.Recorder.Refresh(ctx, of)
	if err != nil {
		return err //nolint:wrapcheck // The callers tell of it.
	}
	s.foundation.Store(lm)
	s.box.put(lm)
	return nil
}

// write records a report. The first one of a migration that is adopted is added to what was
// read, if that is still so: what another process has sent may arrive after that was read, and
// would be taken back. After the first one, the API server refuses what arrives late.
func (s *sourceSession) write(ctx context.Context, lm *v1alpha1.LiveMigration, report SourceReport) error {
	foundation := s.foundation.Load()
	if foundation == nil {
		return s.node.Recorder.RecordSource(ctx, lm, report, false) //nolint:wrapcheck // The reporter looks at it.
	}
	if found := migration.CurrentSource(foundation); found != nil && found.AttemptID == report.Section.AttemptID {
		report.Progress = migration.NotBehind(report.Progress, foundation.Status.Progress)
	}
	err := s.node.Recorder.RecordSource(ctx, foundation, report, true)
	switch {
	case err == nil:
		s.foundation.Store(nil)
	case errors.Is(err, ErrConflict):
		return errors.Join(err, s.readFoundation(ctx, lm))
	}
	return err //nolint:wrapcheck // The reporter looks at it.
}

// adopt takes over what another process has reported of the attempt already, which the first
// news of this one may be too old to tell. It must not be taken back: above all not which
// images were made for the guest, which would be found in its way. It reports whether there
// was something.
func (s *targetSession) adopt(ctx context.Context) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	lm, err := s.node.Recorder.Refresh(ctx, s.lm)
	if err != nil {
		return false, err //nolint:wrapcheck // The caller tells of it.
	}
	current := migration.CurrentTarget(lm)
	if current == nil || current.AttemptID != s.attempt {
		return false, nil
	}
	s.section, s.maybeMade = current.DeepCopy(), true
	s.node.keepPromises(lm)
	return true, nil
}
