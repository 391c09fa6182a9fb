package agent

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/monitor"
)

// TestWhatTheUserWants of a job, as pkg/monitor takes it.
func TestWhatTheUserWants(t *testing.T) {
	t.Parallel()
	plain := monitor.Config{CompletionTimeoutPerGiB: defaultCompletionTimeoutPerGiB}
	for name, c := range map[string]struct {
		options *v1alpha1.MigrationOptions
		want    func(*monitor.Config)
	}{
		"nothing":        {nil, func(*monitor.Config) {}},
		"no option":      {&v1alpha1.MigrationOptions{}, func(*monitor.Config) {}},
		"little pause":   {&v1alpha1.MigrationOptions{MaxDowntimeMilliseconds: new(int64(7))}, func(c *monitor.Config) { c.MaxDowntimeMilliseconds = 7 }},
		"for ever":       {&v1alpha1.MigrationOptions{CompletionTimeoutSecondsPerGiB: new(int64(0))}, func(c *monitor.Config) { c.CompletionTimeoutPerGiB = 0 }},
		"in 5 s":         {&v1alpha1.MigrationOptions{CompletionTimeoutSecondsPerGiB: new(int64(5))}, func(c *monitor.Config) { c.CompletionTimeoutPerGiB = 5 * time.Second }},
		"progress":       {&v1alpha1.MigrationOptions{ProgressTimeoutSeconds: new(int64(5))}, func(c *monitor.Config) { c.ProgressTimeout = 5 * time.Second }},
		"to be paused":   {&v1alpha1.MigrationOptions{AllowPause: new(true)}, func(c *monitor.Config) { c.AllowPause = true }},
		"to be slowed":   {&v1alpha1.MigrationOptions{AutoConverge: &v1alpha1.AutoConvergeOptions{}}, func(c *monitor.Config) { c.AutoConverge = true }},
		"how it is sent": {&v1alpha1.MigrationOptions{Transfer: &v1alpha1.TransferOptions{SwitchoverBandwidthMiBps: new(int64(3))}}, func(*monitor.Config) {}},
		"to be forced":   {&v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutForceComplete}, func(c *monitor.Config) { c.OnTimeout = monitor.TimeoutAction(v1alpha1.TimeoutForceComplete) }},
		"step for step": {&v1alpha1.MigrationOptions{Convergence: &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped, Steps: new(int32(3)), StepDelaySecondsPerGiB: new(int32(4))}}, func(c *monitor.Config) {
			c.Strategy, c.Steps, c.StepDelayPerGiB = monitor.StrategyStepped, 3, 4*time.Second
		}},
	} {
		want := plain
		c.want(&want)
		if got := monitorConfig(c.options, nil, sighting{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// TestWhatTheHypervisorWasTold counts, and not what the user wants: whoever has started the job
// may not have known of that.
func TestWhatTheHypervisorWasTold(t *testing.T) {
	t.Parallel()
	wanted := &v1alpha1.MigrationOptions{Transfer: &v1alpha1.TransferOptions{SwitchoverBandwidthMiBps: new(int64(3))}}
	for _, told := range []int64{0, 3, 8796093022207} {
		if got := monitorConfig(wanted, &v1alpha1.TransferPlan{SwitchoverBandwidthMiBps: told}, sighting{}).SwitchoverBytesPerSecond; got != told<<20 {
			t.Errorf("told %d MiB/s, and reckoning with %d", told, got)
		}
	}
}

// TestHowMuchThereIsToCopy: what is known of the guest, or of its job.
func TestHowMuchThereIsToCopy(t *testing.T) {
	t.Parallel()
	job := func(memory, disk uint64) hypervisor.JobStats {
		return hypervisor.JobStats{Memory: hypervisor.Transfer{TotalBytes: memory}, Disk: hypervisor.Transfer{TotalBytes: disk}}
	}
	for name, c := range map[string]struct {
		seen sighting
		want monitor.Size
	}{
		"nothing is known":        {sighting{}, monitor.Size{}},
		"the job knows":           {sighting{job: job(7, 0)}, monitor.Size{MemoryBytes: 7}},
		"the guest is known":      {sighting{job: job(7, 0), domain: &hypervisor.Domain{MemoryBytes: 9}}, monitor.Size{MemoryBytes: 9}},
		"the job knows more":      {sighting{job: job(11, 0), domain: &hypervisor.Domain{MemoryBytes: 9}}, monitor.Size{MemoryBytes: 11}},
		"there are disks as well": {sighting{job: job(0, 5), domain: &hypervisor.Domain{MemoryBytes: 9}}, monitor.Size{MemoryBytes: 9, DiskBytes: []int64{5}}},
		"more than a number has":  {sighting{job: job(1<<63, 0)}, monitor.Size{MemoryBytes: v1alpha1.MaxInteger}},
	} {
		if got := sizeOf(c.seen); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// TestWhatASampleShows of the guest and of its job.
func TestWhatASampleShows(t *testing.T) {
	t.Parallel()
	at := func(state hypervisor.State, postCopy bool) sighting {
		return sighting{domain: &hypervisor.Domain{State: state}, job: hypervisor.JobStats{PostCopy: postCopy}}
	}
	for name, c := range map[string]struct {
		seen   sighting
		paused bool
	}{
		"it runs":                             {at(hypervisor.StateRunning, false), false},
		"it stands still":                     {at(hypervisor.StatePaused, false), true},
		"it runs on the target":               {at(hypervisor.StatePaused, true), false},
		"it is not known":                     {sighting{}, false},
		"it is not known, but to be gone on":  {sighting{job: hypervisor.JobStats{PostCopy: true}}, false},
		"it runs although it was switched to": {at(hypervisor.StateRunning, true), false},
	} {
		if got := monitorSample(c.seen); got.GuestPaused != c.paused || got.PostCopy != c.seen.job.PostCopy {
			t.Errorf("%s: paused %t, in post-copy %t", name, got.GuestPaused, got.PostCopy)
		}
	}
	for _, known := range []bool{false, true} {
		got := monitorSample(sighting{job: hypervisor.JobStats{Downtime: time.Second, DowntimeKnown: known}}).ExpectedDowntime
		if (got == time.Second) != known {
			t.Errorf("the expected downtime, known %t, is %s", known, got)
		}
	}
}

// TestWhatAnEarlierAgentHasDone is taken over from its record.
func TestWhatAnEarlierAgentHasDone(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	step := func(reason monitor.Reason, failure string, refused bool) *v1alpha1.SteeringStep {
		return &v1alpha1.SteeringStep{Time: metav1.NewMicroTime(began.Add(7 * time.Second)), Reason: string(reason), Error: failure, Refused: refused}
	}
	order := func(reason monitor.Reason, failed, refused bool) monitor.Order {
		return monitor.Order{Ordered: true, At: 7 * time.Second, Reason: reason, Failed: failed, Refused: refused}
	}
	after := func(d time.Duration) *metav1.MicroTime { return new(metav1.NewMicroTime(began.Add(d))) }
	for name, c := range map[string]struct {
		record *v1alpha1.SteeringStatus
		want   monitor.Facts
	}{
		"nothing":                {nil, monitor.Facts{}},
		"nothing that matters":   {&v1alpha1.SteeringStatus{}, monitor.Facts{}},
		"a limit":                {&v1alpha1.SteeringStatus{MaxDowntimeMilliseconds: 7, LowestRemainingBytes: 9}, monitor.Facts{MaxDowntimeMilliseconds: 7, LowestPassBytes: 9}},
		"progress":               {&v1alpha1.SteeringStatus{LastProgressTime: after(time.Second)}, monitor.Facts{ProgressAt: time.Second}},
		"a pause of its own":     {&v1alpha1.SteeringStatus{Pause: step(monitor.ReasonSlow, "", false)}, monitor.Facts{Pause: order(monitor.ReasonSlow, false, false)}},
		"a pause on request":     {&v1alpha1.SteeringStatus{Pause: step(monitor.ReasonRequested, "", false)}, monitor.Facts{Pause: order(monitor.ReasonRequested, false, false), ForceCompleteTaken: true}},
		"a pause that failed":    {&v1alpha1.SteeringStatus{Pause: step(monitor.ReasonSlow, "no", true)}, monitor.Facts{Pause: order(monitor.ReasonSlow, true, true)}},
		"a pause that came":      {&v1alpha1.SteeringStatus{Pause: step(monitor.ReasonSlow, "", false), PausedTime: after(9 * time.Second)}, monitor.Facts{Pause: order(monitor.ReasonSlow, false, false)}},
		"an abort":               {&v1alpha1.SteeringStatus{Abort: step(monitor.ReasonProgressTimeout, "", false)}, monitor.Facts{Abort: order(monitor.ReasonProgressTimeout, false, false)}},
		"post-copy on request":   {&v1alpha1.SteeringStatus{PostCopy: step(monitor.ReasonRequested, "", false)}, monitor.Facts{PostCopy: order(monitor.ReasonRequested, false, false), ForceCompleteTaken: true}},
		"post-copy, and a pause": {&v1alpha1.SteeringStatus{PostCopy: step(monitor.ReasonRequested, "no", false), Pause: step(monitor.ReasonSlow, "", false)}, monitor.Facts{PostCopy: order(monitor.ReasonRequested, true, false), Pause: order(monitor.ReasonSlow, false, false), ForceCompleteTaken: true}},
		"post-copy that was seen": {&v1alpha1.SteeringStatus{PostCopy: step(monitor.ReasonSlow, "", false), PostCopyTime: after(8 * time.Second)},
			monitor.Facts{PostCopy: order(monitor.ReasonSlow, false, false), PostCopySeen: true}},
	} {
		if got := monitorFacts(&v1alpha1.SourceStatus{Steering: c.record}, began, time.Minute); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}
