package monitor

import (
	"math/rand/v2"
	"time"
)

// The simulation is QEMU's pre-copy, as versions since 2.x do it, on a guest of a
// few thousand pages: a bitmap of the pages to send, gone through in a circle; a
// look at which pages were written to whenever what is left of a pass could be
// sent within the limit; the switch-over if that still holds afterwards. The
// bandwidth is measured every tenth of a second, and what is left is compared with
// the limit every 50 ms.
const (
	simPage    = 16 << 10
	simStep    = time.Millisecond
	simMeasure = 100 * time.Millisecond
	simCheck   = 50 * time.Millisecond
)

// simGuest is a guest to simulate.
type simGuest struct {
	memoryMiB, zeroMiB, workingSetMiB int
	linkMiBps                         int
	// write returns how much the guest writes, in MiB/s, at a time.
	write func(at time.Duration) float64
	// hot sends 90 % of the writes to a tenth of the working set; sweep writes to
	// the working set from its beginning to its end, and again.
	hot, sweep bool
	// autoConverge throttles as QEMU does.
	autoConverge bool
	seed         uint64
	// agentTakes is how long its agent takes to freeze it.
	agentTakes time.Duration
}

func steady(mibps float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return mibps }
}

// sim is a migration under way.
type sim struct {
	simGuest
	random    *rand.Rand
	dirty     []bool // To be sent.
	written   []bool // Since the last look.
	zero      []bool
	left      int
	cursor    int
	sweeper   int
	now       time.Duration
	iteration int64
	processed int64
	limit     int64
	throttle  int64
	paused    bool
	postCopy  bool
	credit    float64 // Bytes that the link has carried and nothing has used.
	debt      float64 // Pages that the guest has yet to write.

	measuredAt   time.Duration
	measuredFrom int64
	threshold    float64
	rate         float64

	// For auto-convergence.
	lookedAt      time.Duration
	sentAtLook    int64
	dirtiedPeriod int64
	high          int
	dirtyRate     int64
	downtime      time.Duration
	done          bool
}

func newSim(g simGuest) *sim {
	pages := g.memoryMiB << 20 / simPage
	s := &sim{simGuest: g, random: rand.New(rand.NewPCG(g.seed, 1)), limit: hypervisorDowntimeMilliseconds, iteration: 1,
		dirty: make([]bool, pages), written: make([]bool, pages), zero: make([]bool, pages), left: pages}
	for i := range s.dirty {
		s.dirty[i] = true
		s.zero[i] = i >= pages-g.zeroMiB<<20/simPage
	}
	return s
}

// step lets a millisecond pass.
func (s *sim) step() {
	s.now += simStep
	if !s.paused && !s.postCopy {
		s.writes()
	}
	s.send()
	if s.now%simMeasure == 0 {
		s.rate = float64(s.processed-s.measuredFrom) / (s.now - s.measuredAt).Seconds()
		s.measuredAt, s.measuredFrom = s.now, s.processed
		s.threshold = s.rate * float64(s.limit) / 1000
	}
	if s.now%simCheck == 0 || s.left == 0 {
		s.check()
	}
}

func (s *sim) writes() {
	mibps := s.write(s.now) * float64(100-s.throttle) / 100
	s.debt += mibps * (1 << 20) / simPage * simStep.Seconds()
	set := s.workingSetMiB << 20 / simPage
	for ; s.debt >= 1 && set > 0; s.debt-- {
		page := s.random.IntN(set)
		switch {
		case s.sweep:
			page = s.sweeper % set
			s.sweeper++
		case s.hot && s.random.IntN(10) < 9:
			page = s.random.IntN(max(1, set/10))
		}
		s.written[page], s.zero[page] = true, false
	}
}

func (s *sim) send() {
	s.credit += float64(s.linkMiBps<<20) * simStep.Seconds()
	for s.left > 0 {
		cost := float64(simPage)
		for !s.dirty[s.cursor] {
			s.cursor = (s.cursor + 1) % len(s.dirty)
		}
		if s.zero[s.cursor] {
			cost /= 40 // Finding out takes time, too.
		}
		if s.credit < cost {
			return
		}
		s.credit -= cost
		s.dirty[s.cursor] = false
		s.left--
		if s.zero[s.cursor] {
			cost = 40
		}
		s.processed += int64(cost)
	}
	s.credit = 0
}

