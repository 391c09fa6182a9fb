// Package node connects a node's agent to the Kubernetes API: it hands
// LiveMigrations that name the node to the agent's sessions, and writes what
// the agent reports.
package node

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/applyconv"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/migration"
)

// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations,verbs=get;list;watch
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations/status,verbs=patch
// For who asks for metrics:
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Recorder writes the agent's sections of LiveMigrations by server-side apply.
type Recorder struct {
	client    client.Client
	reader    client.Reader
	revisions *revisions
}

var _ agent.Recorder = (*Recorder)(nil)

// NewRecorder returns a recorder of a process that starts now. reader reads past all caches.
func NewRecorder(c client.Client, reader client.Reader, now time.Time) *Recorder {
	return &Recorder{client: c, reader: reader, revisions: newRevisions(now)}
}

// Refresh implements agent.Recorder.
func (r *Recorder) Refresh(ctx context.Context, lm *v1alpha1.LiveMigration) (*v1alpha1.LiveMigration, error) {
	fresh := &v1alpha1.LiveMigration{}
	err := r.reader.Get(ctx, client.ObjectKeyFromObject(lm), fresh)
	if apierrors.IsNotFound(err) || err == nil && fresh.UID != lm.UID {
		return nil, agent.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the LiveMigration: %w", err)
	}
	return fresh, nil
}

// RecordSource implements agent.Recorder.
func (r *Recorder) RecordSource(ctx context.Context, lm *v1alpha1.LiveMigration, report agent.SourceReport, ifUnchanged bool) error {
	stamped := *report.Section
	stamped.Revision = r.revisions.next()
	section, err := applyconv.To[ac.SourceStatusApplyConfiguration](&stamped)
	if err != nil {
		return fmt.Errorf("preparing the source's section: %w", err)
	}
	progress, err := applyconv.To[ac.ProgressStatusApplyConfiguration](report.Progress)
	if err != nil {
		return fmt.Errorf("preparing the progress: %w", err)
	}
	status := ac.LiveMigrationStatus()
	status.Source, status.Progress = section, progress
	return r.apply(ctx, lm, status, write{
		owner: v1alpha1.OwnerSourceAgent, attempt: report.Section.AttemptID, source: &stamped, ifUnchanged: ifUnchanged,
	})
}

// RecordTarget implements agent.Recorder.
func (r *Recorder) RecordTarget(ctx context.Context, lm *v1alpha1.LiveMigration, report *v1alpha1.TargetStatus) error {
	stamped := *report
	stamped.Revision = r.revisions.next()
	section, err := applyconv.To[ac.TargetStatusApplyConfiguration](&stamped)
	if err != nil {
		return fmt.Errorf("preparing the target's section: %w", err)
	}
	status := ac.LiveMigrationStatus()
	status.Target = section
	return r.apply(ctx, lm, status, write{owner: v1alpha1.OwnerTargetAgent, attempt: report.AttemptID, target: &stamped})
}

// write says how a status is written: as whom, about which attempt, what of which side,
// and whether only if the object is as it was read.
type write struct {
	owner, attempt string
	source         *v1alpha1.SourceStatus
	target         *v1alpha1.TargetStatus
	ifUnchanged    bool
}

// overtaken returns the revision of the section in lm if the one that is written is not
// later, and zero otherwise.
func (w write) overtaken(lm *v1alpha1.LiveMigration) int64 {
	var recorded, written int64
	switch source, target := migration.CurrentSource(lm), migration.CurrentTarget(lm); {
	case w.source != nil && source != nil:
		recorded, written = source.Revision, w.source.Revision
	case w.target != nil && target != nil:
		recorded, written = target.Revision, w.target.Revision
	}
	if written == 0 || recorded < written {
		return 0
	}
	return recorded
}

func (r *Recorder) apply(ctx context.Context, lm *v1alpha1.LiveMigration, status *ac.LiveMigrationStatusApplyConfiguration, w write) error {
	config := ac.LiveMigration(lm.Name, lm.Namespace).WithStatus(status)
	if w.ifUnchanged {
		config.WithResourceVersion(lm.ResourceVersion)
	}
	err := r.client.Status().Apply(ctx, config, client.FieldOwner(w.owner), client.ForceOwnership)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return agent.ErrGone
	case apierrors.IsConflict(err), apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return r.refused(ctx, lm, w, err)
	}
	return fmt.Errorf("applying the status: %w", applyconv.Explain(err))
}

// refused tells why a write was refused. The API server takes no report on another
// attempt than the current one, be it of the same object or of another one of the
// same name, nor one of an agent whose node is not in the attempt, nor one that takes
// the start or the end back. Any other refusal is somebody's mistake.
func (r *Recorder) refused(ctx context.Context, lm *v1alpha1.LiveMigration, w write, cause error) error {
	fresh, err := r.Refresh(ctx, lm)
	switch {
	case err != nil:
		return err
	case apierrors.IsConflict(cause):
		return fmt.Errorf("%w: %w", agent.ErrConflict, cause)
	case fresh.Status.Attempt == nil, fresh.Status.Attempt.ID != w.attempt, migration.Supersedes(migration.CurrentSource(fresh), w.source):
		return agent.ErrOutdated
	case migration.Finished(fresh):
		// It could change nothing any more.
		return agent.ErrOutdated
	}
	if recorded := w.overtaken(fresh); recorded > 0 {
		// Not by this process, which sends one at a time: the clock has been set back since
		// another one was started. The next try comes after that one's.
		r.revisions.pass(recorded)
		return fmt.Errorf("applying the status: %w", cause)
	}
	return fmt.Errorf("%w: %w", agent.ErrRefused, cause)
}
