package agent

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/pkg/migration"
)

// Job is a migration that libvirt carries out from this node, as it was last seen.
type Job struct {
	// Namespace and Name are the LiveMigration's, and Guest is libvirt's name of the
	// guest.
	Namespace, Name, Guest string
	MemoryRemainingBytes   uint64
	DiskRemainingBytes     uint64
	DirtyBytesPerSecond    uint64
	BytesPerSecond         uint64
	// ThrottlePercent is by how much the guest is slowed down.
	ThrottlePercent uint64
	// Moved is when the job was last known to come closer to its end, or to be able to.
	// In post-copy, and while it is being aborted, it is when anything was last copied.
	Moved time.Time

	processed uint64
	// over is whether the job has ended. Its final statistics may still come.
	over bool
}

// jobs are the migrations that libvirt carries out from a node.
type jobs struct {
	mu    sync.Mutex
	byUID map[types.UID]Job
	sent  uint64
}

// put takes in a job as it was just seen. Whole is whether this process has followed it
// from its beginning, so that all that it has copied is new.
func (j *jobs) put(uid types.UID, job Job, whole bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, known := j.byUID[uid]
	if known || whole {
		j.sent += job.processed - min(job.processed, before.processed)
	}
	if j.byUID == nil {
		j.byUID = map[types.UID]Job{}
	}
	j.byUID[uid] = job
}

// complete takes in how much a job has copied in all, as its final statistics say.
func (j *jobs) complete(uid types.UID, processed uint64, whole bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, known := j.byUID[uid]
	if !known && !whole {
		return
	}
	j.sent += processed - min(processed, before.processed)
	before.processed = max(before.processed, processed)
	if known {
		j.byUID[uid] = before
	}
}

// end has a job be shown no more. What it has copied is remembered until it is removed.
func (j *jobs) end(uid types.UID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if job, known := j.byUID[uid]; known {
		job.over = true
		j.byUID[uid] = job
	}
}

// get returns a job as it was last seen.
func (j *jobs) get(uid types.UID) (job Job, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, known = j.byUID[uid]
	return job, known
}

func (j *jobs) remove(uid types.UID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.byUID, uid)
}

func (j *jobs) all() (jobs []Job, sent uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	running := slices.Collect(maps.Values(j.byUID))
	return slices.DeleteFunc(running, func(job Job) bool { return job.over }), j.sent
}

// noteJob remembers what the job shows.
func (s *sourceSession) noteJob() {
	stats, now := s.now.job, s.node.Clock.Now()
	job := Job{
		Namespace: s.lm.Namespace, Name: s.lm.Name, Guest: s.lm.Status.DomainName,
		MemoryRemainingBytes: stats.Memory.RemainingBytes, DiskRemainingBytes: stats.Disk.RemainingBytes,
		DirtyBytesPerSecond: stats.MemoryDirtyBytesPerSecond, BytesPerSecond: stats.Memory.BytesPerSecond,
		ThrottlePercent: stats.AutoConvergeThrottlePercent,
		processed:       stats.Memory.ProcessedBytes + stats.Disk.ProcessedBytes,
	}
	before, known := s.node.jobs.get(s.lm.UID)
	if !stats.KnowsTransfer() {
		job.processed = before.processed
		job.MemoryRemainingBytes, job.DiskRemainingBytes = before.MemoryRemainingBytes, before.DiskRemainingBytes
	}
	switch {
	case !migration.InPostCopy(s.section) && (s.section.Steering == nil || s.section.Steering.Abort == nil):
		job.Moved = now.Add(-s.steering.state.Standstill())
	case !known, job.processed != before.processed:
		job.Moved = now
	default:
		job.Moved = before.Moved
	}
	s.node.jobs.put(s.lm.UID, job, s.followsWhole())
}

// followsWhole reports whether this process has followed the job from its beginning.
func (s *sourceSession) followsWhole() bool { return s.call == migration.CallInFlight && !s.recovering }
