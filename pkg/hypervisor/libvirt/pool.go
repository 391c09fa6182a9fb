package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxSessions bounds the connections that calls may be put on, and maxIdle
	// those of them that are kept though no call needs them.
	maxSessions = 16
	maxIdle     = 4
	// maxPerSubject is how many calls on one subject, a domain or the host, may
	// be under way at a time, so that a domain that hangs leaves room for the
	// others. maxHung is how many of them may have been abandoned: each
	// occupies one of libvirtd's workers, of which there are twenty by default
	// for everybody.
	maxPerSubject = 4
	maxHung       = 2
)

var (
	errPoolClosed = errors.New("the client is closed")
	errManyHung   = fmt.Errorf("%d earlier calls are still hanging", maxHung)
)

// notConnectedError is a failure to connect: the call was not made.
type notConnectedError struct{ err error }

func (e *notConnectedError) Error() string { return "connecting: " + e.err.Error() }
func (e *notConnectedError) Unwrap() error { return e.err }

type poolConfig[L connection] struct {
	dial     func() (L, error)
	patience time.Duration
	log      *slog.Logger
}

// pool keeps connections for short calls. A connection whose call was abandoned
// gets no further ones and is closed when the call came back.
type pool[L connection] struct {
	config poolConfig[L]
	// spawned counts the goroutines of calls, dials and closings.
	spawned sync.WaitGroup
	// attempts counts how often there came to be a connection where there was none, and
	// how often none could be made.
	attempts attempts

	// closing is closed when the pool is.
	closing chan struct{}

	mu       sync.Mutex
	closed   bool
	sessions []*session[L]
	// waiting counts the calls that wait for a session.
	waiting int
	// active counts the calls under way by subject, and hung those of them
	// that were abandoned.
	active   map[string]int
	hung     map[string]int
	failures uint64
	lastErr  error
	// changed is closed and replaced whenever a waiter should look again.
	changed chan struct{}
	// wanted wakes the goroutine that opens connections.
	wanted chan struct{}
}

// session is a connection, which carries one call at a time. libvirtd would
// serve five, but the client library of libvirt 9 cannot be trusted with two:
// while one waits for its reply, the other may not be sent before the next
// keepalive probe wakes the library up.
type session[L connection] struct {
	link L
	busy bool
	// retired is closed once it gets no further calls.
	retired chan struct{}
}

func (s *session[L]) isRetired() bool {
	select {
	case <-s.retired:
		return true
	default:
		return false
	}
}

// flight is one call on a session.
type flight[L connection] struct {
	session   *session[L]
	subject   string
	returned  bool
	abandoned bool
}

func newPool[L connection](config poolConfig[L]) *pool[L] {
	return &pool[L]{
		config: config, active: map[string]int{}, hung: map[string]int{},
		closing: make(chan struct{}), changed: make(chan struct{}), wanted: make(chan struct{}, 1),
	}
}

// enter accounts for a goroutine that the caller starts next, and that calls
// spawned.Done at its end. It fails once the pool is closed.
func (p *pool[L]) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return &notConnectedError{errPoolClosed}
	}
	p.spawned.Add(1)
	return nil
}

// acquire returns a session for a call, waiting for one if need be, and accounts
// for a goroutine as enter does. It fails when ctx ends, when an attempt to
// connect fails meanwhile, or when too many calls on the subject hang already.
func (p *pool[L]) acquire(ctx context.Context, subject string) (*flight[L], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	failures := p.failures
	for {
		switch {
		case p.closed:
			return nil, &notConnectedError{errPoolClosed}
		case p.hung[subject] >= maxHung:
			return nil, errManyHung
		}
		crowded := p.active[subject] >= maxPerSubject
		if s := p.pick(); s != nil && !crowded {
			s.busy = true
			p.active[subject]++
			p.spawned.Add(1)
			return &flight[L]{session: s, subject: subject}, nil
		}
		if p.failures != failures {
			return nil, &notConnectedError{p.lastErr}
		}
		if err := p.await(ctx, !crowded); err != nil {
			return nil, err
		}
	}
}

