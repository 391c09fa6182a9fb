package agent

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// How often a session writes.
const (
	// progressInterval is the least time between two writes that differ in
	// progress only.
	progressInterval = 2 * time.Second
	retryFirst       = 50 * time.Millisecond
	retryMost        = 5 * time.Second
)

// reporter writes the latest report of a session in the background, so that a
// slow or absent API server never holds a session up. Reports that are
// overtaken by newer ones before they are written are dropped.
type reporter[R any] struct {
	write func(ctx context.Context, report R) error
	clock clock.Clock
	log   logr.Logger

	mu      sync.Mutex
	pending *R
	urgent  bool
	last    *R
	changed chan struct{}
	closing chan struct{}
}

func newReporter[R any](node *Node, log logr.Logger, write func(context.Context, R) error) *reporter[R] {
	return &reporter[R]{write: write, clock: node.Clock, log: log, changed: make(chan struct{}, 1), closing: make(chan struct{})}
}

// report hands over what the status is to say. An urgent report is written at
// once; any other waits for progressInterval to pass. A report that equals the
// one before is dropped.
func (r *reporter[R]) report(report R, urgent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil && reflect.DeepEqual(*r.last, report) {
		return
	}
	r.last, r.pending = &report, &report
	r.urgent = r.urgent || urgent
	if r.urgent {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

func (r *reporter[R]) take() (report R, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		return report, false
	}
	report, r.pending, r.urgent = *r.pending, nil, false
	return report, true
}

// close says that no more reports come. What is pending is still written.
func (r *reporter[R]) close() { close(r.closing) }

// run writes until close, the end of ctx, or the object's. What is pending when
// ctx ends is not written: the next agent reports what it finds.
func (r *reporter[R]) run(ctx context.Context) {
	timer := r.clock.NewTimer(progressInterval)
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
		if report, ok := r.take(); ok && !r.deliver(ctx, report) {
			return
		}
		timer.Reset(progressInterval)
	}
}

// deliver tries until the report, or a newer one, is written or not wanted any
// more. It reports false if there is nothing left to write to.
func (r *reporter[R]) deliver(ctx context.Context, report R) bool {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := r.write(ctx, report)
		switch {
		case err == nil, errors.Is(err, ErrOutdated):
			return true
		case errors.Is(err, ErrGone), ctx.Err() != nil:
			return false
		}
		r.log.Error(err, "Writing the status failed; trying again", "after", wait)
		select {
		case <-ctx.Done():
			return false
		case <-r.clock.After(wait):
		}
		if newer, ok := r.take(); ok {
			report = newer
		}
	}
}
