package hypervisor

import "context"

// Host reads what a node's hypervisor is and runs.
type Host interface {
	// HostInfo returns the identity and versions of the hypervisor.
	HostInfo(ctx context.Context) (HostInfo, error)
	// MaxWorkers returns how many calls the hypervisor's daemon serves at once, and
	// zero where it does not tell. A migration away is one of them throughout.
	MaxWorkers(ctx context.Context) (int, error)
	// HostFacts reads groups of facts. It fails only where nothing can be read; where a group
	// cannot, its facts say so.
	HostFacts(ctx context.Context, groups ...FactGroup) (HostFacts, error)
	// ListDomains returns every domain that the hypervisor knows, running or
	// not, ordered by name.
	ListDomains(ctx context.Context) ([]Domain, error)
	// LookupDomain returns one domain by its UUID, or an error of kind
	// KindNoDomain.
	LookupDomain(ctx context.Context, uuid string) (Domain, error)
	// MachineType returns what machine is emulated for a domain, as its definition names it.
	// Of a running one it is the very one, not an alias.
	MachineType(ctx context.Context, uuid string) (string, error)
	// Subscribe returns a stream of events of one domain or, with an empty
	// UUID, of all of them, until ctx ends; then the channel is closed. Events
	// are hints, never the truth: some are lost while a connection is away, and
	// then an event of type EventResync tells to read the state again. A
	// receiver that falls behind gets one EventResync for all that it missed.
	Subscribe(ctx context.Context, uuid string) <-chan Event
}

// SecretKeeper has the secrets to which definitions of domains refer. An error whose cause
// is ErrNoSecretDriver says that it cannot be asked, though the hypervisor can.
type SecretKeeper interface {
	// MissingSecrets returns which of the secrets the hypervisor does not have, or has no
	// value for, or has for other borrowers only. Of a private one of its own it does not tell
	// whether it has a value, and counts it as having one. Where secrets are kept by something
	// that it cannot be asked about, it returns none.
	MissingSecrets(ctx context.Context, borrower string, secrets []SecretName) ([]SecretName, error)
	// LendSecret gives the hypervisor a secret that it keeps in memory, and tells nobody,
	// until its last borrower returns it. A secret that it has itself is left alone, and one
	// that is lent to another namespace's migration is refused with KindOther. It is
	// idempotent.
	LendSecret(ctx context.Context, loan SecretLoan) error
	// ReturnSecrets takes away what was lent to a borrower, unless another has it, too.
	ReturnSecrets(ctx context.Context, borrower string) error
	// SecretBorrowers returns to whom secrets are lent.
	SecretBorrowers(ctx context.Context) ([]string, error)
}

// Migrator moves running domains away from a node and follows them.
type Migrator interface {
	// DomainXML returns the domain's definition in the given form. It contains
	// secrets, such as console passwords.
	DomainXML(ctx context.Context, uuid string, form XMLForm) (DomainXML, error)
	// DirtyRate measures for a second how many bytes of its memory a domain changes in that
	// time, by looking at some of its pages: memory that is written again and again counts
	// once. It fails with KindOperationInvalid for a domain that is shut off.
	DirtyRate(ctx context.Context, uuid string) (bytesPerSecond uint64, err error)
	// Ties returns what keeps a running domain from moving.
	Ties(ctx context.Context, uuid string) (Ties, error)
	// Migrate starts a peer-to-peer migration and returns when libvirt's call
	// returns. A nil error is libvirt's word that the domain now runs on the
	// destination. An error of kind KindConnectionLost, KindTimeout or
	// KindCanceled leaves the outcome open: the job may still be running. With
	// KindPeerLost it is over, and the outcome is open as well. So it is with
	// any error once the migration has switched to post-copy: the guest is
	// at the destination then, and what it lacks is at the source. KindNotSent says
	// that nothing was started for want of a connection. Migrate is
	// not idempotent: a caller persists its intent first.
	Migrate(ctx context.Context, uuid string, params MigrateParams) error
	// RecoverPostCopy takes a migration up again whose post-copy phase broke,
	// and returns as Migrate does. It is asked of the source, once both sides
	// show ReasonPostcopyFailed, with the parameters that Migrate was given;
	// LiveXML and PersistentXML may be left out. It fails with
	// KindOperationInvalid where there is nothing to recover: the cause is
	// ErrNoJob, ErrNotInPostCopy or ErrPostCopyRuns, and there is none where
	// libvirt refuses a phase that looks broken. The destination's state says why
	// then: in ReasonPostcopy, the memory still arrives by itself; without the
	// domain, the guest is lost. It may be called again after a failure; any other
	// leaves open whether the memory arrives after all, which the destination's
	// state tells in the same way. It hangs where the destination's emulator does,
	// as it may for want of memory.
	RecoverPostCopy(ctx context.Context, uuid string, params MigrateParams) error
	// JobStats returns the statistics of the domain's current job. Its Type is
	// JobNone when there is none.
	JobStats(ctx context.Context, uuid string) (JobStats, error)
	// CompletedJobStats returns the statistics of the domain's most recent
	// migration, in or out, for as long as the hypervisor keeps them; Type is
	// JobNone when it does not. Reading does not discard them.
	CompletedJobStats(ctx context.Context, uuid string) (JobStats, error)
}

