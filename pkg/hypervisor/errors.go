package hypervisor

import (
	"errors"
	"fmt"
)

// Kind sorts the errors of a hypervisor by what a caller can do about them.
type Kind string

// The kinds of errors.
const (
	// KindNoDomain is an unknown domain.
	KindNoDomain Kind = "NoDomain"
	// KindConnectionLost is a connection of ours that broke: the call's outcome is
	// unknown, and it may still be under way.
	KindConnectionLost Kind = "ConnectionLost"
	// KindPeerLost is a migration that ended because the two libvirts could not
	// connect, or lost each other: it is over, but what became of the guest is unknown.
	KindPeerLost Kind = "PeerLost"
	// KindTimeout is a call that did not return in time and was abandoned: its
	// outcome is unknown.
	KindTimeout Kind = "Timeout"
	// KindCanceled is a call that was abandoned because its context ended: its
	// outcome is unknown.
	KindCanceled Kind = "Canceled"
	// KindNotSent is a migration that was never asked for, because our own
	// connection failed before: nothing was started.
	KindNotSent Kind = "NotSent"
	// KindAborted is a job that was aborted on request.
	KindAborted Kind = "Aborted"
	// KindUnsafe is libvirt's refusal of a migration that may harm the disks.
	KindUnsafe Kind = "Unsafe"
	// KindConfigUnsupported is a definition that the destination cannot run,
	// or one that would change the guest.
	KindConfigUnsupported Kind = "ConfigUnsupported"
	// KindOperationInvalid is a call that does not fit the domain's state.
	KindOperationInvalid Kind = "OperationInvalid"
	// KindBusy is a domain held by another job.
	KindBusy Kind = "Busy"
	// KindOther is any other failure.
	KindOther Kind = "Other"
)

// The causes of errors of kind KindOperationInvalid that decisions depend on,
// for errors.Is.
var (
	// ErrNoJob: the domain is not being migrated away.
	ErrNoJob = errors.New("the domain is not being migrated away")
	// ErrNotCopying: the migration is being prepared; it will copy soon.
	ErrNotCopying = errors.New("the migration is not copying yet")
	// ErrPostCopyNotEnabled: the migration was started without leave to switch.
	ErrPostCopyNotEnabled = errors.New("the migration was started without post-copy")
	// ErrInPostCopy: the migration has switched to post-copy.
	ErrInPostCopy = errors.New("the migration is in its post-copy phase")
	// ErrNotInPostCopy: the migration has not switched to post-copy.
	ErrNotInPostCopy = errors.New("the migration is not in its post-copy phase")
	// ErrPostCopyRuns: the post-copy phase has not failed.
	ErrPostCopyRuns = errors.New("the migration's post-copy phase has not failed")
)

// ErrGuestNotAsked is the cause of an error after which the agent in a guest has certainly not been
// asked for what was wanted of it.
var ErrGuestNotAsked = errors.New("the guest's agent was not asked")

// ErrNoSecretDriver is the cause of errors of kind KindOther: the hypervisor answers, but
// not the part of it that keeps secrets.
var ErrNoSecretDriver = errors.New("the secret driver does not answer")

// ErrNotQEMU is the cause of errors of kind KindConnectionLost: there is a hypervisor, but
// not the one that guests can be moved from and to.
var ErrNotQEMU = errors.New("the hypervisor is not QEMU")

// OutcomeUnknown reports whether a call that failed so may still take effect, or may
// have taken effect.
func (k Kind) OutcomeUnknown() bool {
	return k == KindPeerLost || k.CallLost()
}

// CallLost reports whether a call that failed so may still be under way.
func (k Kind) CallLost() bool {
	return k == KindConnectionLost || k == KindTimeout || k == KindCanceled
}

// Error is a failed call to a hypervisor.
type Error struct {
	// Op is the call, for example "migrating".
	Op   string
	Kind Kind
	// Code and Domain are libvirt's numbers, zero where the error is not
	// libvirt's.
	Code   int
	Domain int
	// Message is fit for users: it holds no secrets and no domain XML.
	Message string
	// Err is the cause, if there is one beyond Message.
	Err error
}

// Error returns the call and what went wrong with it.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", e.Op, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error, KindOther for one that is not this
// package's, and an empty Kind for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindOther
}

// IsNoDomain reports whether the error says that the domain is unknown.
func IsNoDomain(err error) bool { return KindOf(err) == KindNoDomain }
