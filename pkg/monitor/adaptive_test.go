package monitor

import (
	"fmt"
	"testing"
	"time"
)

// bursts writes for one span, and rests for another, in turns.
func bursts(mibps float64, busy, idle time.Duration) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at%(busy+idle) < busy {
			return mibps
		}
		return 0
	}
}

// simLink is what the simulated link carries, in MiB/s.
const simLink = 32

func writer(rate float64, hot bool, seed uint64) simGuest {
	return simGuest{memoryMiB: 256, zeroMiB: 32, workingSetMiB: 192, linkMiBps: simLink, write: steady(rate * simLink), hot: hot, seed: seed}
}

// novaScaled is Stepped with Nova's defaults, by the size of the simulated guest
// rather than by the 2 GiB that it counts for.
func novaScaled() *Config {
	return &Config{Strategy: StrategyStepped, StepDelayPerGiB: DefaultStepDelayPerGiB / 8, Size: Size{MemoryBytes: gib / 4}}
}

// TestAdaptiveAgainstTheOthers compares on simulated guests, which do not depend
// on what else the machine has to do.
func TestAdaptiveAgainstTheOthers(t *testing.T) {
	const allowed = 500 * time.Millisecond
	for _, rate := range []float64{0, 0.3, 0.7, 0.95, 1.2} {
		for _, hot := range []bool{false, true} {
			t.Run(fmt.Sprintf("rate %g, hot %t", rate, hot), func(t *testing.T) {
				for seed := range uint64(1) {
					g := writer(rate, hot, seed)
					libvirt, stepped, adaptive := simulate(g, nil), simulate(g, novaScaled()), simulate(g, &Config{})
					t.Logf("libvirt %s %s, stepped %s %s, adaptive %s %s pass %d %s", libvirt.took, libvirt.downtime,
						stepped.took, stepped.downtime, adaptive.took, adaptive.downtime, adaptive.iteration, adaptive.message)
					if adaptive.downtime > allowed {
						t.Errorf("the downtime is %s", adaptive.downtime)
					}
					for _, other := range []simResult{libvirt, stepped} {
						if other.took < simForever && other.downtime <= allowed && (adaptive.end != "" || adaptive.took > other.took*105/100) {
							t.Errorf("took %s and ended with %q where another took %s", adaptive.took, adaptive.end, other.took)
						}
					}
					if waited := stepped.took > libvirt.took*2 || stepped.took == simForever; waited && adaptive.took > stepped.took/2 {
						t.Errorf("took %s where Stepped, which waits, took %s", adaptive.took, stepped.took)
					}
				}
			})
		}
	}
}

func TestAdaptiveKnowsWhatWillNeverEnd(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   Kind
	}{
		{"post-copy comes first", func(c *Config) { c.AllowPostCopy, c.AllowPause = true, true }, StartPostCopy},
		{"then a pause", func(c *Config) { c.AllowPause = true }, Pause},
		{"then the end", func(*Config) {}, Abort},
		{"a migration that is to be forced at its timeout goes on until then", func(c *Config) { c.OnTimeout = TimeoutForceComplete }, ""},
		{"one that is to keep going keeps going", func(c *Config) { c.OnTimeout = TimeoutKeepGoing }, ""},
		{"nobody but Adaptive gives up early", func(c *Config) { c.Strategy = StrategyStepped }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := writer(2, false, 1)
			c := &Config{}
			tt.change(c)
			r := simulate(g, c)
			if r.end != tt.want || r.end != "" && (r.iteration > 5 || r.reason != ReasonNotConverging) {
				t.Errorf("ended with %q for %s in pass %d, want %q: %s", r.end, r.reason, r.iteration, tt.want, r.message)
			}
		})
	}
}

func TestAdaptiveIsPatient(t *testing.T) {
	tests := []struct {
		name string
		g    simGuest
		c    Config
	}{
		{name: "with a guest that rests half of the time", g: simGuest{write: bursts(2*simLink, 3*time.Second, 3*time.Second)}},
		{name: "with a guest that rests a third of the time", g: simGuest{write: bursts(1.5*simLink, 4*time.Second, 2*time.Second)}},
		{name: "with a guest that rests for long", g: simGuest{write: bursts(2*simLink, 8*time.Second, 8*time.Second)}},
		{name: "with a guest that rests seldom", g: simGuest{write: bursts(1.2*simLink, 10*time.Second, 3*time.Second)}},
		{name: "with a guest whose bursts are short", g: simGuest{write: bursts(3*simLink, 300*time.Millisecond, 900*time.Millisecond)}},
		{name: "with a guest that goes through its memory in order, nearly as fast as it can be copied", g: simGuest{write: steady(0.95 * simLink), sweep: true}},
		{name: "with a guest that writes as fast as the link carries", g: simGuest{write: steady(simLink)}},
		{name: "with a guest that is being slowed down", g: simGuest{write: steady(2 * simLink), autoConverge: true}, c: Config{AutoConverge: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(1) {
				g := tt.g
				g.memoryMiB, g.zeroMiB, g.workingSetMiB, g.linkMiBps, g.seed = 256, 32, 192, simLink, seed
				r := simulate(g, &tt.c)
				t.Logf("took %s, %s, %d passes", r.took, r.downtime, r.iteration)
				if r.end != "" || r.took == simForever || r.downtime > 500*time.Millisecond {
					t.Errorf("ended with %q after %s: %s", r.end, r.took, r.message)
				}
			}
		})
	}
}

func TestAdaptiveGivesUpASawTooth(t *testing.T) {
	g := simGuest{memoryMiB: 112, zeroMiB: 32, workingSetMiB: 48, linkMiBps: simLink, write: steady(1.2 * simLink), sweep: true}
	r := simulate(g, &Config{})
	if r.end != Abort || r.took > time.Minute {
		t.Errorf("ended with %q after %s", r.end, r.took)
	}
}

func TestAdaptiveTakesNoMoreDowntimeThanNeeded(t *testing.T) {
	for _, maximum := range []int64{100, 300, 500, 5000} {
		r := simulate(writer(0.3, false, 1), &Config{MaxDowntimeMilliseconds: maximum})
		if r.end != "" || r.downtime > time.Duration(maximum)*time.Millisecond {
			t.Errorf("with %d ms allowed: %s after %s, ended with %q", maximum, r.downtime, r.took, r.end)
		}
		idle := simulate(writer(0, false, 1), &Config{MaxDowntimeMilliseconds: maximum})
		if idle.downtime > 300*time.Millisecond {
			t.Errorf("an idle guest stood still for %s", idle.downtime)
		}
	}
}
