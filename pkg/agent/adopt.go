package agent

import (
	"context"
	"time"

	"github.com/virtferry/virtferry/pkg/migration"
)

// adoptPatience is how long a migration that is adopted waits for the API server: while it is
// away, the guest is steered by what is known.
const adoptPatience = 5 * time.Second

// adopt reads a migration that another process has started once more, from the API server
// itself: what a new process is told first may be older than what the last one has reported,
// which must not be taken back.
func (s *sourceSession) adopt(ctx context.Context) {
	if current := migration.CurrentSource(s.lm); current == nil || current.StartRequestedTime == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	if lm, err := s.node.Recorder.Refresh(ctx, s.lm); err == nil {
		s.box.put(lm)
	} else {
		s.log.Error(err, "Reading a migration that is under way failed; going on with what is known of it")
	}
}
