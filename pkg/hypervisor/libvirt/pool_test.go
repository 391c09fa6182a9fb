package libvirt

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testPatience = 10 * time.Second

// fakeLink is a connection to a fakeDaemon.
type fakeLink struct {
	daemon *fakeDaemon
	broken chan struct{}
	once   sync.Once
	shuts  atomic.Int32
}

func (l *fakeLink) lost() <-chan struct{} { return l.broken }
func (l *fakeLink) fail()                 { l.once.Do(func() { close(l.broken) }) }

func (l *fakeLink) shut() {
	l.shuts.Add(1)
	l.daemon.open.Add(-1)
}

// fakeDaemon is what a pool connects to.
type fakeDaemon struct {
	open, dials atomic.Int32

	mu      sync.Mutex
	refused error
	// hang makes attempts to connect wait until it is closed.
	hang  chan struct{}
	links []*fakeLink
}

func (d *fakeDaemon) dial() (*fakeLink, error) {
	d.dials.Add(1)
	d.mu.Lock()
	hang := d.hang
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refused != nil {
		return nil, d.refused
	}
	l := &fakeLink{daemon: d, broken: make(chan struct{})}
	d.links = append(d.links, l)
	d.open.Add(1)
	return l, nil
}

func (d *fakeDaemon) set(refused error, hang chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused, d.hang = refused, hang
}

// breakAll breaks every connection, as the daemon's end does.
func (d *fakeDaemon) breakAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.links {
		l.fail()
	}
}

// withPool runs a test on a pool, and checks afterwards that it closed all it
// opened, once, and left no goroutine; synctest fails where one is left.
func withPool(t *testing.T, test func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDaemon{}
		p := newPool(poolConfig[*fakeLink]{dial: d.dial, patience: testPatience, log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.run(ctx) })
		test(t, d, p)
		cancel()
		p.close()
		running.Wait()
		p.wait()
		if open := d.open.Load(); open != 0 {
			t.Errorf("%d connections are left open", open)
		}
		for i, l := range d.links {
			if n := l.shuts.Load(); n != 1 {
				t.Errorf("connection %d was closed %d times", i, n)
			}
		}
		if len(p.active) != 0 || len(p.hung) != 0 {
			t.Errorf("calls are left: %v, hung %v", p.active, p.hung)
		}
	})
}

// within makes a call that has a second.
func within[T any](t *testing.T, p *pool[*fakeLink], subject string, fn func(*fakeLink) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errDeadline)
	defer cancel()
	return do(ctx, p, subject, fn)
}

func nothing(*fakeLink) (int, error) { return 0, nil }

func TestPoolReusesItsConnection(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		for i := range 10 {
			got, err := within(t, p, "vm", func(*fakeLink) (int, error) { return i, nil })
			if err != nil || got != i {
				t.Errorf("got %d, %v", got, err)
			}
		}
		want := errors.New("no")
		if _, err := within(t, p, "vm", func(*fakeLink) (int, error) { return 0, want }); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		if n := d.dials.Load(); n != 1 {
			t.Errorf("connected %d times", n)
		}
	})
}

func TestPoolBoundsCallsInFlight(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		var mu sync.Mutex
		onLink := map[*fakeLink]int{}
		used := map[*fakeLink]bool{}
		onSubject := map[string]int{}
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				subject := strconv.Itoa(i % 10)
				_, err := do(t.Context(), p, subject, func(l *fakeLink) (int, error) {
					mu.Lock()
					used[l] = true
					onLink[l]++
					onSubject[subject]++
					if onLink[l] > 1 || onSubject[subject] > maxPerSubject {
						t.Errorf("%d calls on a connection, %d on a subject", onLink[l], onSubject[subject])
					}
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					onLink[l]--
					onSubject[subject]--
					mu.Unlock()
					return 0, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := len(used); n != maxSessions {
			t.Errorf("used %d connections, want %d", n, maxSessions)
		}
		synctest.Wait()
		if n := d.open.Load(); n != maxIdle {
			t.Errorf("%d connections are kept, want %d", n, maxIdle)
		}
	})
}

func TestPoolAbandonsCallsThatHang(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		release := make(chan struct{})
		begin := time.Now()
		var group sync.WaitGroup
		for range maxPerSubject {
			group.Go(func() {
				_, err := within(t, p, "stuck", func(*fakeLink) (int, error) {
					<-release
					return 0, nil
				})
				if abandoned := (*abandonedError)(nil); !errors.As(err, &abandoned) || !errors.Is(err, errDeadline) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		// One more for the same subject waits its turn, others do not.
		if _, err := within(t, p, "well", nothing); err != nil {
			t.Errorf("another subject is held up: %v", err)
		}
		if _, err := within(t, p, "stuck", nothing); !errors.Is(err, errDeadline) && !errors.Is(err, errManyHung) {
			t.Errorf("got %v", err)
		}
		group.Wait()
		if took := time.Since(begin); took != time.Second {
			t.Errorf("the calls took %v", took)
		}
		if n := p.hanging(); n != maxPerSubject {
			t.Errorf("%d calls are said to hang", n)
		}
		if _, err := within(t, p, "well", nothing); err != nil {
			t.Errorf("another subject is held up: %v", err)
		}
		if _, err := within(t, p, "stuck", nothing); !errors.Is(err, errManyHung) {
			t.Errorf("got %v", err)
		}
		close(release)
		synctest.Wait()
		if _, err := within(t, p, "stuck", nothing); err != nil {
			t.Errorf("got %v after the calls came back", err)
		}
		if n := p.hanging(); n != 0 {
			t.Errorf("%d calls are still said to hang", n)
		}
	})
}

func TestPoolGivesASuspectConnectionNoFurtherCalls(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		release := make(chan struct{})
		var used atomic.Pointer[fakeLink]
		_, err := within(t, p, "stuck", func(l *fakeLink) (int, error) {
			used.Store(l)
			<-release
			return 0, nil
		})
		if !errors.Is(err, errDeadline) {
			t.Fatalf("got %v", err)
		}
		suspect := used.Load()
		for range 10 {
			if _, err := within(t, p, "well", func(l *fakeLink) (int, error) {
				if l == suspect {
					t.Error("a call was put on the suspect connection")
				}
				return 0, nil
			}); err != nil {
				t.Error(err)
			}
		}
		if suspect.shuts.Load() != 0 {
			t.Error("a connection was closed under a call")
		}
		close(release)
		synctest.Wait()
		if suspect.shuts.Load() != 1 {
			t.Error("the suspect connection was not closed after its call came back")
		}
	})
}

