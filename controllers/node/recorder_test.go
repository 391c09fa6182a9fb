package node

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// refusing is an API server that refuses each status for a reason, and has one object.
type refusing struct {
	client.SubResourceWriter
	reason error
	object *v1alpha1.LiveMigration
}

func (r refusing) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return r.reason
}

func (r refusing) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func (r refusing) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	lm, ok := o.(*v1alpha1.LiveMigration)
	if !ok || r.object == nil {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	r.object.DeepCopyInto(lm)
	return nil
}

// statuses is a client that writes them to it.
type statuses struct {
	client.Client
	to refusing
}

func (s statuses) Status() client.SubResourceWriter { return s.to }

// TestWhyAReportIsRefused: an agent goes on writing what somebody may still need, and
// nothing else.
func TestWhyAReportIsRefused(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Resource: "livemigrations"}
	invalid := apierrors.NewInvalid(schema.GroupKind{}, "m", nil)
	forbidden := apierrors.NewForbidden(resource, "m", errors.New("not yours"))
	conflict := apierrors.NewConflict(resource, "m", errors.New("it has changed"))
	object := func(change func(*v1alpha1.LiveMigration)) *v1alpha1.LiveMigration {
		lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: "m", UID: types.UID("1")}}
		lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "now"}
		change(lm)
		return lm
	}
	same := object(func(*v1alpha1.LiveMigration) {})
	for _, c := range []struct {
		name   string
		reason error
		object *v1alpha1.LiveMigration
		want   error
	}{
		{"it is taken", nil, same, nil},
		{"the object is gone", apierrors.NewNotFound(resource, "m"), nil, agent.ErrGone},
		{"it is gone by the time that somebody asks", invalid, nil, agent.ErrGone},
		{"another object has its name", invalid, object(func(lm *v1alpha1.LiveMigration) { lm.UID = "2" }), agent.ErrGone},
		{"another has written", conflict, same, agent.ErrConflict},
		{"there is no attempt any more", invalid, object(func(lm *v1alpha1.LiveMigration) { lm.Status.Attempt = nil }), agent.ErrOutdated},
		{"there is another attempt", forbidden, object(func(lm *v1alpha1.LiveMigration) { lm.Status.Attempt.ID = "next" }), agent.ErrOutdated},
		{"somebody else knows that it has started", invalid, object(func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "now", StartRequestedTime: new(metav1.NowMicro())}
		}), agent.ErrOutdated},
		{"the migration has ended", invalid, object(func(lm *v1alpha1.LiveMigration) {
			lm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}}
		}), agent.ErrOutdated},
		{"nobody knows whether it has", invalid, object(func(lm *v1alpha1.LiveMigration) {
			lm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown}}
		}), agent.ErrRefused},
		{"it is invalid", invalid, same, agent.ErrRefused},
		{"it is not this agent's to write", forbidden, same, agent.ErrRefused},
	} {
		to := refusing{reason: c.reason, object: c.object}
		r := &Recorder{Client: statuses{to: to}, Reader: to}
		err := r.RecordSource(t.Context(), same, agent.SourceReport{Section: &v1alpha1.SourceStatus{AttemptID: "now"}}, true)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	away := errors.New("the API server is away")
	to := refusing{reason: away}
	r := &Recorder{Client: statuses{to: to}, Reader: to}
	err := r.RecordTarget(t.Context(), same, &v1alpha1.TargetStatus{AttemptID: "now"})
	for _, final := range []error{agent.ErrGone, agent.ErrOutdated, agent.ErrRefused, agent.ErrConflict} {
		if !errors.Is(err, away) || errors.Is(err, final) {
			t.Errorf("an API server that is away gives %v", err)
		}
	}
}
