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
	urgent  bool
	last    *R
	// reports counts what was reported, and written is the last that is known to
	// be written; news is closed when that changes.
	reports, written int
	news             chan struct{}
	changed          chan struct{}
	closing          chan struct{}
}

func newReporter[R any](node *Node, log logr.Logger, write func(context.Context, R) error) *reporter[R] {
	return &reporter[R]{
		write: write, interval: node.progressInterval, clock: node.Clock, log: log,
		news: make(chan struct{}), changed: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// report hands over what the status is to say. An urgent report is written at
// once; any other waits for the interval to pass. A report that equals the
// one before is dropped.
func (r *reporter[R]) report(report R, urgent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil && reflect.DeepEqual(*r.last, report) {
		return
	}
	r.last, r.pending = &report, &report
	r.reports++
	r.urgent = r.urgent || urgent
	if r.urgent {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

// flush waits until what was reported last is written, for as long as patience,
// and reports whether it is.
func (r *reporter[R]) flush(ctx context.Context, patience time.Duration) bool {
	timeout := r.clock.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		done, news := r.written == r.reports, r.news
		r.mu.Unlock()
		if done {
			return true
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
	report, r.pending, r.urgent = *r.pending, nil, false
	return report, r.reports, true
}

func (r *reporter[R]) noteWritten(number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = number
	close(r.news)
	r.news = make(chan struct{})
}

// close says that no more reports come. What is pending is still written.
func (r *reporter[R]) close() { close(r.closing) }

// run writes until close, the end of ctx, or the object's. What is pending when
// ctx ends is not written: the next agent reports what it finds.
func (r *reporter[R]) run(ctx context.Context) {
	timer := r.clock.NewTimer(r.interval())
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
		if report, number, ok := r.take(); ok && !r.deliver(ctx, report, number) {
			return
		}
		timer.Reset(r.interval())
	}
}

// deliver tries until the report, or a newer one, is written or not wanted any
// more. It reports false if there is nothing left to write to.
func (r *reporter[R]) deliver(ctx context.Context, report R, number int) bool {
	for pause := retryFirst; ; pause *= 2 {
		var corrected <-chan struct{}
		err := r.attempt(ctx, report)
		switch {
		case err == nil, errors.Is(err, ErrOutdated):
			r.noteWritten(number)
			return true
		case errors.Is(err, ErrGone), ctx.Err() != nil:
			return false
		case errors.Is(err, ErrRefused):
			// Another report may be taken.
			pause, corrected = min(pause, refusedMost), r.changed
		default:
			pause = min(pause, retryMost)
		}
		r.log.Error(err, "Writing the status failed; trying again", "after", pause)
		select {
		case <-ctx.Done():
			return false
		case <-corrected:
		case <-r.clock.After(wait.Jitter(pause, jitterFactor)):
		}
		if newer, n, ok := r.take(); ok {
			report, number = newer, n
		}
	}
}

// attempt writes once. A panic is an error like any other: it must not take the
// node's other sessions along.
func (r *reporter[R]) attempt(ctx context.Context, report R) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			r.log.Info("Writing the status has panicked", "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return r.write(ctx, report)
}
