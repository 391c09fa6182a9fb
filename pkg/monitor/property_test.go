package monitor

import (
	"math/rand/v2"
	"testing"
	"time"
)

// randomRun decides on whatever samples, configurations and failures, restores
// now and then, and checks after each decision what must always hold.
func randomRun(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	c := randomConfig(r)
	var s State
	var at time.Duration
	var limit, iteration, processed int64
	asked := map[Kind]int{}
	restored, postCopy := 0, false
	for range 400 {
		at += time.Duration(r.Int64N(int64(2 * time.Second)))
		sample := Sample{Elapsed: at, GuestPaused: r.IntN(50) == 0, PostCopy: postCopy}
		if r.IntN(20) > 0 {
			iteration += r.Int64N(2)
			processed += r.Int64N(64 << 20)
			sample.Iteration = iteration
			sample.ThrottlePercent = r.Int64N(2) * r.Int64N(100)
			sample.Memory = Transfer{TotalBytes: 1 << 30, ProcessedBytes: processed, RemainingBytes: r.Int64N(1 << 30)}
			sample.Disk = Transfer{TotalBytes: r.Int64N(2) << 30, RemainingBytes: r.Int64N(1 << 30)}
		}
		if r.IntN(30) == 0 {
			sample.Elapsed -= time.Duration(r.Int64N(int64(5 * time.Second)))
		}
		if r.IntN(40) == 0 {
			c.MaxDowntimeMilliseconds = 1 + r.Int64N(3000)
		}
		if r.IntN(60) == 0 {
			facts := s.Facts()
			s = Restore(facts)
			restored++
			if s.Facts() != facts {
				t.Fatalf("seed %d: %+v became %+v", seed, facts, s.Facts())
			}
		}
		over := s.Facts().Abort.Ordered && restored == 0
		var actions []Action
		s, actions = Decide(c, s, Input{Sample: sample, ForceComplete: r.IntN(200) == 0})
		if (over || postCopy) && len(actions) > 0 {
			t.Fatalf("seed %d: %v after the end", seed, actions)
		}
		for _, a := range actions {
			if a.Reason == "" || a.Message == "" {
				t.Fatalf("seed %d: %+v does not say why", seed, a)
			}
			if a.Kind != SetMaxDowntime {
				asked[a.Kind]++
			} else {
				switch {
				case a.MaxDowntimeMilliseconds > c.MaxDowntimeMilliseconds || a.MaxDowntimeMilliseconds < 1:
					t.Fatalf("seed %d: %+v where %d ms are allowed", seed, a, c.MaxDowntimeMilliseconds)
				case a.Reason == ReasonWithinReach && a.MaxDowntimeMilliseconds > c.MaxDowntimeMilliseconds-min(c.MaxDowntimeMilliseconds/10, 100):
					t.Fatalf("seed %d: %+v keeps no reserve of %d ms", seed, a, c.MaxDowntimeMilliseconds)
				case a.MaxDowntimeMilliseconds <= limit && a.Reason != ReasonMaximumLowered:
					t.Fatalf("seed %d: %+v after %d", seed, a, limit)
				}
			}
			switch {
			case r.IntN(10) == 0:
				s = s.Failed(a, r.IntN(2) == 0)
			case a.Kind == SetMaxDowntime:
				limit = a.MaxDowntimeMilliseconds
			case a.Kind == StartPostCopy:
				postCopy = r.IntN(2) == 0
			}
		}
		for kind, times := range asked {
			if times > 1+restored {
				t.Fatalf("seed %d: %s %d times, restored %d times", seed, kind, times, restored)
			}
		}
	}
	if restored == 0 {
		for kind, times := range asked {
			if times > 1 {
				t.Fatalf("seed %d: %s %d times", seed, kind, times)
			}
		}
	}
}

func randomConfig(r *rand.Rand) Config {
	return Config{
		Strategy:                []Strategy{StrategyAdaptive, StrategyStepped}[r.IntN(2)],
		MaxDowntimeMilliseconds: 1 + r.Int64N(3000),
		Steps:                   r.IntN(20), StepDelayPerGiB: time.Duration(r.Int64N(int64(20 * time.Second))),
		CompletionTimeoutPerGiB: time.Duration(r.Int64N(2) * r.Int64N(int64(200*time.Second))),
		ProgressTimeout:         time.Duration(r.Int64N(2) * r.Int64N(int64(60*time.Second))),
		OnTimeout:               []TimeoutAction{TimeoutAbort, TimeoutForceComplete, TimeoutKeepGoing}[r.IntN(3)],
		AllowPostCopy:           r.IntN(2) == 0, AllowPause: r.IntN(2) == 0, AutoConverge: r.IntN(2) == 0,
		Size: Size{MemoryBytes: r.Int64N(4 << 30)},
	}
}

func TestWhatAlwaysHolds(t *testing.T) {
	for seed := range uint64(500) {
		randomRun(t, seed)
	}
}

// TestEveryMigrationEnds: whatever happens, a migration that is not to keep going
// for ever comes to an order that ends it.
func TestEveryMigrationEnds(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 11))
		c := randomConfig(r)
		c.OnTimeout = []TimeoutAction{TimeoutAbort, TimeoutForceComplete}[r.IntN(2)]
		c.CompletionTimeoutPerGiB = time.Second + time.Duration(r.Int64N(int64(100*time.Second)))
		var s State
		deadline := c.CompletionTimeout() + c.pauseTimeout() + time.Minute
		for at := time.Duration(0); at < deadline && !s.Facts().Abort.Ordered; at += time.Second {
			sample := Sample{Elapsed: at}
			if r.IntN(2) == 0 { // The hypervisor answers now and then.
				sample.Memory = Transfer{TotalBytes: 1 << 30, ProcessedBytes: int64(at), RemainingBytes: 1 << 29}
				sample.Iteration = int64(at / (5 * time.Second))
				sample.GuestPaused = s.Facts().Pause.Ordered && seed%2 == 0
			}
			var actions []Action
			s, actions = Decide(c, s, Input{Sample: sample})
			for _, a := range actions {
				if a.Kind != Abort && r.IntN(3) == 0 {
					s = s.Failed(a, r.IntN(2) == 0)
				}
			}
		}
		if !s.Facts().Abort.Ordered {
			t.Fatalf("seed %d: nothing ends it: %+v, %+v", seed, c, s.Facts())
		}
	}
}
