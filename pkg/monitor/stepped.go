package monitor

import "time"

// Step is a limit of the downtime that holds from a moment of the job on.
type Step struct {
	At           time.Duration
	Milliseconds int64
}

// Schedule is how Stepped raises the limit: evenly from a fraction of the
// maximum to the maximum.
//
// It is OpenStack Nova's, in integers: Nova's fractions lose a millisecond of the
// last step for one maximum in twenty, and whole seconds of each delay. For a
// maximum of 400 ms, 10 steps of 30 s per GiB and 3 GiB it allows 40 ms at once,
// 76 ms after 90 s, and 400 ms after 900 s.
type Schedule struct {
	maximum int64
	steps   int64
	delay   time.Duration
}

// Schedule is that of the configuration, whatever its strategy.
func (c Config) Schedule() Schedule {
	c = c.normalized()
	return Schedule{maximum: c.MaxDowntimeMilliseconds, steps: int64(c.Steps), delay: c.Size.scale(c.StepDelayPerGiB)}
}

// Steps lists the schedule: one step more than was asked for, as the first is at
// the beginning.
func (s Schedule) Steps() []Step {
	steps := make([]Step, 0, s.steps+1)
	for i := range s.steps + 1 {
		steps = append(steps, Step{At: s.after(i), Milliseconds: s.step(i)})
	}
	return steps
}

// At is the limit that holds at a moment of the job.
func (s Schedule) At(elapsed time.Duration) int64 {
	if elapsed < 0 {
		return s.step(0)
	}
	if s.delay <= 0 {
		return s.maximum
	}
	return s.step(min(int64(elapsed/s.delay), s.steps))
}

// step is the limit of step i: a first share of maximum/steps, and the rest
// evenly, rounded down but for the last, which is the maximum itself.
func (s Schedule) step(i int64) int64 {
	// maximum/steps + (maximum - maximum/steps) / steps * i, over one denominator.
	milliseconds := s.maximum * (s.steps + (s.steps-1)*i) / (s.steps * s.steps)
	return max(milliseconds, 1)
}

// after is when step i is due.
func (s Schedule) after(i int64) time.Duration { return time.Duration(times(int64(s.delay), i)) }