// Steerer changes the course of a migration under way. All but Resume are asked
// of its source.
type Steerer interface {
	// AbortJob asks for the end of the domain's migration. It is idempotent:
	// without a job it returns nil. It fails with KindOperationInvalid once
	// the migration is in its post-copy phase.
	AbortJob(ctx context.Context, uuid string) error
	// SetMaxDowntime sets the longest pause, in milliseconds, that the running
	// migration may take for its switch-over.
	SetMaxDowntime(ctx context.Context, uuid string, milliseconds uint64) error
	// MaxDowntime returns that pause, in milliseconds, as it is set now.
	MaxDowntime(ctx context.Context, uuid string) (uint64, error)
	// SetBandwidth limits the running migration, in MiB per second. It does not
	// limit the post-copy phase.
	SetBandwidth(ctx context.Context, uuid string, mebibytesPerSecond uint64) error
	// StartPostCopy asks for the switch to post-copy, without any limit of
	// bandwidth from there on. It returns before the switch, which an event and
	// JobStats.PostCopy tell. It fails with KindOperationInvalid where it cannot
	// be, the cause being ErrNoJob, ErrNotCopying, ErrPostCopyNotEnabled or
	// ErrInPostCopy; with the last, what was asked for has happened. Asking twice
	// does no harm.
	StartPostCopy(ctx context.Context, uuid string) error
	// Suspend pauses a running domain. One that is being migrated away from here
	// is copied without a chance to write, and therefore switches sides; the
	// destination makes it run there. A domain that is paused already is no
	// error. One that is being migrated to here, or is in post-copy, is refused
	// with KindOperationInvalid.
	Suspend(ctx context.Context, uuid string) error
	// Resume makes a paused domain run. One that runs already is no error. It
	// fails with KindOperationInvalid for a domain that is or may be half of
	// one, paused for reason of a migration or of post-copy, and with KindBusy
	// for one that is being migrated away.
	Resume(ctx context.Context, uuid string) error
}

// Cleaner removes what a migration left behind. Callers prove first that the
// guest runs elsewhere.
type Cleaner interface {
	// Undefine removes the persistent definition of a domain that is shut off;
	// it refuses, with KindOperationInvalid, one that is active. NVRAM and TPM
	// state are kept. It is idempotent: an unknown domain is no error.
	Undefine(ctx context.Context, uuid string) error
	// DestroyIncoming ends the incoming half of a migration that is over: it
	// acts only on a domain that is paused for reason of an incoming migration
	// and refuses any other with KindOperationInvalid. An unknown or
	// shut-off domain is no error.
	DestroyIncoming(ctx context.Context, uuid string) error
	// DestroyStale ends the copy of a guest that a migration, which is over, left
	// paused at its source: it acts only on a domain that is paused for reason of
	// a migration and has no job, or that is the source's half of a guest in
	// post-copy, and refuses any other with KindOperationInvalid. It refuses as well
	// where the hypervisor would take a disk's image from the guest that runs
	// elsewhere. An unknown or shut-off domain is no error.
	DestroyStale(ctx context.Context, uuid string) error
}

// Contact says how a client has got on with its daemon since it began.
type Contact struct {
	// Control is the connection for calls, Events that for events.
	Control, Events Connects
	// Abandoned counts the calls that were given up, and Hung those of them that have
	// still not returned.
	Abandoned uint64
	Hung      int
}

// Connects counts how often a connection was made anew, and how often it could not be
// made.
type Connects struct{ Again, Failed uint64 }

// Hypervisor is all that an agent asks of its node.
type Hypervisor interface {
	Host
	Migrator
	Steerer
	Cleaner
	SecretKeeper
	ImageKeeper
	Receiver
}
