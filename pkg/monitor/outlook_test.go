package monitor

import (
	"strings"
	"testing"
	"time"
)

// seen is the outlook after some looks.
func seen(looks ...Sample) Outlook {
	s := Restore(Facts{MaxDowntimeMilliseconds: 500})
	for _, sample := range looks {
		s, _ = Decide(Config{OnTimeout: TimeoutKeepGoing}, s, Input{Sample: sample})
	}
	return s.Outlook()
}

// kb is a look at a job that has a GiB to copy, and says how fast it goes: 7000 bytes a second.
func kb(milliseconds, pass, sent, remaining int64) Sample {
	return Sample{
		Elapsed: time.Duration(milliseconds) * time.Millisecond, Iteration: pass, BandwidthBytesPerSecond: 7000,
		Memory: Transfer{TotalBytes: gib, ProcessedBytes: sent * 1000, RemainingBytes: remaining * 1000},
	}
}

// TestBandwidth is the best of the last measurements, each over half a second at least, and
// what the hypervisor says where there is none.
func TestBandwidth(t *testing.T) {
	t.Parallel()
	stalled := []Sample{kb(0, 1, 1, 900), kb(1000, 1, 1001, 800)}
	for i := range int64(8) {
		stalled = append(stalled, kb(2000+i*1000, 1, 1001, 800))
	}
	for _, c := range []struct {
		name  string
		looks []Sample
		want  int64
	}{
		{"nothing was seen", nil, 0},
		{"one look measures nothing", []Sample{kb(60000, 1, 6000, 900)}, 7000},
		{"nor do two that are close", []Sample{kb(0, 1, 1, 900), kb(499, 1, 999, 800)}, 7000},
		{"two that are half a second apart do", []Sample{kb(0, 1, 1, 900), kb(500, 1, 1001, 800)}, 2e6},
		{"it goes on from the last measurement", []Sample{kb(0, 1, 1, 900), kb(400, 1, 101, 900), kb(1000, 1, 1001, 800), kb(1500, 1, 1101, 800)}, 1e6},
		{"what was sent goes back only in another job", []Sample{kb(0, 1, 5000, 900), kb(1000, 1, 1, 900), kb(2000, 1, 1001, 800)}, 1e6},
		{"where nothing flows, it is remembered for a while", stalled[:9], 1e6},
		{"and no longer", stalled, 7000},
	} {
		if got := seen(c.looks...).BandwidthBytesPerSecond; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestForeseenDowntime is that of a switch-over when the present pass began, as fast as was
// measured.
func TestForeseenDowntime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		looks []Sample
		want  int64
	}{
		{"from the first look on", []Sample{kb(0, 1, 1, 14)}, 2000},
		{"a pass that began before the first look is not known", []Sample{kb(0, 2, 1, 14)}, 0},
		{"the next is", []Sample{kb(0, 2, 1, 14), kb(100, 3, 10, 7)}, 1000},
		{"what remains within a pass says nothing", []Sample{kb(0, 1, 1, 900), kb(1000, 2, 1001, 500), kb(2000, 2, 2001, 400)}, 500},
		{"where little remains, it takes a millisecond", []Sample{kb(0, 1, 1, 900), kb(1000, 2, 1001, 0)}, 1},
		{"a link over which nothing flows is not known", []Sample{{Iteration: 1, Memory: kb(0, 1, 1, 500).Memory}}, 0},
	} {
		if got := seen(c.looks...).DowntimeMilliseconds; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestForeseenDowntimeAtTheSwitchOver is as fast as the hypervisor was told that it is, whatever
// is copied, and people are told so.
func TestForeseenDowntimeAtTheSwitchOver(t *testing.T) {
	t.Parallel()
	c := Config{MaxDowntimeMilliseconds: 500, SwitchoverBytesPerSecond: 2 << 20}
	s := Restore(Facts{MaxDowntimeMilliseconds: 300})
	s, _ = Decide(c, s, Input{Sample: kb(0, 1, 1, 4000)})
	s, actions := Decide(c, s, Input{Sample: kb(4000, 2, 4001, 800)})
	if got := s.Outlook(); got.DowntimeMilliseconds != 381 || got.BandwidthBytesPerSecond != 1e6 {
		t.Errorf("%+v", got)
	}
	if len(actions) != 1 || actions[0].MaxDowntimeMilliseconds != 439 || !strings.Contains(actions[0].Message, "381 ms of downtime at the 2.0 MiB/s of the switch-over") {
		t.Errorf("%+v", actions)
	}
}

// TestPassesThatWereWatched: those that take less than a second are one with the next, and
// what the guest wrote is exact, however late the looks were.
func TestPassesThatWereWatched(t *testing.T) {
	t.Parallel()
	throttled := kb(3000, 3, 3001, 500)
	throttled.ThrottlePercent = 20
	for _, c := range []struct {
		name          string
		looks         []Sample
		passes, dirty int64
	}{
		{"none is over", []Sample{kb(0, 1, 1, 900)}, 0, 0},
		{"the first", []Sample{kb(0, 1, 1, 900), kb(2000, 2, 801, 500)}, 1, 200_000},
		{"the first counts even where it is short", []Sample{kb(0, 1, 1, 900), kb(500, 2, 801, 500)}, 1, 800_000},
		{"a second is long enough", []Sample{kb(0, 1, 1, 900), kb(2000, 2, 801, 500), kb(3000, 3, 1301, 100)}, 2, 100_000},
		{"less is not", []Sample{kb(0, 1, 1, 900), kb(2000, 2, 801, 500), kb(2999, 3, 1301, 100)}, 1, 200_000},
		{
			"short ones count together",
			[]Sample{kb(0, 1, 1, 900), kb(2000, 2, 801, 500), kb(2600, 3, 1101, 300), kb(4000, 4, 1301, 200)},
			2, 100_000,
		},
		{"one that sends nothing counts", []Sample{kb(0, 1, 1, 900), kb(2000, 2, 801, 500), kb(4000, 3, 801, 700)}, 2, 100_000},
		{"two looks at once are no pass", []Sample{kb(1000, 1, 1, 900), kb(1000, 2, 801, 500)}, 0, 0},
		{"a guest cannot write less than nothing", []Sample{kb(0, 1, 1, 900), kb(2000, 2, 401, 400)}, 1, 0},
		{"what was sent goes back only in another job", []Sample{kb(0, 1, 5000, 900), kb(2000, 2, 1, 500), kb(4000, 3, 501, 400)}, 1, 200_000},
		{"a guest that is slowed down is another", []Sample{kb(0, 1, 1, 900), kb(2000, 2, 801, 500), throttled}, 1, 0},
	} {
		got := seen(c.looks...)
		if got.Passes != c.passes || got.DirtyBytesPerSecond != c.dirty {
			t.Errorf("%s: %d passes, in the last of which %d were written, want %d and %d", c.name, got.Passes, got.DirtyBytesPerSecond, c.passes, c.dirty)
		}
	}
}

// TestWhatWasSeenStays: that the passes stand still is no reason to forget them where the
// maximum is allowed already.
func TestWhatWasSeenStays(t *testing.T) {
	t.Parallel()
	s, actions, _ := course{
		config: Config{MaxDowntimeMilliseconds: 1000, OnTimeout: TimeoutKeepGoing},
		facts:  Facts{MaxDowntimeMilliseconds: 1000}, legs: evenly(4000, 9),
	}.run()
	want := Outlook{BandwidthBytesPerSecond: 1e6, DirtyBytesPerSecond: 1e6, DowntimeMilliseconds: 4000, Passes: 9}
	if s.Outlook() != want || len(actions) > 0 {
		t.Errorf("got %+v after %q, want %+v", s.Outlook(), actions, want)
	}
}