// check is what QEMU does between two bursts.
func (s *sim) check() {
	if s.done {
		return
	}
	if s.postCopy {
		s.done = s.left == 0
		return
	}
	if float64(s.left*simPage) >= s.threshold && s.left > 0 {
		return
	}
	s.look()
	if float64(s.left*simPage) < s.threshold || s.left == 0 {
		s.done = true
		s.downtime = time.Duration(float64(s.left*simPage) / float64(s.linkMiBps<<20) * float64(time.Second))
		s.processed += int64(s.left * simPage)
		s.now += s.downtime
	}
}

// look finds the pages that were written to.
func (s *sim) look() {
	s.iteration++
	for page, written := range s.written {
		if written && !s.dirty[page] {
			s.dirty[page] = true
			s.left++
			s.dirtiedPeriod += simPage
		}
		s.written[page] = false
	}
	took := s.now - s.lookedAt
	if took < time.Second {
		return
	}
	s.dirtyRate = int64(float64(s.dirtiedPeriod) / took.Seconds())
	if s.autoConverge && s.dirtiedPeriod > (s.processed-s.sentAtLook)/2 {
		s.high++
		if s.high >= 2 {
			s.high = 0
			s.throttle = min(99, s.throttle+10)
			if s.throttle == 10 {
				s.throttle = 20
			}
		}
	}
	s.lookedAt, s.sentAtLook, s.dirtiedPeriod = s.now, s.processed, 0
}

// sample is what libvirt says.
func (s *sim) sample() Sample {
	return Sample{
		Elapsed: s.now,
		Memory: Transfer{
			TotalBytes:     int64(len(s.dirty)) * simPage,
			ProcessedBytes: s.processed,
			RemainingBytes: int64(s.left) * simPage,
		},
		Iteration: s.iteration, DirtyBytesPerSecond: s.dirtyRate, BandwidthBytesPerSecond: int64(s.rate),
		ThrottlePercent: s.throttle, PostCopy: s.postCopy, GuestPaused: s.paused,
	}
}

// simResult is how a migration ended.
type simResult struct {
	took, downtime time.Duration
	sentMiB        int64
	iteration      int64
	end            Kind // Empty where it ended by itself.
	reason         Reason
	message        string
	actions        []Action
	trace          []Sample
	// asked is when the guest was to be frozen, and frozen when it was; zero if not.
	asked, frozen time.Duration
}

// freezes moves a freeze on.
func (r *simResult) freezes(c *Config, now, takes time.Duration, actions []Action) {
	for _, a := range actions {
		if a.Kind == Freeze {
			r.asked, c.Freeze = now, FreezeUnderWay
		}
	}
	if c.Freeze == FreezeUnderWay && r.frozen == 0 && now >= r.asked+takes {
		r.frozen, c.Freeze = now, NoFreeze
	}
}

const (
	simPoll    = 250 * time.Millisecond
	simLatency = 15 * time.Millisecond // From an event to what is done about it.
	simForever = 2 * time.Minute
)

// simulate lets a configuration steer the guest; none leaves it to the hypervisor.
// What ends the migration otherwise than by a switch-over ends the simulation.
func simulate(g simGuest, c *Config) simResult {
	s := newSim(g)
	var state State
	var result simResult
	seen, due := int64(0), time.Duration(0)
	var looks []time.Duration
	for !s.done && s.now < simForever {
		s.step()
		if s.iteration != seen {
			seen = s.iteration
			looks = append(looks, s.now+simLatency)
		}
		look := s.now >= due
		if len(looks) > 0 && s.now >= looks[0] {
			looks, look = looks[1:], true
		}
		if c == nil || !look || s.done {
			continue
		}
		due = s.now + simPoll
		result.trace = append(result.trace, s.sample())
		var actions []Action
		result.freezes(c, s.now, g.agentTakes, nil)
		state, actions = Decide(*c, state, Input{Sample: s.sample()})
		result.freezes(c, s.now, g.agentTakes, actions)
		result.actions = append(result.actions, actions...)
		for _, a := range actions {
			switch a.Kind {
			case SetMaxDowntime:
				s.limit = a.MaxDowntimeMilliseconds
			case StartPostCopy, Pause, Abort:
				result.end, result.reason, result.message = a.Kind, a.Reason, a.Message
				s.done = true
			}
		}
	}
	result.took, result.downtime, result.iteration, result.sentMiB = s.now, s.downtime, s.iteration, s.processed>>20
	if s.now >= simForever {
		result.took = simForever
	}
	return result
}
