package hypervisor

// EventType is what happened.
type EventType string

// The types of events.
const (
	// EventLifecycle is a change of a domain's state; Event.Lifecycle and
	// Event.Detail say which, under libvirt's names.
	EventLifecycle EventType = "Lifecycle"
	// EventIteration is the beginning of pass Event.Iteration over a migrating
	// guest's memory.
	EventIteration EventType = "Iteration"
	// EventJobCompleted carries the final statistics of a job. libvirt sends it
	// for success only.
	EventJobCompleted EventType = "JobCompleted"
	// EventResync says that events may have been lost: read the state again.
	EventResync EventType = "Resync"
)

// Lifecycle is libvirt's name of a lifecycle event.
type Lifecycle string

// The lifecycle events.
const (
	LifecycleDefined     Lifecycle = "Defined"
	LifecycleUndefined   Lifecycle = "Undefined"
	LifecycleStarted     Lifecycle = "Started"
	LifecycleSuspended   Lifecycle = "Suspended"
	LifecycleResumed     Lifecycle = "Resumed"
	LifecycleStopped     Lifecycle = "Stopped"
	LifecycleShutdown    Lifecycle = "Shutdown"
	LifecyclePMSuspended Lifecycle = "PMSuspended"
	LifecycleCrashed     Lifecycle = "Crashed"
)

// The details of lifecycle events that decisions depend on; any other is passed
// on under libvirt's name.
const (
	// DetailMigrated: with LifecycleStarted, the destination has its half; with
	// LifecycleSuspended, the source has stopped the guest, be it to switch or
	// because it was asked to; with LifecycleResumed, the guest runs at the
	// destination, or again at the source; with LifecycleStopped, the source is
	// done.
	DetailMigrated = "Migrated"
	// DetailPostcopy: with LifecycleSuspended, the source has switched to
	// post-copy; with LifecycleResumed, the guest runs at the destination
	// without all of its memory.
	DetailPostcopy = "Postcopy"
	// DetailPostcopyFailed: on either side, the post-copy phase is broken.
	DetailPostcopyFailed = "PostcopyFailed"
	// DetailFailed: with LifecycleStopped, the destination has given its half up.
	DetailFailed = "Failed"
	// DetailPaused and DetailUnpaused: somebody paused or resumed the guest.
	DetailPaused   = "Paused"
	DetailUnpaused = "Unpaused"
	// DetailIOError: the guest is paused for an error of a disk.
	DetailIOError = "IOError"
)

// Event is something that happened to a domain.
type Event struct {
	Type EventType
	// UUID is the domain's; empty with EventResync.
	UUID string
	// Lifecycle and Detail belong to EventLifecycle. Detail is libvirt's name,
	// for example "Migrated", "Postcopy", "Failed".
	Lifecycle Lifecycle
	Detail    string
	// Iteration belongs to EventIteration.
	Iteration uint64
	// Stats belong to EventJobCompleted.
	Stats JobStats
}
