// Package node connects a node's agent to the Kubernetes API: it hands
// LiveMigrations that name the node to the agent's sessions, and writes what
// the agent reports.
package node

import (
	"context"
	"fmt"

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
	// Client writes.
	Client client.Client
	// Reader reads past all caches.
	Reader client.Reader
}

var _ agent.Recorder = (*Recorder)(nil)

// Refresh implements agent.Recorder.
func (r *Recorder) Refresh(ctx context.Context, lm *v1alpha1.LiveMigration) (*v1alpha1.LiveMigration, error) {
	fresh := &v1alpha1.LiveMigration{}
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(lm), fresh)
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
	section, err := applyconv.To[ac.SourceStatusApplyConfiguration](report.Section)
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
		owner: v1alpha1.OwnerSourceAgent, attempt: report.Section.AttemptID, source: report.Section, ifUnchanged: ifUnchanged,
	})
}

// RecordTarget implements agent.Recorder.
func (r *Recorder) RecordTarget(ctx context.Context, lm *v1alpha1.LiveMigration, report *v1alpha1.TargetStatus) error {
	section, err := applyconv.To[ac.TargetStatusApplyConfiguration](report)
	if err != nil {
		return fmt.Errorf("preparing the target's section: %w", err)
	}
	status := ac.LiveMigrationStatus()
	status.Target = section
	return r.apply(ctx, lm, status, write{owner: v1alpha1.OwnerTargetAgent, attempt: report.AttemptID})
}

// write says how a status is written: as whom, about which attempt, what of the source,
// and whether only if the object is as it was read.
type write struct {
	owner, attempt string
	source         *v1alpha1.SourceStatus
	ifUnchanged    bool
}

func (r *Recorder) apply(ctx context.Context, lm *v1alpha1.LiveMigration, status *ac.LiveMigrationStatusApplyConfiguration, w write) error {
	config := ac.LiveMigration(lm.Name, lm.Namespace).WithStatus(status)
	if w.ifUnchanged {
		config.WithResourceVersion(lm.ResourceVersion)
	}
	err := r.Client.Status().Apply(ctx, config, client.FieldOwner(w.owner), client.ForceOwnership)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return agent.ErrGone
	case apierrors.IsConflict(err), apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return r.refused(ctx, lm, w, err)
	}
	return fmt.Errorf("applying the status: %w", err)
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
	return fmt.Errorf("%w: %w", agent.ErrRefused, cause)
}
