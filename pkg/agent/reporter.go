package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// How often a session writes.
const (
	// progressInterval is the least time between two writes that differ in
	// progress only, and progressSpacing what a node lets pass from the one of one
	// session to that of the next on average: the more guests it sends, the more
	// seldom each is written about.
	progressInterval = 2 * time.Second
	progressSpacing  = 100 * time.Millisecond
	// After a write that took long, a session lets pass writeShare times as long, but
	// slowest at most, before it writes of progress again: an API server that has too
	// much to do is not asked for more.
	writeShare = 20
	slowest    = 30 * time.Second
	// soonDelay is how long a report waits that is likely to be followed by another.
	soonDelay = 300 * time.Millisecond
	// A write that fails is repeated after retryFirst, and then at intervals that
	// double up to retryMost or, where the API server refuses it, refusedMost. All
	// of them vary by jitterFactor at random: thousands of agents are not to come
	// back in step.
	retryFirst   = 50 * time.Millisecond
	retryMost    = 5 * time.Second
	refusedMost  = time.Minute
	jitterFactor = 0.2
)

// reporter writes the latest report of a session in the background, so that a
// slow or absent API server never holds a session up. Reports that are
// overtaken by newer ones before they are written are dropped.
type reporter[R any] struct {
	write func(ctx context.Context, report R) error
	// interval is the least time between two writes that are not urgent.
	interval func() time.Duration
	clock    clock.Clock
	log      logr.Logger

	mu      sync.Mutex
	pending *R
	last    *R
	// due is when what is pending is to be written; zero where that is next, when what may
	// wait is.
	due, next time.Time
	// reports counts what was reported, and written is the last that is known to
	// be written, or not to be wanted; news is closed when that changes. unwanted is the last
	// that is not.
	reports, written, unwanted int
	news                       chan struct{}
	changed                    chan struct{}
	closing                    chan struct{}
}

func newReporter[R any](node *Node, log logr.Logger, write func(context.Context, R) error) *reporter[R] {
	return &reporter[R]{
		write: write, interval: node.progressInterval, clock: node.Clock, log: log, next: node.Clock.Now().Add(node.progressInterval()),
		news: make(chan struct{}), changed: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// urgency is when a report is to be written.
type urgency int

const (
	// later: when the interval has passed. It tells of progress.
	later urgency = iota
	// soon: in a moment, in which more may come. Nobody acts on it alone.
	soon
	// atOnce: as soon as can be.
	atOnce
)

// report hands over what the status is to say. A report that equals the one before says
// nothing new, but may be more urgent.
func (r *reporter[R]) report(report R, u urgency) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || !reflect.DeepEqual(*r.last, report) {
		r.last, r.pending = &report, &report
		r.reports++
	}
	r.hasten(u)
}

// hasten has what is pending written as urgently as is said.
func (r *reporter[R]) hasten(u urgency) {
	if r.pending == nil {
		return
	}
	due := r.clock.Now()
	if u == soon {
		due = due.Add(soonDelay)
	}
	if u != later && (r.due.IsZero() || due.Before(r.due)) {
		r.due = due
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// wait returns how long to wait for the next write.
func (r *reporter[R]) wait() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		return forever
	}
	due := r.due
	if due.IsZero() {
		due = r.next
	}
	return due.Sub(r.clock.Now())
}

// forever is a wait that something else ends.
const forever = time.Hour

// flush has what was reported last written at once and waits for that, for as long as
// patience. It reports whether it is written: what is outdated is not, and never will be.
func (r *reporter[R]) flush(ctx context.Context, patience time.Duration) bool {
	timeout := r.clock.NewTimer(patience)
	defer timeout.Stop()
	r.mu.Lock()
	r.hasten(atOnce)
	r.mu.Unlock()
	for {
		r.mu.Lock()
		done, unwanted, news := r.written == r.reports, r.unwanted == r.reports, r.news
		r.mu.Unlock()
		if done {
			return r.reports == 0 || !unwanted
		}
		select {
		case <-news:
		case <-timeout.C():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (r *reporter[R]) take() (report R, number int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		return report, 0, false
	}
	report, r.pending, r.due = *r.pending, nil, time.Time{}
	return report, r.reports, true
}

// noteWritten takes in that a report was written, unless it is not wanted, and how long that
// took.
func (r *reporter[R]) noteWritten(number int, wanted bool, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = number
	if !wanted {
		r.unwanted = number
	}
	r.next = r.clock.Now().Add(max(r.interval(), min(writeShare*took, slowest)))
	close(r.news)
	r.news = make(chan struct{})
}

// close says that no more reports come. What is pending is still written.
func (r *reporter[R]) close() { close(r.closing) }

// run writes until close, the end of ctx, or the object's. What is pending when
// ctx ends is not written: the next agent reports what it finds.
func (r *reporter[R]) run(ctx context.Context) {
	timer := r.clock.NewTimer(forever)
	defer timer.Stop()
	for last := false; !last; {
		select {
		case <-ctx.Done():
			return
		case <-r.closing:
			last = true
		case <-r.changed:
		case <-timer.C():
		}
		if left := r.wait(); left > 0 && !last {
			timer.Reset(left)
			continue
		}
		if report, number, ok := r.take(); ok && !r.deliver(ctx, report, number) {
			return
		}
		timer.Reset(r.wait())
	}
}

// deliver tries until the report, or a newer one, is written or not wanted any
// more. It reports false if there is nothing left to write to.
func (r *reporter[R]) deliver(ctx context.Context, report R, number int) bool {
	for pause := retryFirst; ; pause *= 2 {
		began := r.clock.Now()
		err := r.attempt(ctx, report)
		refused := errors.Is(err, ErrRefused)
		switch {
		case err == nil, errors.Is(err, ErrOutdated):
			r.noteWritten(number, err == nil, r.clock.Since(began))
			return true
		case errors.Is(err, ErrGone), ctx.Err() != nil:
			return false
		case refused:
			pause = min(pause, refusedMost)
		default:
			pause = min(pause, retryMost)
		}
		r.log.Error(err, "Writing the status failed; trying again", "after", pause)
		if !r.pause(ctx, wait.Jitter(pause, jitterFactor), refused) {
			return false
		}
		if newer, n, ok := r.take(); ok {
			report, number = newer, n
		}
	}
}

// pause waits after a write that has failed, and reports whether ctx goes on. Another
// report than one that was refused may be taken; one that only tells of progress waits.
func (r *reporter[R]) pause(ctx context.Context, d time.Duration, refused bool) bool {
	timer := r.clock.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			return true
		case <-r.changed:
			if refused && r.hasMore() {
				return true
			}
		}
	}
}

// hasMore reports whether what is pending tells of more than progress.
func (r *reporter[R]) hasMore() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending != nil && !r.due.IsZero()
}

// attempt writes once. A panic is an error like any other: it must not take the
// node's other sessions along.
func (r *reporter[R]) attempt(ctx context.Context, report R) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			r.log.Info("Writing the status panicked", "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return r.write(ctx, report)
}
