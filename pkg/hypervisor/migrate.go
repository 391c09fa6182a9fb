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
	// ListenAddress is the IP address on which the destination's hypervisor waits for it;
	// empty is what the destination's libvirt is configured to.
	ListenAddress string
	// DisksURI is where the hypervisor sends disks that are copied, for example
	// "tcp://192.0.2.13"; empty leaves it to the destination.
	DisksURI string
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
	// PostCopy is whether StartPostCopy may switch the migration to post-copy.
	PostCopy bool
	// Transfer is how the guest is sent.
	Transfer Transferral
	// AutoConverge slows the guest down where it writes faster than is copied;
	// nil does not.
	AutoConverge *AutoConverge
	// Copy is which disks are copied as well.
	Copy DiskCopy
}

// Transferral is how a guest is sent to its new host.
type Transferral struct {
	// TLS encrypts what the two hypervisors send each other, and TLSDestination is the name
	// that the certificate of the destination's must have; empty is the host of MigrateURI.
	TLS            bool
	TLSDestination string
	// ParallelConnections is how many connections the memory is sent over; zero is one that
	// carries everything.
	ParallelConnections uint32
	// Compression is how the memory is compressed, and CompressionLevel how hard that tries;
	// zero is the hypervisor's default.
	Compression      Compression
	CompressionLevel uint32
	// ZeroCopy has the kernel send the memory from where it is.
	ZeroCopy bool
	// SwitchoverBandwidthMiBps is how many MiB per second the hypervisor reckons with for what
	// it sends while the guest stands still, which nothing limits; zero is as many as it has
	// seen to be sent before.
	SwitchoverBandwidthMiBps uint64
}

// Compression is a method of compressing a guest's memory, by the hypervisor's name.
type Compression string

// The methods; NoCompression is none.
const (
	NoCompression     Compression = ""
	CompressionXBZRLE Compression = "xbzrle"
	CompressionZlib   Compression = "zlib"
	CompressionZstd   Compression = "zstd"
)

// AutoConverge is by how much a guest is slowed down. Zero is the hypervisor's
// default.
type AutoConverge struct {
	// InitialPercent is the first throttle, IncrementPercent what is added to it
	// for as long as it is not enough.
	InitialPercent   uint32
	IncrementPercent uint32
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
// hypervisor does not know them; so are times, but for the downtime.
type JobStats struct {
	Type      JobType
	Operation JobOperation
	// PostCopy is whether the job is a migration that has switched to post-copy:
	// the domain's state says so, and with it PostCopyFailed whether that phase
	// is broken, as statistics do neither.
	PostCopy       bool
	PostCopyFailed bool
	// Elapsed is the time since the job began, Setup what of it passed before
	// the first page was sent.
	Elapsed time.Duration
	Setup   time.Duration
	// Downtime is the hypervisor's estimate while the job runs and the real
	// pause of the guest afterwards; DowntimeKnown says whether there is one.
	// The estimate is the limit itself until the first pass is over.
	Downtime      time.Duration
	DowntimeKnown bool
	// GrossDowntime is the real pause as the difference between the clocks of
	// the two hosts. Downtime is the net one, free of that, where it was
	// measured, and else the same, as after post-copy.
	GrossDowntime time.Duration
	Memory        Transfer
	Disk          Transfer
	// MemoryIteration counts the passes over the guest's memory, from one.
	MemoryIteration uint64
	// MemoryPageBytes is the size of a page.
	MemoryPageBytes uint64
	// MemoryDirtyBytesPerSecond is how fast the guest writes to its memory: as
	// many pages as it wrote to, whole, in the last pass.
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

// KnowsTransfer reports whether the statistics say anything of what is copied. libvirt's do
// not while a job is set up, nor while it is being cancelled.
func (s JobStats) KnowsTransfer() bool {
	copied := func(t Transfer) bool { return t.TotalBytes > 0 || t.ProcessedBytes > 0 }
	return copied(s.Memory) || copied(s.Disk)
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