func TestPoolReconnectsAtOnce(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		if _, err := within(t, p, "vm", nothing); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		d.breakAll()
		synctest.Wait()
		if n := d.dials.Load(); n != 2 {
			t.Errorf("connected %d times", n)
		}
		if n := p.attempts.made.Load(); n != 2 {
			t.Errorf("%d connections are counted", n)
		}
		if _, err := within(t, p, "vm", nothing); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestPoolFailsCallsFastWhileItCannotConnect(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		synctest.Wait()
		refused := errors.New("refused")
		d.set(refused, nil)
		d.breakAll()
		time.Sleep(time.Minute)
		if n := d.dials.Load(); n > 60 {
			t.Errorf("tried to connect %d times in a minute", n)
		}
		begin := time.Now()
		_, err := within(t, p, "vm", nothing)
		if notConnected := (*notConnectedError)(nil); !errors.As(err, &notConnected) || !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took > backoffStart {
			t.Errorf("the call took %v to fail", took)
		}
		d.set(nil, nil)
		time.Sleep(backoffLimit)
		synctest.Wait()
		if open := d.open.Load(); open != 1 {
			t.Errorf("%d connections are open", open)
		}
	})
}

func TestPoolOutlastsAttemptsThatHang(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		synctest.Wait()
		hang := make(chan struct{})
		d.set(nil, hang)
		d.breakAll()
		if _, err := within(t, p, "vm", nothing); !errors.Is(err, errDeadline) {
			t.Errorf("got %v", err)
		}
		// The next attempt, beside those that hang, goes well.
		d.set(nil, nil)
		time.Sleep(testPatience)
		synctest.Wait()
		if _, err := within(t, p, "vm", nothing); err != nil {
			t.Error(err)
		}
		// What those get that hung is of no use any more: an events connection, say,
		// would bring each event twice.
		close(hang)
		synctest.Wait()
		if open := d.open.Load(); open != 1 {
			t.Errorf("%d connections are open", open)
		}
	})
}

func TestPoolBoundsAttemptsThatHang(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		synctest.Wait()
		hang := make(chan struct{})
		d.set(nil, hang)
		before := d.dials.Load()
		d.breakAll()
		time.Sleep(time.Hour)
		if n := d.dials.Load() - before; n != maxDials {
			t.Errorf("%d attempts hang, want %d", n, maxDials)
		}
		close(hang)
		synctest.Wait()
		if _, err := within(t, p, "vm", nothing); err != nil {
			t.Error(err)
		}
	})
}

func TestPoolPrefersAResultThatCameInTime(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		for range 100 {
			got, err := within(t, p, "vm", func(*fakeLink) (int, error) {
				time.Sleep(time.Second)
				return 7, nil
			})
			if err == nil && got != 7 || err != nil && !errors.Is(err, errDeadline) {
				t.Errorf("got %d, %v", got, err)
			}
			synctest.Wait()
		}
	})
}

func TestPoolClosedWhileCallsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDaemon{}
		p := newPool(poolConfig[*fakeLink]{dial: d.dial, patience: testPatience, log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.run(ctx) })
		release := make(chan struct{})
		running.Go(func() {
			_, err := do(t.Context(), p, "stuck", func(*fakeLink) (int, error) {
				<-release
				return 0, nil
			})
			if !errors.Is(err, errClosing) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		p.close()
		running.Wait()
		_, err := do(t.Context(), p, "vm", nothing)
		if !errors.Is(err, errPoolClosed) {
			t.Errorf("got %v", err)
		}
		if err := p.enter(); !errors.Is(err, errPoolClosed) {
			t.Errorf("got %v", err)
		}
		if d.open.Load() != 1 {
			t.Error("the connection was closed under its call")
		}
		close(release)
		p.wait()
		if d.open.Load() != 0 {
			t.Error("the connection is left open")
		}
	})
}

// TestPoolUnderStress makes connections break and calls hang at random, and
// relies on withPool's checks and the race detector.
func TestPoolUnderStress(t *testing.T) {
	withPool(t, func(t *testing.T, d *fakeDaemon, p *pool[*fakeLink]) {
		var group sync.WaitGroup
		for worker := range 20 {
			group.Go(func() {
				for i := range 200 {
					_, err := within(t, p, strconv.Itoa(worker%7), func(l *fakeLink) (int, error) {
						switch n := (worker*7919 + i*104729) % 101; {
						case n < 3:
							time.Sleep(5 * time.Second)
						case n < 6:
							l.fail()
							return 0, errors.New("broken")
						default:
							time.Sleep(time.Duration(n) * time.Millisecond)
						}
						return 0, nil
					})
					_ = err
				}
			})
		}
		group.Wait()
		time.Sleep(time.Minute)
		if _, err := within(t, p, "vm", nothing); err != nil {
			t.Error(err)
		}
	})
}
