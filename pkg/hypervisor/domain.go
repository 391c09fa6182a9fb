package hypervisor

import (
	"log/slog"
	"regexp"
)

// HostInfo is the identity of a hypervisor.
type HostInfo struct {
	// UUID is libvirt's host UUID; libvirt refuses to migrate between two
	// hosts with the same one.
	UUID string
	// Hostname is the name that the host gives itself.
	Hostname string
	// LibvirtVersion and HypervisorVersion are dotted, for example "9.0.0".
	LibvirtVersion    string
	HypervisorVersion string
	// Capabilities is what the host offers, as XML of libvirt's format; empty
	// where it is not known.
	Capabilities string
}

// Domain is what a hypervisor says of one domain at one moment.
type Domain struct {
	UUID string
	Name string
	// ID is the host's number of this run of the domain: one that is started again, or
	// comes to the host again, gets another. Zero where it is not active. After the host
	// itself was started again, numbers may repeat.
	ID int64
	// State and Reason are libvirt's; a Reason has a meaning only beside its
	// State.
	State  State
	Reason Reason
	// Persistent is whether the domain has a definition that outlives it.
	Persistent bool
	// MemoryBytes is the memory that the domain may use at most.
	MemoryBytes uint64
}

//nolint:gochecknoglobals // A constant.
var canonicalUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// IsUUID reports whether a text is a UUID as libvirt writes it. libvirt itself also reads
// capitals, blanks, and UUIDs without dashes; but what stands for the same domain must be
// the same text, or one domain would be taken for two.
func IsUUID(text string) bool { return canonicalUUID.MatchString(text) }

// Active reports whether the domain has a virtual machine behind it, running
// or paused.
func (d Domain) Active() bool {
	switch d.State {
	case StateRunning, StateBlocked, StatePaused, StateShutdown, StatePMSuspended:
		return true
	case StateCrashed:
		// The guest has panicked, and its emulator is kept for somebody to look at it.
		return d.Reason == ReasonPanicked
	case StateNoState, StateShutoff:
		return false
	}
	return false
}

// InPostCopy reports whether the domain is one half of a migration in its
// post-copy phase, be it intact or broken.
func (d Domain) InPostCopy() bool {
	switch d.State {
	case StateRunning, StatePaused:
		return d.Reason == ReasonPostcopy || d.Reason == ReasonPostcopyFailed
	case StateNoState, StateBlocked, StateShutdown, StateShutoff, StateCrashed, StatePMSuspended:
		return false
	}
	return false
}

// State is a domain's state, named as libvirt names it.
type State string

// The states of a domain.
const (
	StateNoState     State = "NoState"
	StateRunning     State = "Running"
	StateBlocked     State = "Blocked"
	StatePaused      State = "Paused"
	StateShutdown    State = "Shutdown"
	StateShutoff     State = "Shutoff"
	StateCrashed     State = "Crashed"
	StatePMSuspended State = "PMSuspended"
)

// Reason says why a domain is in its state. The values below are those that
// decisions depend on; any other reason of libvirt's is passed on under
// libvirt's name.
type Reason string

// The reasons that decisions depend on.
const (
	ReasonUnknown           Reason = "Unknown"
	ReasonBooted            Reason = "Booted"
	ReasonUser              Reason = "User"
	ReasonStartingUp        Reason = "StartingUp"
	ReasonUnpaused          Reason = "Unpaused"
	ReasonRestored          Reason = "Restored"
	ReasonFromSnapshot      Reason = "FromSnapshot"
	ReasonMigration         Reason = "Migration"
	ReasonMigrated          Reason = "Migrated"
	ReasonMigrationCanceled Reason = "MigrationCanceled"
	ReasonPostcopy          Reason = "Postcopy"
	ReasonPostcopyFailed    Reason = "PostcopyFailed"
	ReasonIOError           Reason = "IOError"
	ReasonAPIError          Reason = "APIError"
	ReasonCrashed           Reason = "Crashed"
	ReasonPanicked          Reason = "Panicked"
	ReasonFailed            Reason = "Failed"
	ReasonDestroyed         Reason = "Destroyed"
	ReasonShutdown          Reason = "Shutdown"
)

// XMLForm selects which of a domain's definitions to read.
type XMLForm int

const (
	// XMLMigratable is the live definition in the form that a destination
	// accepts.
	XMLMigratable XMLForm = iota
	// XMLInactive is the persistent definition, secrets included.
	XMLInactive
	// XMLRunning is the live definition, without secrets, with what the hypervisor has found out
	// itself and leaves to a destination to find, such as what images are based on.
	XMLRunning
)

// Ties is what keeps a running domain from moving.
type Ties struct {
	// Snapshots and Checkpoints are how many the hypervisor keeps of the domain. They do not
	// move with it.
	Snapshots, Checkpoints int
	// BlockJobs are the disks of which something is being copied or merged. One of which the
	// hypervisor does not tell is left out.
	BlockJobs []string
}

// DomainXML is a domain's definition. It holds secrets, so it prints as a
// placeholder wherever it is formatted, logged or marshalled by mistake; only
// a plain conversion yields the text.
type DomainXML string

const elidedXML = "[domain XML]"

// String returns a placeholder.
func (DomainXML) String() string { return elidedXML }

// GoString returns a placeholder.
func (DomainXML) GoString() string { return elidedXML }

// LogValue returns a placeholder.
func (DomainXML) LogValue() slog.Value { return slog.StringValue(elidedXML) }

// MarshalText returns a placeholder.
func (DomainXML) MarshalText() ([]byte, error) { return []byte(elidedXML), nil }
