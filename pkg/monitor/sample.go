package monitor

import "time"

// Sample is what one look at the job says, be it for an event or at a poll.
// Whatever is unknown is zero. A look that failed is a sample with Elapsed alone:
// timeouts must not depend on a hypervisor that answers.
type Sample struct {
	// Elapsed is the time since the job began, by the hypervisor's count.
	Elapsed time.Duration
	Memory  Transfer
	Disk    Transfer
	// Iteration counts the passes over the guest's memory.
	Iteration int64
	// DirtyBytesPerSecond is how fast the guest writes to memory that was clean.
	DirtyBytesPerSecond int64
	// BandwidthBytesPerSecond is how fast memory is copied.
	BandwidthBytesPerSecond int64
	// ExpectedDowntime is the hypervisor's own estimate.
	ExpectedDowntime time.Duration
	// ThrottlePercent is by how much auto-convergence slows the guest down.
	ThrottlePercent int64
	// PostCopy is whether the guest runs on the target already.
	PostCopy bool
	// GuestPaused is whether the guest stands still on the source, whoever
	// paused it.
	GuestPaused bool
}

// Transfer counts what is copied.
type Transfer struct {
	TotalBytes     int64
	ProcessedBytes int64
	RemainingBytes int64
}

// known reports whether the sample has numbers.
func (s Sample) known() bool { return s.Memory.TotalBytes > 0 || s.Disk.TotalBytes > 0 }

// copiesMemory reports whether memory is being copied. It begins after the disks,
// where there are any to copy.
func (s Sample) copiesMemory() bool {
	return s.Memory.TotalBytes > 0 && s.Memory.ProcessedBytes > 0
}

// Input is what a decision is about.
type Input struct {
	Sample Sample
	// ForceComplete is whether somebody asks for the migration's end. It may stay
	// true; it is carried out once.
	ForceComplete bool
}
