//go:build linux

package lab

import (
	"testing"
	"time"
)

// put appends a frame that holds text.
func put(l *delayLine, at time.Time, text string) { l.push(at, copy(l.buffer(), text)) }

func TestDelayLineKeepsOrderAndTime(t *testing.T) {
	const delay = 50 * time.Millisecond
	var line delayLine
	start := time.Now()
	if wait := line.wait(start, delay); wait >= 0 {
		t.Errorf("an empty line waits for %s", wait)
	}
	put(&line, start, "first")
	put(&line, start.Add(20*time.Millisecond), "second")
	put(&line, start.Add(30*time.Millisecond), "third")
	steps := []struct {
		name  string
		at    time.Duration
		delay time.Duration
		wait  time.Duration
		want  string
	}{
		{"nothing is early", 49 * time.Millisecond, delay, time.Millisecond, ""},
		{"a frame is due", 50 * time.Millisecond, delay, 0, "first"},
		{"the next is not", 50 * time.Millisecond, delay, 20 * time.Millisecond, ""},
		{"a longer delay holds what waits", 70 * time.Millisecond, 2 * delay, 50 * time.Millisecond, ""},
		{"a shorter one frees it", 71 * time.Millisecond, delay / 2, 0, "second"},
		{"no delay frees all", 71 * time.Millisecond, 0, 0, "third"},
		{"nothing is left", 72 * time.Millisecond, 0, -1, ""},
	}
	for _, s := range steps {
		now := start.Add(s.at)
		if wait := line.wait(now, s.delay); wait != s.wait {
			t.Errorf("%s: to wait is %s, want %s", s.name, wait, s.wait)
		}
		if frame, ok := line.pop(now, s.delay); string(frame) != s.want || ok != (s.want != "") {
			t.Errorf("%s: got %q, %t, want %q", s.name, frame, ok, s.want)
		}
	}
	if line.size != 0 {
		t.Errorf("the empty line has a size of %d", line.size)
	}
}

func TestDelayLineIsBounded(t *testing.T) {
	var line delayLine
	now := time.Now()
	const length = maxFrame - 1
	for range 2 * maxWaiting / length {
		line.buffer()
		line.push(now, length)
	}
	if line.size > maxWaiting || line.size < maxWaiting-maxFrame-frameOverhead {
		t.Errorf("the line holds %d bytes, want about %d", line.size, maxWaiting)
	}
	line.clear()
	if _, ok := line.pop(now, 0); ok || line.size != 0 {
		t.Errorf("the line holds %d bytes after it was cleared", line.size)
	}
}
