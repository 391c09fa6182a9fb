package hypervisor

import "time"

// MigrateParams describes one peer-to-peer live migration.
type MigrateParams struct {
	// DestinationURI is where the source's libvirt reaches the destination's,
	// for example "qemu+tcp://192.0.2.12/system".
	DestinationURI string
	// MigrateURI is where the hypervisor sends the guest's memory, for example
	// "tcp://192.0.2.12"; empty leaves it to the destination.
	MigrateURI string
	// LiveXML is the definition that the destination starts the guest with.
	LiveXML DomainXML
	// PersistentXML is the definition that the destination keeps; empty for a
	// transient domain.
	PersistentXML DomainXML
	// Persist is whether the domain becomes persistent on the destination and
	// is undefined on the source.
	Persist bool
	// AllowUnsafe lifts libvirt's refusal of migrations that it holds for a
	// danger to the guest's disks.
	AllowUnsafe bool
	// BandwidthMiBps limits the copying, in MiB per second; zero is libvirt's
	// default.
	BandwidthMiBps uint64
}

// JobType is the kind of job that a domain has.
type JobType string

// The types of jobs.
const (
	JobNone      JobType = "None"
	JobBounded   JobType = "Bounded"
	JobUnbounded JobType = "Unbounded"
	JobCompleted JobType = "Completed"
	JobFailed    JobType = "Failed"
	JobCancelled JobType = "Cancelled"
)

// JobOperation is what a job does.
type JobOperation string

// The operations that decisions depend on; any other is OperationOther.
const (
	OperationUnknown      JobOperation = "Unknown"
	OperationMigrationIn  JobOperation = "MigrationIn"
	OperationMigrationOut JobOperation = "MigrationOut"
	OperationOther        JobOperation = "Other"
)

// JobStats are the statistics of a job. Sizes are in bytes, and zero where the
// hypervisor does not know them.
type JobStats struct {
	Type      JobType
	Operation JobOperation
	// Elapsed is the time since the job began.
	Elapsed time.Duration
	// Downtime is the hypervisor's estimate while the job runs and the real
	// pause of the guest afterwards; DowntimeKnown says whether there is one.
	Downtime      time.Duration
	DowntimeKnown bool
	Memory        Transfer
	Disk          Transfer
	// MemoryIteration counts the passes over the guest's memory, from one.
	MemoryIteration uint64
	// MemoryDirtyBytesPerSecond is how fast the guest writes to its memory.
	MemoryDirtyBytesPerSecond uint64
	// MemoryPostcopyRequests counts the pages that the destination asked for.
	MemoryPostcopyRequests uint64
	// AutoConvergeThrottlePercent is by how much the guest is slowed down.
	AutoConvergeThrottlePercent uint64
	// ErrorMessage is what libvirt says of a job that failed.
	ErrorMessage string
}

// Active reports whether the statistics are those of a job under way.
func (s JobStats) Active() bool {
	return s.Type == JobBounded || s.Type == JobUnbounded
}

// MigratingOut reports whether the domain is being migrated away right now.
func (s JobStats) MigratingOut() bool {
	return s.Active() && s.Operation == OperationMigrationOut
}

// Transfer counts what a job copies, in bytes.
type Transfer struct {
	TotalBytes     uint64
	ProcessedBytes uint64
	RemainingBytes uint64
	BytesPerSecond uint64
}
