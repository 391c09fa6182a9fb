//go:build linux

package lab

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNoFrameWaitsFromBeforeItCame sends a frame while the relay is held up between
// two reads of the same batch.
func TestNoFrameWaitsFromBeforeItCame(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, end := range ends {
			_ = unix.Close(end) // Nothing is left to lose.
		}
	})
	send := func() {
		if _, err := unix.Write(ends[1], []byte("frame")); err != nil {
			t.Fatal(err)
		}
	}
	const heldUp = 10 * time.Millisecond
	clock, second := time.Now(), time.Time{}
	r := &relay{sockets: [2]int{ends[0], -1}, now: func() time.Time {
		stamp := clock
		if second.IsZero() {
			clock = clock.Add(heldUp)
			second = clock
			send()
		}
		return stamp
	}}
	send()
	r.receive(0)
	waiting := r.lines[0].waiting
	if len(waiting) != 2 {
		t.Fatalf("%d frames wait, want 2", len(waiting))
	}
	if at := waiting[1].at; at.Before(second) {
		t.Errorf("the second frame waits from %s before it was sent", second.Sub(at))
	}
}
