package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// TestWhenReportsAreWritten: what waits is written with what comes meanwhile.
func TestWhenReportsAreWritten(t *testing.T) {
	type report struct {
		after time.Duration
		what  int
		when  urgency
	}
	type write struct {
		after time.Duration
		what  int
	}
	for name, tc := range map[string]struct {
		reports []report
		// took is how long a write takes.
		took time.Duration
		want []write
	}{
		"at once": {[]report{{0, 1, atOnce}, {time.Millisecond, 2, atOnce}}, 0, []write{{0, 1}, {time.Millisecond, 2}}},
		"soon":    {[]report{{0, 1, soon}}, 0, []write{{soonDelay, 1}}},
		"soon, overtaken by what is urgent": {
			[]report{{0, 1, soon}, {soonDelay / 2, 2, atOnce}}, 0, []write{{soonDelay / 2, 2}},
		},
		"soon, for ever new": {
			[]report{{0, 1, soon}, {soonDelay / 2, 2, soon}, {soonDelay, 3, soon}}, 0, []write{{soonDelay, 2}, {2 * soonDelay, 3}},
		},
		"later": {
			[]report{{time.Second, 1, later}, {progressInterval + time.Second, 2, later}}, 0,
			[]write{{progressInterval, 1}, {2 * progressInterval, 2}},
		},
		"later, after what was urgent": {
			[]report{{time.Second, 1, atOnce}, {time.Second, 2, later}}, 0, []write{{time.Second, 1}, {time.Second + progressInterval, 2}},
		},
		"later, from an API server that is slow": {
			[]report{{0, 1, atOnce}, {2 * time.Second, 2, later}, {3 * time.Second, 3, later}}, time.Second,
			[]write{{0, 1}, {time.Second + writeShare*time.Second, 3}},
		},
		"what waits, at once after all": {
			[]report{{0, 1, atOnce}, {2 * time.Second, 2, later}, {3 * time.Second, 2, atOnce}}, time.Second,
			[]write{{0, 1}, {3 * time.Second, 2}},
		},
		"at once, all the same": {
			[]report{{0, 1, atOnce}, {2 * time.Second, 2, later}, {3 * time.Second, 3, atOnce}}, time.Second,
			[]write{{0, 1}, {3 * time.Second, 3}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var mu sync.Mutex
				var got []write
				node := &Node{Clock: clock.RealClock{}, Log: logr.Discard()}
				out := newReporter(node, node.Log, func(_ context.Context, what int) error {
					mu.Lock()
					got = append(got, write{time.Since(began), what})
					mu.Unlock()
					time.Sleep(tc.took)
					return nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					out.run(ctx)
				}()
				for _, r := range tc.reports {
					time.Sleep(time.Until(began.Add(r.after)))
					// Writes that are due now come first.
					synctest.Wait()
					out.report(r.what, r.when)
				}
				time.Sleep(time.Minute)
				cancel()
				<-ended
				if len(got) != len(tc.want) {
					t.Fatalf("the writes are %v, want %v", got, tc.want)
				}
				for i, w := range tc.want {
					if got[i] != w {
						t.Errorf("write %d is %v, want %v", i, got[i], w)
					}
				}
			})
		})
	}
}

// TestAFlushHastens what may wait: somebody waits for it.
func TestAFlushHastens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &Node{Clock: clock.RealClock{}, Log: logr.Discard()}
		out := newReporter(node, node.Log, func(context.Context, int) error { return nil })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go out.run(ctx)
		out.report(1, later)
		if !out.flush(ctx, progressInterval/2) {
			t.Error("it was not written in time")
		}
	})
}

// TestWhatIsNotWantedIsNotRepeated, be it outdated or about an object that is gone. Nobody takes
// it to be recorded.
func TestWhatIsNotWantedIsNotRepeated(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		writes  int
		flushed bool
	}{
		{"outdated", ErrOutdated, 2, false},
		{"gone", ErrGone, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := &Node{Clock: clock.RealClock{}, Log: logr.Discard()}
				writes := 0
				out := newReporter(node, node.Log, func(context.Context, int) error {
					writes++
					return c.err
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go out.run(ctx)
				for report := range 2 {
					out.report(report, atOnce)
					if out.flush(ctx, time.Minute) != c.flushed {
						t.Errorf("somebody who waits for report %d is told that it is written: %t", report, !c.flushed)
					}
				}
				synctest.Wait()
				if writes != c.writes {
					t.Errorf("there were %d writes, not %d", writes, c.writes)
				}
			})
		})
	}
}

// TestAnAPIServerThatIsAwayIsAskedSeldom, however much there is to report, and gets the latest.
func TestAnAPIServerThatIsAwayIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &Node{Clock: clock.RealClock{}, Log: logr.Discard()}
		var tries, written atomic.Int32
		var back atomic.Bool
		out := newReporter(node, node.Log, func(_ context.Context, report int) error {
			tries.Add(1)
			if !back.Load() {
				return errors.New("connection refused")
			}
			written.Store(int32(report))
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go out.run(ctx)
		const reports = 600
		for n := range reports {
			out.report(n, atOnce)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := tries.Load(); n < 10 || n > 30 {
			t.Errorf("it was asked %d times in a minute", n)
		}
		back.Store(true)
		time.Sleep(2 * retryMost)
		synctest.Wait()
		if n := written.Load(); n != reports-1 {
			t.Errorf("what was written last is number %d", n)
		}
	})
}
