package monitor

import (
	"math"
	"testing"
	"time"
)

// TestSizes: whatever is smaller counts as 2 GiB, and nothing is too large to be counted.
func TestSizes(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, c := range []struct {
		memory int64
		disks  []int64
		counts int64
		takes  time.Duration
	}{
		{0, nil, 2 * gib, 20 * time.Second},
		{2*gib + 1, nil, 2*gib + 1, 20 * time.Second},
		{3 * gib, nil, 3 * gib, 30 * time.Second},
		{3*gib + gib/2, nil, 3*gib + gib/2, 35 * time.Second},
		{3 * gib, []int64{1, 4 * gib}, 9 * gib, 90 * time.Second},
		{math.MaxInt64 - 2*gib, []int64{0}, math.MaxInt64, time.Duration(math.MaxInt64)},
		{math.MaxInt64, []int64{0}, math.MaxInt64, time.Duration(math.MaxInt64)},
	} {
		size := Size{MemoryBytes: c.memory, DiskBytes: c.disks}
		if got := size.CountedBytes(); got != c.counts {
			t.Errorf("%+v counts as %d bytes, not %d", size, got, c.counts)
		}
		if got := size.scale(10 * time.Second); got != c.takes && c.takes != math.MaxInt64 {
			t.Errorf("%+v takes %s, not %s", size, got, c.takes)
		}
		if size.scale(10*time.Second) < 0 || size.scale(math.MaxInt64) < 0 || size.scale(-time.Second) != 0 {
			t.Errorf("%+v takes less than nothing", size)
		}
	}
}

// TestTimes stops at the most there is.
func TestTimes(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt64
	for _, c := range [][3]int64{{0, 0, 0}, {3, 4, 12}, {most, 1, most}, {most, 0, 0}, {most/2 + 1, 2, most}, {most / 2, 2, most - 1}} {
		if got := times(c[0], c[1]); got != c[2] {
			t.Errorf("%d times %d is %d, not %d", c[0], c[1], got, c[2])
		}
	}
}

// TestPauseTimeout is once more what the migration might take, and a while at least.
func TestPauseTimeout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ perGiB, want time.Duration }{
		{0, 2 * DefaultCompletionTimeoutPerGiB}, {time.Hour, 2 * time.Hour}, {time.Millisecond, minPauseTimeout},
	} {
		if got := (Config{CompletionTimeoutPerGiB: c.perGiB}).pauseTimeout(); got != c.want {
			t.Errorf("with %s for each GiB, a pause may last %s, not %s", c.perGiB, got, c.want)
		}
	}
}

// TestSizesThatWereSeen: the disks are no less than what the hypervisor says, and otherwise
// each counts by itself.
func TestSizesThatWereSeen(t *testing.T) {
	t.Parallel()
	const gib, forever = 1 << 30, 2_000_000 * time.Hour
	for _, c := range []struct {
		known []int64
		seen  int64
		until time.Duration
	}{
		{nil, 0, 2 * time.Second},
		{nil, 5 * gib, 7 * time.Second},
		{[]int64{gib, gib, 3 * gib}, 5 * gib, 9 * time.Second},
		{[]int64{gib, gib, 3 * gib}, 5*gib + 1, 7 * time.Second},
		{[]int64{math.MaxInt64 - gib, gib - 1}, gib, forever},
		{[]int64{math.MaxInt64, math.MaxInt64, gib}, gib, forever},
	} {
		config := Config{CompletionTimeoutPerGiB: time.Second, Size: Size{DiskBytes: c.known}}
		state := Restore(Facts{MaxDowntimeMilliseconds: 500})
		for _, at := range []time.Duration{0, c.until} {
			var actions []Action
			if state, actions = Decide(config, state, Input{Sample: Sample{Elapsed: at, Disk: Transfer{TotalBytes: c.seen}}}); len(actions) > 0 {
				t.Errorf("%+v, seen to be %d: %+v after %s", c.known, c.seen, actions, at)
			}
		}
		if c.until == forever {
			continue
		}
		if _, actions := Decide(config, state, Input{Sample: Sample{Elapsed: c.until + 1}}); len(actions) != 1 {
			t.Errorf("%+v, seen to be %d: more than %s are allowed", c.known, c.seen, c.until)
		}
	}
}
