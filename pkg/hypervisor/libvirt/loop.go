package libvirt

import (
	"context"
	"sync"
	"time"

	lv "libvirt.org/go/libvirt"
)

// processLoop is the one piece of state that this package keeps for the whole
// process, because libvirt does: its client library has a single event loop
// implementation, which must be registered once, before the first connection
// is opened, and must be turned by one thread at a time. It carries the
// events, the keepalive probes and the close callbacks of every connection of
// every Client.
var processLoop eventLoop

// eventLoop turns libvirt's event loop for as long as somebody needs it.
type eventLoop struct {
	once    sync.Once
	failure error
	// wakeUp is a timer of the loop that ends a turn that waits.
	wakeUp int

	mu    sync.Mutex
	users int
	// done is closed when the goroutine that turns the loop has ended; nil
	// where there is none.
	done chan struct{}
	// turns counts completed turns; turned is closed and replaced at each.
	turns  uint64
	turned chan struct{}
}

// prepare registers the event loop with the library.
func (l *eventLoop) prepare() error {
	l.once.Do(func() {
		l.turned = make(chan struct{})
		if l.failure = lv.EventRegisterDefaultImpl(); l.failure != nil {
			return
		}
		l.wakeUp, l.failure = lv.EventAddTimeout(-1, func(timer int) {
			lv.EventUpdateTimeout(timer, -1)
		})
	})
	return l.failure
}

// acquire sees to it that the loop turns until release.
func (l *eventLoop) acquire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
	if l.done == nil {
		l.done = make(chan struct{})
		go l.run(l.done)
	}
}

// release gives up what acquire got, whether or not ctx has ended. After the last release it waits for the
// loop's goroutine to end, unless somebody acquires it meanwhile.
func (l *eventLoop) release(ctx context.Context) {
	// The loop closes the files of a closed connection in its next turn, and
	// what they held on to in the one after.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	for range 2 {
		if l.drain(ctx) != nil {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	done := l.done
	for l.users == 0 && l.done == done {
		turned := l.turned
		l.mu.Unlock()
		lv.EventUpdateTimeout(l.wakeUp, 0)
		<-turned
		l.mu.Lock()
	}
	if l.done != done {
		<-done
	}
}

func (l *eventLoop) run(done chan struct{}) {
	defer close(done)
	for {
		if err := lv.EventRunDefaultImpl(); err != nil {
			// The process cannot poll. Calls still have their deadlines; just
			// do not burn a processor over it.
			time.Sleep(backoffStart)
		}
		l.mu.Lock()
		l.turns++
		close(l.turned)
		l.turned = make(chan struct{})
		if l.users == 0 {
			l.done = nil
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// drain returns once the loop has turned fully since the call: whatever it was
// doing for a callback that is deregistered by now, it is done with it. A loop
// that does not turn does nothing.
func (l *eventLoop) drain(ctx context.Context) error {
	l.mu.Lock()
	// The turn under way may have passed what we wait for, the next one not.
	target := l.turns + 2
	for l.done != nil && l.turns < target {
		turned := l.turned
		l.mu.Unlock()
		lv.EventUpdateTimeout(l.wakeUp, 0)
		select {
		case <-turned:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
	return nil
}
