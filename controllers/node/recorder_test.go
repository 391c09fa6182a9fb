package node

import (
	"context"
	"errors"
	"testing"
	"time"

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
		r := NewRecorder(statuses{to: to}, to, time.Unix(1, 0))
		err := r.RecordSource(t.Context(), same, agent.SourceReport{Section: &v1alpha1.SourceStatus{AttemptID: "now"}}, true)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	away := errors.New("the API server is away")
	to := refusing{reason: away}
	r := NewRecorder(statuses{to: to}, to, time.Unix(1, 0))
	err := r.RecordTarget(t.Context(), same, &v1alpha1.TargetStatus{AttemptID: "now"})
	for _, final := range []error{agent.ErrGone, agent.ErrOutdated, agent.ErrRefused, agent.ErrConflict} {
		if !errors.Is(err, away) || errors.Is(err, final) {
			t.Errorf("an API server that is away gives %v", err)
		}
	}
}

// TestRevisions: each is higher than those before it, those of a process than those of
// processes that were started before it, and none is higher than the API server takes.
func TestRevisions(t *testing.T) {
	t.Parallel()
	started := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := newRevisions(started)
	first := r.next()
	if second := r.next(); first <= 0 || second <= first {
		t.Errorf("after %d comes %d", first, second)
	}
	for range 500 {
		r.next()
	}
	if next := newRevisions(started.Add(time.Millisecond)).next(); next <= r.next() {
		t.Errorf("the successor begins with %d", next)
	}
	last := r.next()
	r.pass(first)
	if next := r.next(); next <= last {
		t.Errorf("having passed a lower one, %d comes after %d", next, last)
	}
	other := newRevisions(started.Add(time.Hour))
	r.pass(other.next())
	if passed, more := r.next(), other.next(); passed <= more {
		t.Errorf("%d does not pass another process, which has sent %d", passed, more)
	}
	r.pass(mostRevision)
	if next := r.next(); next != 0 {
		t.Errorf("after the highest comes %d", next)
	}
	if next := newRevisions(time.Unix(-5, 0)).next(); next != 1 {
		t.Errorf("before 1970 begins with %d", next)
	}
	if next := newRevisions(time.Date(2240, 1, 1, 0, 0, 0, 0, time.UTC)).next(); next >= mostRevision || next <= 0 {
		t.Errorf("in 2240 begins with %d", next)
	}
}
