package agent

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/monitor"
)

// Translations between what the API and the hypervisor say and what pkg/monitor
// decides on.

// defaultCompletionTimeoutPerGiB is what absent means in the API.
const defaultCompletionTimeoutPerGiB = 800 * time.Second

// monitorConfig returns what the user wants of a job, but for post-copy, which depends
// on how it was started. So does what the hypervisor was told of the switch-over, which the plan
// says: an older agent may have started it without.
func monitorConfig(o *v1alpha1.MigrationOptions, plan *v1alpha1.TransferPlan, seen sighting) monitor.Config {
	c := monitor.Config{CompletionTimeoutPerGiB: defaultCompletionTimeoutPerGiB, Size: sizeOf(seen)}
	if plan != nil {
		c.SwitchoverBytesPerSecond = plan.SwitchoverBandwidthMiBps << 20
	}
	if o == nil {
		return c
	}
	c.MaxDowntimeMilliseconds = valueOr(o.MaxDowntimeMilliseconds, 0)
	if v := o.Convergence; v != nil {
		c.Strategy = monitor.Strategy(v.Strategy)
		c.Steps = int(valueOr(v.Steps, 0))
		c.StepDelayPerGiB = time.Duration(valueOr(v.StepDelaySecondsPerGiB, 0)) * time.Second
	}
	if v := o.CompletionTimeoutSecondsPerGiB; v != nil {
		c.CompletionTimeoutPerGiB = time.Duration(*v) * time.Second
	}
	c.ProgressTimeout = time.Duration(valueOr(o.ProgressTimeoutSeconds, 0)) * time.Second
	c.OnTimeout = monitor.TimeoutAction(o.OnTimeout)
	c.AllowPause = valueOr(o.AllowPause, false)
	c.AutoConverge = o.AutoConverge != nil
	return c
}

// sizeOf returns how much there is to copy. The job knows nothing of the memory
// while it copies disks, of which it knows the sum.
func sizeOf(seen sighting) monitor.Size {
	size := monitor.Size{MemoryBytes: clamp(seen.job.Memory.TotalBytes)}
	if seen.domain != nil {
		size.MemoryBytes = max(size.MemoryBytes, clamp(seen.domain.MemoryBytes))
	}
	if disk := clamp(seen.job.Disk.TotalBytes); disk > 0 {
		size.DiskBytes = []int64{disk}
	}
	return size
}

func valueOr[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

// monitorSample returns what was seen of a job.
func monitorSample(seen sighting) monitor.Sample {
	job := seen.job
	sample := monitor.Sample{
		Elapsed:                 job.Elapsed,
		Memory:                  monitorTransfer(job.Memory),
		Disk:                    monitorTransfer(job.Disk),
		Iteration:               clamp(job.MemoryIteration),
		DirtyBytesPerSecond:     clamp(job.MemoryDirtyBytesPerSecond),
		BandwidthBytesPerSecond: clamp(job.Memory.BytesPerSecond),
		ThrottlePercent:         clamp(job.AutoConvergeThrottlePercent),
		PostCopy:                job.PostCopy,
		GuestPaused:             seen.domain != nil && seen.domain.State == hypervisor.StatePaused && !job.PostCopy,
	}
	if job.DowntimeKnown {
		sample.ExpectedDowntime = job.Downtime
	}
	return sample
}

func monitorTransfer(t hypervisor.Transfer) monitor.Transfer {
	return monitor.Transfer{
		TotalBytes: clamp(t.TotalBytes), ProcessedBytes: clamp(t.ProcessedBytes), RemainingBytes: clamp(t.RemainingBytes),
	}
}

func clamp(n uint64) int64 { return int64(min(n, v1alpha1.MaxInteger)) }

// monitorFacts returns what an earlier agent has recorded of a job that began at began
// and has taken elapsed. A clock that was set meanwhile makes no order later than that.
func monitorFacts(section *v1alpha1.SourceStatus, began time.Time, elapsed time.Duration) monitor.Facts {
	recorded := section.Steering
	if recorded == nil {
		return monitor.Facts{}
	}
	facts := monitor.Facts{
		MaxDowntimeMilliseconds: recorded.MaxDowntimeMilliseconds,
		PostCopy:                monitorOrder(recorded.PostCopy, began, elapsed),
		Pause:                   monitorOrder(recorded.Pause, began, elapsed),
		Abort:                   monitorOrder(recorded.Abort, began, elapsed),
		PostCopySeen:            recorded.PostCopyTime != nil,
	}
	if facts.Pause.Failed && recorded.PausedTime != nil {
		// It had its effect all the same, later.
		facts.Pause.Failed, facts.Pause.At = false, min(max(0, recorded.PausedTime.Sub(began)), elapsed)
	}
	if recorded.LastProgressTime != nil {
		facts.ProgressAt = min(max(0, recorded.LastProgressTime.Sub(began)), elapsed)
	}
	facts.LowestPassBytes = recorded.LowestRemainingBytes
	for _, order := range []monitor.Order{facts.PostCopy, facts.Pause} {
		facts.ForceCompleteTaken = facts.ForceCompleteTaken || order.Reason == monitor.ReasonRequested
	}
	return facts
}

func monitorOrder(step *v1alpha1.SteeringStep, began time.Time, elapsed time.Duration) monitor.Order {
	if step == nil {
		return monitor.Order{}
	}
	return monitor.Order{
		Ordered: true, At: min(max(0, step.Time.Sub(began)), elapsed), Reason: monitor.Reason(step.Reason),
		Failed: step.Error != "", Refused: step.Refused,
	}
}

// newStep returns the record of an action that is about to be taken.
func newStep(action monitor.Action, now time.Time) *v1alpha1.SteeringStep {
	return &v1alpha1.SteeringStep{Time: metav1.NewMicroTime(now), Reason: string(action.Reason), Message: migration.Shorten(action.Message, migration.MaxMessage)}
}
