package agent

import (
	"context"
	"errors"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Errors of a Recorder.
var (
	// ErrConflict: the object has changed since it was read.
	ErrConflict = errors.New("the object has changed")
	// ErrOutdated: the report is about an attempt that is over, or is older than what
	// another process of the agent has recorded.
	ErrOutdated = errors.New("the report is outdated")
	// ErrRefused: the API server does not take the report, though it is about the
	// current attempt. Repeating it soon will not help.
	ErrRefused = errors.New("the API server refuses the report")
	// ErrGone: the object does not exist any more, or is another one of the
	// same name.
	ErrGone = errors.New("the object is gone")
)

// Recorder writes an agent's part of the status of LiveMigrations. The object
// passed in says which one, by namespace, name and UID.
type Recorder interface {
	// Refresh reads the object past all caches. It fails with ErrGone.
	Refresh(ctx context.Context, lm *v1alpha1.LiveMigration) (*v1alpha1.LiveMigration, error)
	// RecordSource writes all that the source's agent owns. It fails with
	// ErrGone, with ErrOutdated, with ErrRefused and, if ifUnchanged is set and the object is
	// not as passed in, with ErrConflict.
	RecordSource(ctx context.Context, lm *v1alpha1.LiveMigration, report SourceReport, ifUnchanged bool) error
	// RecordTarget writes all that the target's agent owns. It fails with
	// ErrGone, with ErrOutdated and with ErrRefused.
	RecordTarget(ctx context.Context, lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) error
}

// SourceReport is all that the source's agent owns of a status.
type SourceReport struct {
	Section  *v1alpha1.SourceStatus
	Progress *v1alpha1.ProgressStatus
}
