package agent

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// hostPatience is how long a migration waits for files of the host to be read, which takes
// milliseconds unless the storage that they are on hangs.
const hostPatience = 2 * time.Second

// readHost reads something of the host's files as it is now, and reports whether it was read in
// time. While a read hangs, which nobody can end, nothing else is opened, and nobody else waits
// for it.
func readHost[T any](ctx context.Context, n *Node, read func() T) (out T, ok bool) {
	if n.hostReads.hangs.Load() {
		return out, false
	}
	timer := n.Clock.NewTimer(hostPatience)
	defer timer.Stop()
	found := make(chan T, 1)
	select {
	case n.hostReads.take() <- struct{}{}:
		go func() {
			defer n.hostReads.give()
			found <- read()
		}()
	case <-timer.C():
		return out, false
	case <-ctx.Done():
		return out, false
	}
	select {
	case out = <-found:
		return out, true
	case <-ctx.Done():
		return out, false
	case <-timer.C():
	}
	n.hostReads.hangs.Store(true)
	select {
	case out = <-found: // At the last moment, so that it may be too late for give to say so.
		n.hostReads.hangs.Store(false)
		return out, true
	default:
	}
	n.Log.Info("The host's files cannot be read in time; what is in them counts as not known")
	return out, false
}

// turn lets one do something at a time. Its zero value is free.
type turn struct {
	once sync.Once
	held chan struct{}
	// hangs is whether who has it does not come to an end.
	hangs atomic.Bool
}

// take returns a channel that can be sent to when it is the sender's turn.
func (t *turn) take() chan<- struct{} {
	t.once.Do(func() { t.held = make(chan struct{}, 1) })
	return t.held
}

// give ends it.
func (t *turn) give() {
	t.hangs.Store(false)
	<-t.held
}
