package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// leftFrozenField selects the LiveMigrations that may have left their guest frozen on a node when they ended.
const leftFrozenField = "status.guestLeftFrozenOn"

// What fails is tried again after leftoversFirst, and then at intervals that double up to leftoversMost.
const (
	leftoversFirst = time.Second
	leftoversMost  = time.Minute
	// leftoversPage is how many objects are read at a time.
	leftoversPage = 50
	// leftoversJitter varies the intervals: all agents are started at once by an update.
	leftoversJitter = 0.5
)

// errNotStarted is that the sessions have not been started yet.
var errNotStarted = errors.New("the sessions have not been started yet")

// leftovers hands the sessions of one side those migrations that ended before this process was started and have
// left something to do. It reads them once: caches have only what has not ended.
type leftovers struct {
	live     client.Reader
	node     string
	names    func(lm *v1alpha1.LiveMigration) bool
	sessions *agent.Sessions
	clock    clock.Clock
	log      logr.Logger
}

// Start implements manager.Runnable. It returns once that is done, or ctx has ended.
func (l *leftovers) Start(ctx context.Context) error {
	for pause := leftoversFirst; ; pause = min(2*pause, leftoversMost) {
		err := l.handOver(ctx)
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // Of a process that ends, nobody wants to know.
		}
		if errors.Is(err, errNotStarted) {
			pause = startRetry
		} else {
			l.log.Error(err, "Looking for guests that were left frozen failed; trying again", "after", pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.clock.After(wait.Jitter(pause, leftoversJitter)):
		}
	}
}

func (l *leftovers) handOver(ctx context.Context) error {
	for page := ""; ; {
		var list v1alpha1.LiveMigrationList
		if err := l.live.List(ctx, &list, client.MatchingFields{leftFrozenField: l.node}, client.Limit(leftoversPage), client.Continue(page)); err != nil {
			return fmt.Errorf("listing the LiveMigrations: %w", err)
		}
		for i := range list.Items {
			if lm := &list.Items[i]; l.names(lm) && !l.sessions.Ensure(lm) {
				return errNotStarted
			}
		}
		if page = list.Continue; page == "" {
			return nil
		}
	}
}
