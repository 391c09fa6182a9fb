package libvirt

import (
	"context"
	"math/rand/v2"
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
// first is taken, and the connection of one that nobody waits for is closed.
type dialer[L connection] struct {
	dial     func() (L, error)
	patience time.Duration
	// spawn runs a function on a goroutine that somebody accounts for.
	spawn   func(func())
	results chan dialed[L]
	// pending counts the attempts under way; only open touches it.
	pending int
	ended   chan struct{}
}

func newDialer[L connection](dial func() (L, error), patience time.Duration, spawn func(func())) *dialer[L] {
	return &dialer[L]{
		dial: dial, patience: patience, spawn: spawn,
		results: make(chan dialed[L]), ended: make(chan struct{}),
	}
}

// open returns a new connection, the error of an attempt that failed, or the
// cause of ctx's end. Only one goroutine may call it.
func (d *dialer[L]) open(ctx context.Context) (L, error) {
	var none L
	if d.pending == 0 {
		d.attempt()
	}
	timer := time.NewTimer(d.patience)
	defer timer.Stop()
	for {
		select {
		case result := <-d.results:
			d.pending--
			if result.err == nil && isLost(result.link) {
				// It was opened a while ago for somebody who left.
				result.link.shut()
				d.attempt()
				continue
			}
			return result.link, result.err
		case <-timer.C:
			if d.pending < maxDials {
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
	d.pending++
	d.spawn(func() {
		link, err := d.dial()
		select {
		case d.results <- dialed[L]{link, err}:
		case <-d.ended:
			if err == nil {
				link.shut()
			}
		}
	})
}
