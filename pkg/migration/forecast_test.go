package migration

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestForecast(t *testing.T) {
	t.Parallel()
	const mib, gib = int64(1 << 20), int64(1 << 30)
	for name, c := range map[string]struct {
		memory, disks int64
		dirty         int64 // Negative is not known.
		bandwidth     int64
		switchover    int64
		allowed       time.Duration
		want          string // converges, seconds, milliseconds; "?" is not told.
		says          string
	}{
		"an idle guest":                          {memory: 10 * gib, bandwidth: gib, allowed: time.Second, want: "true 11 0", says: "would take about 11s"},
		"with a disk":                            {memory: 10 * gib, disks: 100 * gib, bandwidth: gib, allowed: time.Second, want: "true 111 0"},
		"half as fast as the link":               {memory: 8 * gib, dirty: 512 * mib, bandwidth: gib, allowed: time.Second, want: "true 16 1000"},
		"the same, with less downtime":           {memory: 8 * gib, dirty: 512 * mib, bandwidth: gib, allowed: 300 * time.Millisecond, want: "true 16 250"},
		"as fast as the link":                    {memory: 8 * gib, dirty: gib, bandwidth: gib, allowed: time.Second, want: "false", says: "which changes 1024 MiB of its memory per second, while 1024 MiB can be copied. Allow post-copy"},
		"as fast, and the switch-over is faster": {memory: 8 * gib, dirty: gib, bandwidth: gib, switchover: 9 * gib, allowed: time.Second, want: "true 1 888"},
		"faster, and so is the switch-over":      {memory: 8 * gib, dirty: gib / 2, bandwidth: gib, switchover: 4 * gib, allowed: 300 * time.Millisecond, want: "true 15 250"},
		"faster, and all of it fits":             {memory: gib / 2, dirty: 4 * gib, bandwidth: gib, allowed: time.Second, want: "true 1 500"},
		"faster, while the disks are copied":     {memory: gib / 2, disks: 9 * gib, dirty: 4 * gib, bandwidth: gib, allowed: time.Second, want: "true 10 500"},
		"the rate is not known":                  {memory: gib, dirty: -1, bandwidth: gib, allowed: time.Second, want: "?"},
		"the link is not known":                  {memory: gib, dirty: mib, allowed: time.Second, want: "?"},
		"no pass is much shorter than the one":   {memory: 1000 * gib, dirty: gib - mib, bandwidth: gib, allowed: time.Millisecond, want: "false"},
		"no memory at all":                       {bandwidth: gib, allowed: time.Second, want: "true 1 0"},
	} {
		load := &v1alpha1.GuestLoad{MemoryBytes: c.memory, DiskBytes: c.disks}
		if c.dirty >= 0 {
			load.DirtyBytesPerSecond = &c.dirty
		}
		f := Forecast(load, ForecastTerms{Bandwidth: c.bandwidth, Switchover: c.switchover, AllowedDowntime: c.allowed})
		if got := told(f); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if f.CopyBytes != c.memory+c.disks || !cmp.Equal(f.DirtyBytesPerSecond, load.DirtyBytesPerSecond) || (f.BandwidthBytesPerSecond == nil) != (c.bandwidth == 0) {
			t.Errorf("%s: %+v", name, f)
		}
		if said := saysForecast(f, nil); !strings.Contains(said, c.says) || (c.want == "?") != (said == "") {
			t.Errorf("%s: it says %q", name, said)
		}
	}
	if said := saysForecast(nil, nil); said != "" {
		t.Errorf("of none, it says %q", said)
	}
	slow := Forecast(&v1alpha1.GuestLoad{MemoryBytes: gib, DirtyBytesPerSecond: new(gib)}, ForecastTerms{Bandwidth: mib, AllowedDowntime: time.Second})
	for _, o := range []v1alpha1.MigrationOptions{{AllowPostCopy: new(true)}, {AutoConverge: &v1alpha1.AutoConvergeOptions{}}} {
		if said := saysForecast(slow, &o); !strings.Contains(said, "What spec.options allows") {
			t.Errorf("%+v: it says %q", o, said)
		}
	}
}

func told(f *v1alpha1.Forecast) string {
	switch {
	case f.Converges == nil:
		return "?"
	case !*f.Converges:
		return "false"
	default:
		return strings.Join([]string{"true", itoa(*f.DurationSeconds), itoa(*f.DowntimeMilliseconds)}, " ")
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// TestTheShareOfALink is what is left of it where as many guests move as may.
func TestTheShareOfALink(t *testing.T) {
	t.Parallel()
	const mbit = int64(1_000_000 / 8)
	for _, c := range []struct {
		name           string
		source, target int32
		limit          int64
		limits         Limits
		want           int64
	}{
		{"nothing is known", 0, 0, 0, Limits{Source: 1, Target: 2}, 0},
		{"the source's link", 10000, 0, 0, Limits{Source: 2, Target: 2}, 5000 * mbit},
		{"the target's link", 0, 10000, 0, Limits{Source: 2, Target: 4}, 2500 * mbit},
		{"the narrower of both", 10000, 10000, 0, Limits{Source: 1, Target: 2}, 5000 * mbit},
		{"the user's limit", 10000, 10000, 100, Limits{Source: 1, Target: 2}, 100 << 20},
		{"a limit beyond the link", 1000, 1000, 1000, Limits{Source: 1, Target: 1}, 1000 * mbit},
		{"the user's limit alone", 0, 0, 100, Limits{Source: 1, Target: 2}, 100 << 20},
		{"limits that nobody has set", 1000, 1000, 0, Limits{}, 1000 * mbit},
	} {
		lm := makeMigration("m").planned().obj()
		lm.Status.SourceNode, lm.Status.TargetNode = "node-a", "node-b"
		s := &summarizer{lm: lm, ManagerFacts: ManagerFacts{
			Limits: c.limits, Nodes: NewInventory(Node{Name: "node-a", LinkMbps: c.source}, Node{Name: "node-b", LinkMbps: c.target}),
		}}
		if got := s.share(c.limit); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestAPassedDryRunForecasts with the options that the user gives.
func TestAPassedDryRunForecasts(t *testing.T) {
	t.Parallel()
	b := makeMigration("m").planned()
	b.lm.Spec.Options = &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(1024)), MaxDowntimeMilliseconds: new(int64(2000))}
	b.lm.Status.Source.Load = &v1alpha1.GuestLoad{MemoryBytes: 8 << 30, DirtyBytesPerSecond: new(int64(512 << 20))}
	f := b.turned(Turn{}, epoch).Status.Forecast
	if f == nil || told(f) != "true 15 2000" {
		t.Errorf("it is %+v", f)
	}
	b.lm.Status.Source.Load = nil
	if f := b.turned(Turn{}, epoch).Status.Forecast; f != nil {
		t.Errorf("without a load, it is %+v", f)
	}
}
