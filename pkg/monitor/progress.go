package monitor

import "time"

// lowerPercent is what a beginning of a pass may leave at most, of the least
// that one left before, to count as closer to the end.
const lowerPercent = 99

// progress watches whether the job comes closer to its end.
//
// Only what says so counts. Within a pass what remains always falls, and jumps
// back up at its end; what was processed always grows. So passes are compared by
// their beginnings, and the first pass and the disks, which go through everything
// once, by what is left of them. Until the first pass that has gained nothing is
// over, a job in which memory flows may still come closer: one long pass over a
// large guest is no standstill. A job in which none flows stands still even within
// a pass.
type progress struct {
	// at is when the job last came closer to its end.
	at time.Duration
	// flowAt is when anything was last sent, and passAt when any memory was.
	flowAt, passAt time.Duration
	sent, memory   int64

	lowestDisk, lowestMemory lowest
	// lowestPass is the least that remained at the beginning of a pass.
	lowestPass lowest
	// idle is whether a pass has begun since the job last came closer.
	idle     bool
	throttle int64
	// adopted is whether another process has watched the job before: what is seen
	// first is then nothing that the job has come to only now.
	adopted bool
}

// lowest is the least that was seen.
type lowest struct {
	value int64
	set   bool
}

// below takes a value in, and reports whether it is at most the given percentage
// of the lowest so far; otherwise is what it reports of the first value.
func (l *lowest) below(value, percent int64, otherwise bool) bool {
	if !l.set {
		l.value, l.set = value, true
		return otherwise
	}
	// Without overflow: percent is 100 at most.
	if value > l.value/100*percent+l.value%100*percent/100 || value == l.value {
		return false
	}
	l.value = value
	return true
}

// observe takes a sample in; newPass says that a pass has begun with it.
func (p progress) observe(s Sample, newPass bool) progress {
	fresh := !p.adopted
	closer := s.Disk.TotalBytes > 0 && p.lowestDisk.below(s.Disk.RemainingBytes, 100, fresh)
	if s.copiesMemory() {
		if s.Iteration <= firstPass && p.lowestMemory.below(s.Memory.RemainingBytes, 100, fresh) {
			closer = true
		}
		if newPass {
			p.idle = true
			if p.lowestPass.below(s.Memory.RemainingBytes, lowerPercent, fresh) {
				closer = true
			}
		}
	}
	if s.ThrottlePercent > p.throttle {
		// The hypervisor is not at its wits' end.
		p.throttle, closer = s.ThrottlePercent, true
	}
	if sent := s.Memory.ProcessedBytes + s.Disk.ProcessedBytes; sent != p.sent {
		p.sent, p.flowAt = sent, s.Elapsed
	}
	if s.Memory.ProcessedBytes != p.memory {
		p.memory, p.passAt = s.Memory.ProcessedBytes, s.Elapsed
	}
	if closer {
		p.at, p.idle = max(p.at, s.Elapsed), false
	}
	return p
}

// standstill reports for how long the job has come no closer to its end, or 0
// while that may still turn out to be wrong.
func (p progress) standstill(now time.Duration) time.Duration {
	if p.idle {
		return now - p.at
	}
	return now - max(p.at, p.passAt)
}
