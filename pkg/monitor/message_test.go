package monitor

import (
	"strings"
	"testing"
	"time"
)

// TestWhatRemains is told with everything that ends a migration, in units that fit.
func TestWhatRemains(t *testing.T) {
	t.Parallel()
	const kib = 1 << 10
	for _, c := range []struct {
		memory, disk Transfer
		want         string
	}{
		{want: "and the hypervisor does not say how much remains"},
		{memory: Transfer{TotalBytes: 1}, want: "0 KiB of memory remain"},
		{disk: Transfer{TotalBytes: 1}, want: "0 KiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: -1}, want: "0 KiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: 3*kib - 1}, want: "2 KiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: mib - 1}, want: "1023 KiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: mib}, want: "1.0 MiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: 10*mib - mib/2}, want: "9.5 MiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: 10 * mib}, want: "10 MiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: gib - 1}, want: "1023 MiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: gib}, want: "1.0 GiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: 5 * gib / 2}, want: "2.5 GiB of memory remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: gib}, disk: Transfer{TotalBytes: gib, RemainingBytes: kib}, want: "1.0 GiB of memory and 1 KiB of disks remain"},
		{memory: Transfer{TotalBytes: gib, RemainingBytes: gib}, disk: Transfer{TotalBytes: gib}, want: "1.0 GiB of memory remain"},
		{memory: Transfer{RemainingBytes: gib}, disk: Transfer{TotalBytes: gib, RemainingBytes: kib}, want: "1 KiB of disks remain"},
	} {
		config := Config{CompletionTimeoutPerGiB: 10 * time.Second, Size: Size{MemoryBytes: 2 * gib}}
		_, actions := Decide(config, Restore(Facts{MaxDowntimeMilliseconds: 500}), Input{Sample: Sample{Elapsed: time.Minute, Memory: c.memory, Disk: c.disk}})
		if len(actions) != 1 || !strings.HasSuffix(actions[0].Message, "s are allowed; "+c.want) {
			t.Errorf("of %+v and %+v: %+v, want %q", c.memory, c.disk, actions, c.want)
		}
	}
}

// TestSpans are told to a tenth of a second where they are short.
func TestSpans(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]string{
		2 * time.Second:                          "2s",
		2*time.Second + 199*time.Millisecond:     "2.1s",
		10*time.Second - time.Millisecond:        "9.9s",
		10 * time.Second:                         "10s",
		10*time.Second + 900*time.Millisecond:    "10s",
		time.Hour + time.Second + time.Second/10: "1h0m1s",
	} {
		config := Config{CompletionTimeoutPerGiB: time.Second / 2, Size: Size{MemoryBytes: 2 * gib}}
		_, actions := Decide(config, Restore(Facts{MaxDowntimeMilliseconds: 500}), Input{Sample: Sample{Elapsed: took}})
		if len(actions) != 1 || !strings.HasPrefix(actions[0].Message, "the migration has taken "+want+", but only 1s are allowed") {
			t.Errorf("after %s: %+v, want %q", took, actions, want)
		}
	}
}

// TestDowntimes are told in milliseconds up to a second.
func TestDowntimes(t *testing.T) {
	t.Parallel()
	for milliseconds, want := range map[int64]string{1: "1 ms", 999: "999 ms", 1000: "1.0 s", 1500: "1.5 s", 2_000_000: "2000.0 s"} {
		config := Config{Strategy: StrategyStepped, Steps: 1, MaxDowntimeMilliseconds: milliseconds}
		_, actions := Decide(config, State{}, Input{})
		if len(actions) != 1 || actions[0].Message != want+" of downtime are allowed at first" {
			t.Errorf("%d ms: %+v, want %q", milliseconds, actions, want)
		}
	}
}
