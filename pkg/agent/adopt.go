package agent

import (
	"context"
	"errors"
	"time"

	"github.com/virtferry/virtferry/pkg/migration"
)

// adoptPatience is how long a migration that is adopted waits for the API server: while it is
// away, the guest is steered by what is known.
const adoptPatience = 5 * time.Second

// adopt reads a migration that another process has started once more, from the API server
// itself: what a new process is told first may be older than what the last one has reported,
// which must not be taken back. What it finds it reports as its own, if nothing has come in
// between: from then on, the API server refuses what the last one has sent and what arrives
// late.
func (s *sourceSession) adopt(ctx context.Context) {
	if current := migration.CurrentSource(s.lm); current == nil || current.StartRequestedTime == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	for {
		lm, err := s.node.Recorder.Refresh(ctx, s.lm)
		if err == nil {
			s.box.put(lm)
			if current := migration.CurrentSource(lm); current != nil && current.End == nil {
				err = s.node.Recorder.RecordSource(ctx, lm, SourceReport{Section: current, Progress: lm.Status.Progress}, true)
			}
		}
		switch {
		case errors.Is(err, ErrConflict):
			continue
		case err != nil:
			s.log.Error(err, "Reading a migration that is under way failed; going on with what is known of it")
		}
		return
	}
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
