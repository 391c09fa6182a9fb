package migration

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func stats(total, remaining uint64) hypervisor.JobStats {
	return hypervisor.JobStats{
		Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut,
		Memory: hypervisor.Transfer{TotalBytes: total, RemainingBytes: remaining, ProcessedBytes: total - remaining},
	}
}

func TestPercentNeverFalls(t *testing.T) {
	p := Progress(nil, stats(0, 0))
	for _, step := range []struct {
		remaining uint64
		want      int32
	}{{1000, 0}, {400, 60}, {800, 60}, {399, 60}, {5, 99}, {0, 99}, {900, 99}} {
		p = Progress(p, stats(1000, step.remaining))
		if p.Percent != step.want {
			t.Errorf("with %d of 1000 bytes left the percentage is %d, want %d", step.remaining, p.Percent, step.want)
		}
	}
	// More may remain than there is in total, while memory is plugged.
	if p := Progress(nil, stats(10, 100)); p.Percent != 0 {
		t.Errorf("the percentage is %d, want 0", p.Percent)
	}
	if p := Complete(p); p.Percent != 100 || p.Memory.RemainingBytes != 0 {
		t.Errorf("a complete job has %+v", p)
	}
	if p := Complete(nil); p.Percent != 100 {
		t.Errorf("a complete job of which nothing was seen has %+v", p)
	}
}

// TestProgressIsKept where libvirt knows nothing of a job for a while, as while it cancels it.
func TestProgressIsKept(t *testing.T) {
	known := stats(100, 40)
	known.Disk, known.MemoryIteration = hypervisor.Transfer{TotalBytes: 50, ProcessedBytes: 50}, 3
	before := Progress(nil, known)
	after := Progress(before, hypervisor.JobStats{Type: hypervisor.JobUnbounded, Elapsed: time.Minute})
	if !reflect.DeepEqual(after.Memory, before.Memory) || !reflect.DeepEqual(after.Disk, before.Disk) || after.MemoryIteration != 3 ||
		after.ElapsedMilliseconds != 60000 {
		t.Errorf("progress is %+v, want what was known before", after)
	}
}

func TestPercentCountsDisks(t *testing.T) {
	s := stats(100, 0)
	s.Disk = hypervisor.Transfer{TotalBytes: 900, RemainingBytes: 900}
	if p := Progress(nil, s); p.Percent != 10 || p.Disk.TotalBytes != 900 {
		t.Errorf("progress is %+v, want 10 %% of memory and disk", p)
	}
}

func TestDowntimeIsExpectedUntilTheEnd(t *testing.T) {
	s := stats(100, 50)
	s.Downtime, s.DowntimeKnown = 300*time.Millisecond, true
	running := Progress(nil, s)
	if running.DowntimeMilliseconds != nil || running.ExpectedDowntimeMilliseconds == nil || *running.ExpectedDowntimeMilliseconds != 300 {
		t.Errorf("while running: %+v", running)
	}
	s.Type = hypervisor.JobCompleted
	done := Progress(running, s)
	if done.ExpectedDowntimeMilliseconds != nil || done.DowntimeMilliseconds == nil || done.Percent != 100 {
		t.Errorf("at the end: %+v", done)
	}
}

func TestHugeNumbersStayPositive(t *testing.T) {
	s := stats(math.MaxUint64, 1)
	s.MemoryDirtyBytesPerSecond = math.MaxUint64
	if p := Progress(nil, s); p.Memory.TotalBytes < 0 || p.DirtyBytesPerSecond < 0 || p.Percent != 99 {
		t.Errorf("progress is %+v", p)
	}
}

func TestNotBehind(t *testing.T) {
	at := func(percent int32, milliseconds int64) *v1alpha1.ProgressStatus {
		return &v1alpha1.ProgressStatus{Percent: percent, ElapsedMilliseconds: milliseconds, MemoryIteration: int64(percent)}
	}
	for _, c := range []struct{ p, other, want *v1alpha1.ProgressStatus }{
		{nil, nil, nil},
		{at(5, 50), nil, at(5, 50)},
		{nil, at(5, 50), at(5, 50)},
		{at(6, 60), at(5, 50), at(6, 60)},
		{at(5, 60), at(7, 50), &v1alpha1.ProgressStatus{Percent: 7, ElapsedMilliseconds: 60, MemoryIteration: 5}},
		{at(7, 50), at(5, 60), &v1alpha1.ProgressStatus{Percent: 7, ElapsedMilliseconds: 60, MemoryIteration: 7}},
	} {
		if got := NotBehind(c.p, c.other); !reflect.DeepEqual(got, c.want) {
			t.Errorf("NotBehind(%+v, %+v) = %+v", c.p, c.other, got)
		}
	}
}