// await waits for a change, with the lock released. A caller that needs a
// session for it says so.
func (p *pool[L]) await(ctx context.Context, needsSession bool) error {
	if needsSession {
		p.waiting++
		defer func() { p.waiting-- }()
		p.want()
	}
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pick returns a session that is free, or nil.
func (p *pool[L]) pick() *session[L] {
	for _, s := range p.sessions {
		if !s.busy && !isLost(s.link) {
			return s
		}
	}
	return nil
}

// trim closes the sessions that no call needs, but for a few.
func (p *pool[L]) trim() {
	if p.waiting > 0 {
		return
	}
	var idle []*session[L]
	for _, s := range p.sessions {
		if !s.busy {
			idle = append(idle, s)
		}
	}
	for len(idle) > maxIdle {
		p.retire(idle[0])
		p.shut(idle[0])
		idle = idle[1:]
	}
}

// release ends a flight, after its call came back.
func (p *pool[L]) release(f *flight[L]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	decrement(p.active, f.subject)
	if f.abandoned {
		decrement(p.hung, f.subject)
	}
	f.returned = true
	s := f.session
	s.busy = false
	if isLost(s.link) {
		p.retire(s)
	}
	if s.isRetired() {
		p.shut(s)
	}
	p.trim()
	p.wake()
}

// abandon gives up a call, unless it has just come back.
func (p *pool[L]) abandon(f *flight[L]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.returned {
		return false
	}
	f.abandoned = true
	p.hung[f.subject]++
	p.retire(f.session)
	p.wake()
	return true
}

// retire sees to it that a session gets no further calls.
func (p *pool[L]) retire(s *session[L]) {
	if s.isRetired() {
		return
	}
	close(s.retired)
	for i, other := range p.sessions {
		if other == s {
			p.sessions = append(p.sessions[:i], p.sessions[i+1:]...)
			break
		}
	}
	p.want()
}

// hanging returns how many calls that were abandoned have not returned.
func (p *pool[L]) hanging() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	hung := 0
	for _, n := range p.hung {
		hung += n
	}
	return hung
}

func decrement(counts map[string]int, subject string) {
	counts[subject]--
	if counts[subject] == 0 {
		delete(counts, subject)
	}
}

func (p *pool[L]) shut(s *session[L]) { p.spawned.Go(s.link.shut) }

func (p *pool[L]) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pool[L]) want() {
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

// run opens connections as they are needed, and again when they are lost,
// until ctx ends.
func (p *pool[L]) run(ctx context.Context) {
	d := newDialer(p.config.dial, p.config.patience, p.spawned.Go)
	defer d.stop()
	var pause backoff
	for ctx.Err() == nil {
		if !p.needed() {
			select {
			case <-p.wanted:
			case <-ctx.Done():
			}
			continue
		}
		link, err := d.open(ctx)
		if ctx.Err() != nil {
			if err == nil {
				p.spawned.Go(link.shut)
			}
			return
		}
		if err == nil {
			pause.reset()
			p.add(link)
			continue
		}
		p.fail(err)
		p.pause(ctx, pause.next())
	}
}

// pause waits before the next attempt, less long where a call waits for it.
func (p *pool[L]) pause(ctx context.Context, length time.Duration) {
	least := time.NewTimer(min(length, backoffStart))
	defer least.Stop()
	select {
	case <-least.C:
	case <-ctx.Done():
		return
	}
	rest := time.NewTimer(max(length-backoffStart, 0))
	defer rest.Stop()
	for !p.awaited() {
		select {
		case <-rest.C:
			return
		case <-p.wanted:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pool[L]) awaited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0
}

// needed reports whether a connection should be opened.
func (p *pool[L]) needed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if len(p.sessions) == 0 {
		return true
	}
	return p.waiting > 0 && len(p.sessions) < maxSessions && p.pick() == nil
}

func (p *pool[L]) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastErr == nil {
		p.config.log.Warn("Connecting to libvirt failed", "error", sanitize(err.Error()))
	}
	p.failures++
	p.attempts.failed.Add(1)
	p.lastErr = err
	p.wake()
}

func (p *pool[L]) add(link L) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &session[L]{link: link, retired: make(chan struct{})}
	if p.closed {
		p.shut(s)
		return
	}
	if len(p.sessions) == 0 {
		p.attempts.made.Add(1)
		p.config.log.Info("Connected to libvirt")
	}
	p.lastErr = nil
	p.sessions = append(p.sessions, s)
	p.wake()
	p.spawned.Go(func() { p.watch(s) })
}

// watch retires a session as soon as its connection is lost.
func (p *pool[L]) watch(s *session[L]) {
	select {
	case <-s.link.lost():
	case <-s.retired:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.isRetired() {
		return
	}
	p.config.log.Warn("Connection to libvirt lost")
	p.retire(s)
	if !s.busy {
		p.shut(s)
	}
	p.wake()
}

// close retires every session and fails the calls, those under way as well.
func (p *pool[L]) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	close(p.closing)
	for len(p.sessions) > 0 {
		s := p.sessions[0]
		p.retire(s)
		if !s.busy {
			p.shut(s)
		}
	}
	p.wake()
}

// wait returns when no call, dial or closing is under way.
func (p *pool[L]) wait() { p.spawned.Wait() }
