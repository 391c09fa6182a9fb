package libvirt

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	backoffStart = 50 * time.Millisecond
	backoffLimit = 1500 * time.Millisecond
	// maxDials is how many attempts to connect may hang side by side.
	maxDials = 3
)

// backoff is the pause between attempts to connect.
type backoff struct{ pause time.Duration }

func (b *backoff) reset() { b.pause = 0 }

// next returns the next pause: twice the one before up to a limit, less a
// quarter at most, so that many clients do not return in step.
func (b *backoff) next() time.Duration {
	b.pause = min(max(2*b.pause, backoffStart), backoffLimit)
	return b.pause - rand.N(b.pause/4) //nolint:gosec // It only spreads attempts.
}

// connection is what a dialer and a pool need of a connection.
type connection interface {
	// lost returns a channel that is closed once the connection is lost.
	lost() <-chan struct{}
	// shut closes the connection; it may hang.
	shut()
}

func isLost(c connection) bool {
	select {
	case <-c.lost():
		return true
	default:
		return false
	}
}

type dialed[L connection] struct {
	link L
	err  error
}

// dialer opens connections, one at a time. An attempt that hangs is left to
// itself after a while and another one is made beside it: whichever returns
// first is taken, and the others close what they may still get. An attempt that
// nobody waits for any more, though none was taken, serves whoever opens next.
type dialer[L connection] struct {
	dial     func() (L, error)
	patience time.Duration
	// spawn runs a function on a goroutine that somebody accounts for.
	spawn   func(func())
	results chan dialed[L]
	// pending counts the attempts that have not returned.
	pending atomic.Int32
	// taken is closed when one of the attempts made since the last was taken. Only
	// open touches it.
	taken chan struct{}
	ended chan struct{}
}

func newDialer[L connection](dial func() (L, error), patience time.Duration, spawn func(func())) *dialer[L] {
	return &dialer[L]{
		dial: dial, patience: patience, spawn: spawn,
		results: make(chan dialed[L]), taken: make(chan struct{}), ended: make(chan struct{}),
	}
}

// open returns a new connection, the error of an attempt that failed, or the
// cause of ctx's end. Only one goroutine may call it.
func (d *dialer[L]) open(ctx context.Context) (L, error) {
	var none L
	if d.pending.Load() == 0 {
		d.attempt()
	}
	timer := time.NewTimer(d.patience)
	defer timer.Stop()
	for {
		select {
		case result := <-d.results:
			if result.err != nil {
				return result.link, result.err
			}
			if isLost(result.link) {
				// It was opened a while ago for somebody who left.
				result.link.shut()
				d.attempt()
				continue
			}
			close(d.taken)
			d.taken = make(chan struct{})
			return result.link, nil
		case <-timer.C:
			if d.pending.Load() < maxDials {
				d.attempt()
			}
			timer.Reset(d.patience)
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
	}
}

// stop makes the attempts that still hang close what they may get.
func (d *dialer[L]) stop() { close(d.ended) }

func (d *dialer[L]) attempt() {
	taken := d.taken
	d.pending.Add(1)
	d.spawn(func() {
		link, err := d.dial()
		d.pending.Add(-1)
		select {
		case d.results <- dialed[L]{link, err}:
			return
		case <-taken:
		case <-d.ended:
		}
		if err == nil {
			link.shut()
		}
	})
}
