package agent

import (
	"testing"
	"time"
)

// TestPace: a few publications may follow each other at once, and then they are spaced, until
// there was a time without any.
func TestPace(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var p pace
	publish := func() time.Duration {
		delay := p.delay(now)
		now = now.Add(delay)
		p.succeeded(now)
		return delay
	}
	for round := range 2 {
		for n := range publishBurst {
			if delay := publish(); delay != 0 {
				t.Errorf("round %d: number %d waits for %s", round, n, delay)
			}
		}
		for range 3 {
			if delay := publish(); delay != publishSpacing {
				t.Errorf("round %d: a later one waits for %s", round, delay)
			}
		}
		now = now.Add(time.Hour)
	}
	// After one that failed the pause grows, up to a limit, and is over with one that succeeds.
	last := time.Duration(0)
	for range 12 {
		pause := p.failed(now)
		if pause < last/2 || pause > publishRetryMost*2 || p.delay(now) != pause || p.delay(now.Add(pause)) != 0 {
			t.Errorf("after %s, the pause is %s, of which %s are left", last, pause, p.delay(now))
		}
		last = pause
	}
	if last < publishRetryMost {
		t.Errorf("the longest pause is %s", last)
	}
	p.succeeded(now)
	if pause := p.failed(now); pause > 2*retryInterval {
		t.Errorf("after one that succeeded, the pause is %s", pause)
	}
}
