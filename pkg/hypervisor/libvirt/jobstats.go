package libvirt

import (
	"fmt"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

var jobTypes = map[lv.DomainJobType]hypervisor.JobType{
	lv.DOMAIN_JOB_NONE:      hypervisor.JobNone,
	lv.DOMAIN_JOB_BOUNDED:   hypervisor.JobBounded,
	lv.DOMAIN_JOB_UNBOUNDED: hypervisor.JobUnbounded,
	lv.DOMAIN_JOB_COMPLETED: hypervisor.JobCompleted,
	lv.DOMAIN_JOB_FAILED:    hypervisor.JobFailed,
	lv.DOMAIN_JOB_CANCELLED: hypervisor.JobCancelled,
}

var jobOperations = map[lv.DomainJobOperationType]hypervisor.JobOperation{
	lv.DOMAIN_JOB_OPERATION_UNKNOWN:       hypervisor.OperationUnknown,
	lv.DOMAIN_JOB_OPERATION_MIGRATION_IN:  hypervisor.OperationMigrationIn,
	lv.DOMAIN_JOB_OPERATION_MIGRATION_OUT: hypervisor.OperationMigrationOut,
}

// jobField carries one number of libvirt's job statistics over.
type jobField struct {
	name string
	read func(*lv.DomainJobInfo) (set bool, value uint64)
	to   func(*hypervisor.JobStats, uint64)
}

// jobFields is all that is carried over. A number that libvirt did not set
// stays zero. Sizes are in bytes, times in milliseconds.
var jobFields = []jobField{
	{"elapsed time", func(i *lv.DomainJobInfo) (bool, uint64) { return i.TimeElapsedSet, i.TimeElapsed },
		func(s *hypervisor.JobStats, v uint64) { s.Elapsed = milliseconds(v) }},
	{"setup time", func(i *lv.DomainJobInfo) (bool, uint64) { return i.SetupTimeSet, i.SetupTime },
		func(s *hypervisor.JobStats, v uint64) { s.Setup = milliseconds(v) }},
	{"memory total", func(i *lv.DomainJobInfo) (bool, uint64) { return i.MemTotalSet, i.MemTotal },
		func(s *hypervisor.JobStats, v uint64) { s.Memory.TotalBytes = v }},
	{"memory processed", func(i *lv.DomainJobInfo) (bool, uint64) { return i.MemProcessedSet, i.MemProcessed },
		func(s *hypervisor.JobStats, v uint64) { s.Memory.ProcessedBytes = v }},
	{"memory remaining", func(i *lv.DomainJobInfo) (bool, uint64) { return i.MemRemainingSet, i.MemRemaining },
		func(s *hypervisor.JobStats, v uint64) { s.Memory.RemainingBytes = v }},
	{"memory rate", func(i *lv.DomainJobInfo) (bool, uint64) { return i.MemBpsSet, i.MemBps },
		func(s *hypervisor.JobStats, v uint64) { s.Memory.BytesPerSecond = v }},
	{"disk total", func(i *lv.DomainJobInfo) (bool, uint64) { return i.DiskTotalSet, i.DiskTotal },
		func(s *hypervisor.JobStats, v uint64) { s.Disk.TotalBytes = v }},
	{"disk processed", func(i *lv.DomainJobInfo) (bool, uint64) { return i.DiskProcessedSet, i.DiskProcessed },
		func(s *hypervisor.JobStats, v uint64) { s.Disk.ProcessedBytes = v }},
	{"disk remaining", func(i *lv.DomainJobInfo) (bool, uint64) { return i.DiskRemainingSet, i.DiskRemaining },
		func(s *hypervisor.JobStats, v uint64) { s.Disk.RemainingBytes = v }},
	{"disk rate", func(i *lv.DomainJobInfo) (bool, uint64) { return i.DiskBpsSet, i.DiskBps },
		func(s *hypervisor.JobStats, v uint64) { s.Disk.BytesPerSecond = v }},
	{"memory iteration", func(i *lv.DomainJobInfo) (bool, uint64) { return i.MemIterationSet, i.MemIteration },
		func(s *hypervisor.JobStats, v uint64) { s.MemoryIteration = v }},
	{"page size", func(i *lv.DomainJobInfo) (bool, uint64) { return i.MemPageSizeSet, i.MemPageSize },
		func(s *hypervisor.JobStats, v uint64) { s.MemoryPageBytes = v }},
	{"dirty rate", func(i *lv.DomainJobInfo) (bool, uint64) {
		return i.MemDirtyRateSet && i.MemPageSizeSet, i.MemDirtyRate * i.MemPageSize
	}, func(s *hypervisor.JobStats, v uint64) { s.MemoryDirtyBytesPerSecond = v }},
	{"post-copy requests", func(i *lv.DomainJobInfo) (bool, uint64) { return i.MemPostcopyReqsSet, i.MemPostcopyReqs },
		func(s *hypervisor.JobStats, v uint64) { s.MemoryPostcopyRequests = v }},
	{"throttle", func(i *lv.DomainJobInfo) (bool, uint64) {
		return i.AutoConvergeThrottleSet && i.AutoConvergeThrottle > 0, uint64(max(i.AutoConvergeThrottle, 0))
	}, func(s *hypervisor.JobStats, v uint64) { s.AutoConvergeThrottlePercent = v }},
}

// decodeJobStats translates libvirt's job statistics. A type of job that it
// does not know is an error, because whether a job runs hangs on it.
func decodeJobStats(info *lv.DomainJobInfo) (hypervisor.JobStats, error) {
	var stats hypervisor.JobStats
	var ok bool
	if stats.Type, ok = jobTypes[info.Type]; !ok {
		return stats, fmt.Errorf("unknown type of job %d", info.Type)
	}
	stats.Operation = hypervisor.OperationUnknown
	if info.OperationSet {
		if stats.Operation, ok = jobOperations[info.Operation]; !ok {
			stats.Operation = hypervisor.OperationOther
		}
	}
	for _, field := range jobFields {
		if set, value := field.read(info); set {
			field.to(&stats, value)
		}
	}
	stats.Downtime, stats.DowntimeKnown = downtimeOf(info)
	if !stats.Active() && info.DowntimeSet {
		stats.GrossDowntime = milliseconds(info.Downtime)
	}
	if info.ErrorMessageSet {
		stats.ErrorMessage = sanitize(info.ErrorMessage)
	}
	return stats, nil
}

// downtimeOf returns the net downtime where libvirt measured one, as the other
// is the difference between the clocks of two hosts.
func downtimeOf(info *lv.DomainJobInfo) (time.Duration, bool) {
	running := info.Type == lv.DOMAIN_JOB_BOUNDED || info.Type == lv.DOMAIN_JOB_UNBOUNDED
	switch {
	case running && info.MemPostcopyReqsSet && info.MemPostcopyReqs > 0:
		// In post-copy the guest runs elsewhere, and QEMU still counts.
		return 0, false
	case info.DowntimeNetSet:
		return milliseconds(info.DowntimeNet), true
	case info.DowntimeSet:
		return milliseconds(info.Downtime), true
	}
	return 0, false
}

// milliseconds bounds what it converts, so that nonsense does not turn negative.
func milliseconds(n uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	return time.Duration(min(n, most)) * time.Millisecond
}
