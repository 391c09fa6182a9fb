package migration

import (
	"math"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Progress turns the statistics of a running or just completed job into a
// status. The percentage counts memory and disks, never falls below that of the
// previous status and reaches 100 only with a completed job. What has been copied stays as
// it was in the previous status for as long as the statistics do not know it.
func Progress(previous *v1alpha1.ProgressStatus, stats hypervisor.JobStats) *v1alpha1.ProgressStatus {
	p := &v1alpha1.ProgressStatus{
		Percent:             percent(stats),
		Memory:              transfer(stats.Memory),
		Disk:                transfer(stats.Disk),
		MemoryIteration:     clamp(stats.MemoryIteration),
		DirtyBytesPerSecond: clamp(stats.MemoryDirtyBytesPerSecond),
		BytesPerSecond:      clamp(stats.Memory.BytesPerSecond),
		ThrottlePercent:     int32(min(100, stats.AutoConvergeThrottlePercent)),
		PostCopyRequests:    clamp(stats.MemoryPostcopyRequests),
		ElapsedMilliseconds: stats.Elapsed.Milliseconds(),
	}
	if stats.DowntimeKnown {
		ms := stats.Downtime.Milliseconds()
		if stats.Type == hypervisor.JobCompleted {
			p.DowntimeMilliseconds = &ms
		} else {
			p.ExpectedDowntimeMilliseconds = &ms
		}
	}
	if previous != nil {
		p.Percent = max(p.Percent, previous.Percent)
		p.ElapsedMilliseconds = max(p.ElapsedMilliseconds, previous.ElapsedMilliseconds)
		p.Switchover = previous.Switchover
		if !stats.KnowsTransfer() {
			p.Memory, p.Disk, p.MemoryIteration = previous.Memory.DeepCopy(), previous.Disk.DeepCopy(), previous.MemoryIteration
		}
	}
	return p
}

// NotBehind returns progress of a job that is not behind another one's of the same job.
func NotBehind(p, other *v1alpha1.ProgressStatus) *v1alpha1.ProgressStatus {
	switch {
	case other == nil || p != nil && p.Percent >= other.Percent && p.ElapsedMilliseconds >= other.ElapsedMilliseconds:
		return p
	case p == nil:
		return other.DeepCopy()
	}
	p = p.DeepCopy()
	p.Percent, p.ElapsedMilliseconds = max(p.Percent, other.Percent), max(p.ElapsedMilliseconds, other.ElapsedMilliseconds)
	return p
}

// HasLeft reports whether the guest has left the source for the target.
func HasLeft(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	return source.End.Call == v1alpha1.CallSucceeded || SideOf(&source.End.Domain) == SideMigrated || InPostCopy(source) && Whole(target)
}

// NoteSwitchover adds what brought the guest, which has left, to the target.
func NoteSwitchover(p *v1alpha1.ProgressStatus, source *v1alpha1.SourceStatus) *v1alpha1.ProgressStatus {
	if p == nil {
		return nil
	}
	p = p.DeepCopy()
	switch {
	case InPostCopy(source):
		p.Switchover = v1alpha1.SwitchoverPostCopy
	case PausedByUs(source):
		p.Switchover = v1alpha1.SwitchoverPaused
	default:
		p.Switchover = v1alpha1.SwitchoverConverged
	}
	return p
}

// Complete returns the progress of a job that has succeeded, for as long as its
// final statistics have not come: everything is copied.
func Complete(previous *v1alpha1.ProgressStatus) *v1alpha1.ProgressStatus {
	p := &v1alpha1.ProgressStatus{}
	if previous != nil {
		p = previous.DeepCopy()
	}
	p.Percent, p.ExpectedDowntimeMilliseconds = 100, nil
	for _, t := range []*v1alpha1.TransferStatus{p.Memory, p.Disk} {
		if t != nil {
			t.RemainingBytes = 0
		}
	}
	return p
}

func percent(stats hypervisor.JobStats) int32 {
	if stats.Type == hypervisor.JobCompleted {
		return 100
	}
	total := float64(stats.Memory.TotalBytes) + float64(stats.Disk.TotalBytes)
	remaining := float64(stats.Memory.RemainingBytes) + float64(stats.Disk.RemainingBytes)
	if total == 0 {
		return 0
	}
	return int32(min(99, max(0, math.Floor(100*(total-remaining)/total))))
}

func transfer(t hypervisor.Transfer) *v1alpha1.TransferStatus {
	if t.TotalBytes == 0 {
		return nil
	}
	return &v1alpha1.TransferStatus{
		TotalBytes:     clamp(t.TotalBytes),
		ProcessedBytes: clamp(t.ProcessedBytes),
		RemainingBytes: clamp(t.RemainingBytes),
	}
}

func clamp(n uint64) int64 {
	return int64(min(n, v1alpha1.MaxInteger))
}
