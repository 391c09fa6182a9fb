package monitor

import "time"

// Strategy is how the allowed downtime is worked up to its maximum.
type Strategy string

// The strategies.
const (
	// StrategyAdaptive predicts. It is the default.
	StrategyAdaptive Strategy = "Adaptive"
	// StrategyStepped goes by the clock.
	StrategyStepped Strategy = "Stepped"
)

// TimeoutAction is what happens when a timeout has passed.
type TimeoutAction string

// The actions on a timeout.
const (
	// TimeoutAbort gives the migration up. It is the default.
	TimeoutAbort TimeoutAction = "Abort"
	// TimeoutForceComplete switches to post-copy where the migration was started
	// with it, and pauses the guest where it was not or where that fails.
	TimeoutForceComplete TimeoutAction = "ForceComplete"
	// TimeoutKeepGoing does nothing, and keeps Adaptive from giving up early.
	TimeoutKeepGoing TimeoutAction = "KeepGoing"
)

// What Config's fields are when they are zero.
const (
	DefaultMaxDowntimeMilliseconds int64         = 500
	DefaultSteps                   int           = 10
	DefaultStepDelayPerGiB         time.Duration = 75 * time.Second
	// DefaultCompletionTimeoutPerGiB is not applied to a zero, which means that
	// there is none; it bounds a pause where there is none.
	DefaultCompletionTimeoutPerGiB time.Duration = 800 * time.Second
)

const (
	// hypervisorDowntimeMilliseconds is what QEMU and libvirt allow when nobody
	// says otherwise.
	hypervisorDowntimeMilliseconds = 300
	// maxDowntimeMilliseconds is the most that QEMU takes.
	maxDowntimeMilliseconds = 2_000_000
	// minItemBytes is what a guest's memory, and each disk, counts at least.
	minItemBytes = 2 << 30

	bytesPerGiB = 1 << 30
)

// Config is what the user wants. It may change from one decision to the next.
type Config struct {
	Strategy Strategy
	// MaxDowntimeMilliseconds is the longest pause that a switch-over may cost.
	// It is never exceeded, and where it is lowered the new value holds at once.
	MaxDowntimeMilliseconds int64
	// Steps and StepDelayPerGiB belong to Stepped.
	Steps           int
	StepDelayPerGiB time.Duration
	// CompletionTimeoutPerGiB is how long the job may take, for each GiB of Size.
	// Zero is for ever.
	CompletionTimeoutPerGiB time.Duration
	// ProgressTimeout is how long the job may go on without coming closer to its
	// end. Zero is for ever.
	ProgressTimeout time.Duration
	OnTimeout       TimeoutAction
	// AllowPostCopy says that the migration was started with post-copy.
	AllowPostCopy bool
	// AllowPause lets Adaptive pause a guest that writes too fast. A request to
	// force completion, and TimeoutForceComplete, need no such leave.
	AllowPause bool
	// AutoConverge says that the hypervisor slows the guest down.
	AutoConverge bool
	// SwitchoverBytesPerSecond is what the hypervisor was told to reckon with for the
	// switch-over; zero if it is what it sees to be copied.
	SwitchoverBytesPerSecond int64
	Size                     Size
	// Freeze is whether the guest's file systems are to be frozen before the switch-over.
	Freeze FreezeStage
	// DirtyBytesPerSecond is how fast the guest wrote to its memory before the job; nil if that is not
	// known. A freeze depends on it.
	DirtyBytesPerSecond *int64
}

// Size is how much there is to copy.
type Size struct {
	MemoryBytes int64
	// DiskBytes are the capacities of the disks that are copied along.
	DiskBytes []int64
}

// totals are the most that the hypervisor has said there is to copy.
type totals struct{ memory, disk int64 }

// grown takes a sample in.
func (t totals) grown(s Sample) totals {
	return totals{max(t.memory, s.Memory.TotalBytes), max(t.disk, s.Disk.TotalBytes)}
}

// sized makes sure that the size is no less than what the hypervisor has said: a
// caller may know it from there alone, and there it is zero now and then.
func (c Config) sized(seen totals) Config {
	c.Size.MemoryBytes = max(c.Size.MemoryBytes, seen.memory)
	var disks int64
	for _, disk := range c.Size.DiskBytes {
		disks += min(disk, maxInt64-disks)
	}
	if disks < seen.disk {
		c.Size.DiskBytes = []int64{seen.disk}
	}
	return c
}

// CountedBytes is what timeouts and delays per GiB are counted by: the memory
// and each disk, 2 GiB for whatever is smaller.
func (s Size) CountedBytes() int64 {
	total := max(s.MemoryBytes, minItemBytes)
	for _, disk := range s.DiskBytes {
		disk = max(disk, minItemBytes)
		if total > maxInt64-disk {
			return maxInt64
		}
		total += disk
	}
	return total
}

const maxInt64 = 1<<63 - 1

// scale returns perGiB for each GiB counted, to the millisecond below.
func (s Size) scale(perGiB time.Duration) time.Duration {
	const most = 1 << 33 // A hundred days, times a GiB, is no overflow.
	milliseconds := min(max(perGiB.Milliseconds(), 0), most)
	counted := s.CountedBytes()
	whole, rest := times(milliseconds, counted/bytesPerGiB), milliseconds*(counted%bytesPerGiB)/bytesPerGiB
	return time.Duration(times(min(whole, maxInt64-rest)+rest, int64(time.Millisecond)))
}

// times multiplies what is not negative, and stops at the most there is.
func times(a, b int64) int64 {
	if b > 0 && a > maxInt64/b {
		return maxInt64
	}
	return a * b
}

// CompletionTimeout is how long the job may take; zero is for ever.
func (c Config) CompletionTimeout() time.Duration { return c.Size.scale(c.CompletionTimeoutPerGiB) }

// pauseTimeout is how long the guest may stand paused until its migration is
// given up: once more what the migration might take.
func (c Config) pauseTimeout() time.Duration {
	if timeout := c.CompletionTimeout(); timeout > 0 {
		return max(timeout, minPauseTimeout)
	}
	return c.Size.scale(DefaultCompletionTimeoutPerGiB)
}

// normalized fills in what is zero and brings what makes no sense into bounds.
func (c Config) normalized() Config {
	if c.Strategy != StrategyStepped {
		c.Strategy = StrategyAdaptive
	}
	if c.OnTimeout == "" {
		c.OnTimeout = TimeoutAbort
	}
	if c.MaxDowntimeMilliseconds <= 0 {
		c.MaxDowntimeMilliseconds = DefaultMaxDowntimeMilliseconds
	}
	c.MaxDowntimeMilliseconds = min(c.MaxDowntimeMilliseconds, maxDowntimeMilliseconds)
	if c.Steps <= 0 {
		c.Steps = DefaultSteps
	}
	// More steps than milliseconds would repeat themselves.
	c.Steps = int(min(int64(c.Steps), c.MaxDowntimeMilliseconds))
	if c.StepDelayPerGiB <= 0 {
		c.StepDelayPerGiB = DefaultStepDelayPerGiB
	}
	return c
}

// InitialDowntimeMilliseconds is the limit to begin with. A caller that sets it
// before the job begins says so in Facts; otherwise it is the first action.
func (c Config) InitialDowntimeMilliseconds() int64 {
	c = c.normalized()
	if c.Strategy == StrategyStepped {
		return c.Schedule().At(0)
	}
	return min(hypervisorDowntimeMilliseconds, c.MaxDowntimeMilliseconds)
}
