package monitor

import (
	"fmt"
	"testing"
	"time"
)

func TestAdaptiveGivesUpEarlyOnlyWhatNeverEnds(t *testing.T) {
	for _, rate := range []float64{0, 0.3, 0.7, 0.95} {
		for _, hot := range []bool{false, true} {
			t.Run(fmt.Sprintf("rate %.2f, hot %t, ends", rate, hot), func(t *testing.T) {
				r := simulate(simGuest{memoryMiB: 256, zeroMiB: 32, workingSetMiB: 192, linkMiBps: 32, write: steady(rate * 32), hot: hot, seed: 1}, &Config{})
				if r.end != "" || r.downtime > 500*time.Millisecond {
					t.Errorf("took %s, ended with %s: %s", r.took, r.end, r.message)
				}
			})
		}
	}
	t.Run("rate 1.2 is given up within five passes", func(t *testing.T) {
		r := simulate(simGuest{memoryMiB: 256, zeroMiB: 32, workingSetMiB: 192, linkMiBps: 32, write: steady(1.2 * 32), seed: 1}, &Config{})
		if r.end != Abort || r.reason != ReasonNotConverging || r.iteration > 5 {
			t.Errorf("took %s, pass %d, ended with %s: %s", r.took, r.iteration, r.end, r.message)
		}
		t.Log(r.message)
	})
}
