package monitor

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// readTrace reads what test/bench/convergence recorded of a real migration.
func readTrace(t *testing.T, name string) (config Config, samples []Sample) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "traces", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct {
			Config *Config `json:"config"`
			Sample *struct {
				Milliseconds int64    `json:"ms"`
				Pass         int64    `json:"pass"`
				Memory       [3]int64 `json:"memory"`
				Dirty        int64    `json:"dirty"`
				Bandwidth    int64    `json:"bandwidth"`
				Downtime     int64    `json:"downtime"`
				Throttle     int64    `json:"throttle"`
			} `json:"sample"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if line.Config != nil {
			config = *line.Config
		}
		if s := line.Sample; s != nil {
			samples = append(samples, Sample{
				Elapsed:   time.Duration(s.Milliseconds) * time.Millisecond,
				Memory:    Transfer{TotalBytes: s.Memory[0], ProcessedBytes: s.Memory[1], RemainingBytes: s.Memory[2]},
				Iteration: s.Pass, DirtyBytesPerSecond: s.Dirty, BandwidthBytesPerSecond: s.Bandwidth,
				ExpectedDowntime: time.Duration(s.Downtime) * time.Millisecond, ThrottlePercent: s.Throttle,
			})
		}
	}
	return config, samples
}

// replay decides on a trace, and returns the actions as "pass kind limit reason".
func replay(c Config, samples []Sample) (all, messages []string) {
	var s State
	for _, sample := range samples {
		var actions []Action
		s, actions = Decide(c, s, Input{Sample: sample})
		for _, a := range actions {
			text := fmt.Sprintf("%d %s", sample.Iteration, a.Kind)
			if a.Kind == SetMaxDowntime {
				text += fmt.Sprintf(" %d", a.MaxDowntimeMilliseconds)
			}
			all = append(all, text+" "+string(a.Reason))
			messages = append(messages, a.Message)
		}
	}
	return all, messages
}

// TestReplay looks at real migrations of a guest with 288 MiB that writes to 192 MiB
// at a share of what a link of 32 MiB/s carries, with 500 ms of downtime allowed.
// What is shown does not change by what is decided, so it is the first decisions
// that tell.
func TestReplay(t *testing.T) {
	tests := []struct {
		trace  string
		change func(*Config)
		want   []string
	}{
		{trace: "idle-libvirt", want: []string{"0 SetMaxDowntime 300 Initial"}},
		{trace: "uniform-0.30-libvirt", want: []string{"0 SetMaxDowntime 300 Initial", "4 SetMaxDowntime 450 WithinReach"}},
		{trace: "uniform-0.70-libvirt", want: []string{"0 SetMaxDowntime 300 Initial", "5 SetMaxDowntime 360 Slow", "9 SetMaxDowntime 450 WithinReach"}},
		// libvirt's own limit was never reached here: this went on for minutes.
		{trace: "uniform-0.95-libvirt", want: []string{"0 SetMaxDowntime 300 Initial", "4 SetMaxDowntime 360 Slow", "36 SetMaxDowntime 450 WithinReach"}},
		{trace: "uniform-0.95-adaptive", want: []string{"0 SetMaxDowntime 300 Initial", "3 SetMaxDowntime 360 Slow", "53 SetMaxDowntime 450 WithinReach"}},
		{trace: "hotspot-1.20-adaptive", want: []string{"0 SetMaxDowntime 300 Initial"}},
		{trace: "uniform-1.20-kept-going", want: []string{"0 SetMaxDowntime 300 Initial", "3 SetMaxDowntime 360 Slow", "5 Abort NotConverging"}},
		{
			trace: "uniform-1.20-kept-going", change: func(c *Config) { c.AllowPause = true },
			want: []string{"0 SetMaxDowntime 300 Initial", "3 SetMaxDowntime 360 Slow", "5 Pause NotConverging"},
		},
		{
			trace: "uniform-1.20-kept-going", change: func(c *Config) { c.AllowPostCopy = true },
			want: []string{"0 SetMaxDowntime 300 Initial", "3 SetMaxDowntime 360 Slow", "5 StartPostCopy NotConverging"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.trace, func(t *testing.T) {
			config, samples := readTrace(t, tt.trace)
			config.OnTimeout, config.Strategy = TimeoutAbort, StrategyAdaptive
			if tt.change != nil {
				tt.change(&config)
			}
			got, messages := replay(config, samples)
			if len(got) < len(tt.want) || !slices.Equal(got[:len(tt.want)], tt.want) {
				t.Errorf("got %q,\nwant %q first", got, tt.want)
			}
			t.Log(strings.Join(messages, "\n"))
		})
	}
}
