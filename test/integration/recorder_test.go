//go:build integration

package integration

import (
	"cmp"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// TestRecorderKnowsItsObject tells one that has changed from one that is gone, and
// that from another one of the same name.
func TestRecorderKnowsItsObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	lm := w.underWay(a.node, a.node)
	source := agent.SourceReport{Section: &v1alpha1.SourceStatus{AttemptID: "1"}}
	target := &v1alpha1.TargetStatus{AttemptID: "1"}
	ctx := t.Context()
	if err := a.recorder.RecordTarget(ctx, lm, &v1alpha1.TargetStatus{AttemptID: "1", Endpoint: &v1alpha1.TargetEndpoint{Transport: v1alpha1.TransportTCP, Address: "b"}}); err != nil {
		t.Error(err)
	}
	if err := a.recorder.RecordSource(ctx, lm, source, true); !errors.Is(err, agent.ErrConflict) {
		t.Errorf("a record on an object that has changed: %v", err)
	}
	if err := a.recorder.RecordSource(ctx, lm, source, false); err != nil {
		t.Error(err)
	}
	requireGone := func(when string) {
		t.Helper()
		for name, err := range map[string]error{
			"a source's record":        a.recorder.RecordSource(ctx, lm, source, false),
			"a source's strict record": a.recorder.RecordSource(ctx, lm, source, true),
			"a target's record":        a.recorder.RecordTarget(ctx, lm, target),
			"a look":                   func() error { _, err := a.recorder.Refresh(ctx, lm); return err }(),
		} {
			if !errors.Is(err, agent.ErrGone) {
				t.Errorf("%s %s: %v", name, when, err)
			}
		}
	}
	if err := cluster.client.Delete(ctx, lm.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	requireGone("of an object that is gone")
	w.create(&v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: lm.Name, Namespace: lm.Namespace}, Spec: lm.Spec})
	requireGone("of an object whose name another one has")
	// That one may well be in a migration between the same nodes.
	if err := setStatus(t, cluster.client, lm, map[string]any{
		"sourceNode": a.node, "targetNode": a.node, "attempt": map[string]any{"id": "2", "admittedTime": microNow()},
	}); err != nil {
		t.Fatal(err)
	}
	requireGone("of an object that was followed by another one like it")
}

// TestRecorderKnowsThatItsAttemptIsOver: the manager has found the guest on another
// node, or on the same one in another try. What the agent was about to report is
// nobody's business any more.
func TestRecorderKnowsThatItsAttemptIsOver(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]string{"another node": "other", "the same node": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.newAgent("a"), w.newAgent("b")
			lm := w.underWay(a.node, b.node)
			source := agent.SourceReport{Section: &v1alpha1.SourceStatus{AttemptID: lm.Status.Attempt.ID}}
			err := b.recorder.RecordSource(t.Context(), lm, source, false)
			if !apierrors.IsForbidden(err) || errors.Is(err, agent.ErrOutdated) {
				t.Errorf("an agent writes what is not its own: %v", err)
			}
			if err := setStatus(t, cluster.client, lm, map[string]any{
				"sourceNode": cmp.Or(next, a.node), "attempt": map[string]any{"id": "2"},
			}); err != nil {
				t.Fatal(err)
			}
			if err := a.recorder.RecordSource(t.Context(), lm, source, false); !errors.Is(err, agent.ErrOutdated) {
				t.Errorf("a source's report on an attempt that is over: %v", err)
			}
			if err := b.recorder.RecordTarget(t.Context(), lm, lm.Status.Target); err != nil {
				t.Errorf("a target's report on the attempt whose section is there: %v", err)
			}
			if err := applyStatus(t, b.client, v1alpha1.OwnerTargetAgent, lm, map[string]any{"target": map[string]any{"attemptID": "2"}}); err != nil {
				t.Fatal(err)
			}
			if err := b.recorder.RecordTarget(t.Context(), lm, lm.Status.Target); !errors.Is(err, agent.ErrOutdated) {
				t.Errorf("a target's report on an attempt that is over: %v", err)
			}
		})
	}
}

// TestRecorderKnowsThatItsReportIsOlder than what another process of the agent has
// recorded: it is not to be repeated for ever.
func TestRecorderKnowsThatItsReportIsOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	lm := w.underWay(a.node, a.node)
	section := func(started, problem bool) *v1alpha1.SourceStatus {
		s := &v1alpha1.SourceStatus{AttemptID: "1", Guest: &v1alpha1.GuestFacts{Name: "web"}}
		if started {
			s.StartRequestedTime = new(metav1.NowMicro())
		}
		if problem {
			s.Problem = &v1alpha1.Problem{Reason: "Test", Message: "No"}
		}
		return s
	}
	a.check(a.recorder.RecordSource(t.Context(), lm, agent.SourceReport{Section: section(true, false)}, false))
	for _, problem := range []bool{false, true} {
		err := a.recorder.RecordSource(t.Context(), lm, agent.SourceReport{Section: section(false, problem)}, false)
		if !errors.Is(err, agent.ErrOutdated) {
			t.Errorf("problem %t: an older report: %v", problem, err)
		}
	}
}

// TestRecorderRemovesWhatIsNotReportedAnyMore: each report is all that an agent has
// to say.
func TestRecorderRemovesWhatIsNotReportedAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	lm := w.underWay(a.node, a.node)
	expected := &v1alpha1.ProgressStatus{Percent: 99, ExpectedDowntimeMilliseconds: new(int64(7))}
	section := &v1alpha1.SourceStatus{AttemptID: "1", Guest: &v1alpha1.GuestFacts{Name: "web"}}
	for _, report := range []agent.SourceReport{
		{Section: section, Progress: expected},
		{Section: section, Progress: &v1alpha1.ProgressStatus{Percent: 0, Memory: &v1alpha1.TransferStatus{TotalBytes: 1}}},
	} {
		a.check(a.recorder.RecordSource(t.Context(), lm, report, false))
	}
	now, err := a.recorder.Refresh(t.Context(), lm)
	if err != nil {
		t.Fatal(err)
	}
	p := now.Status.Progress
	if p == nil || p.ExpectedDowntimeMilliseconds != nil || p.Memory == nil || p.Memory.TotalBytes != 1 {
		t.Errorf("the progress is %+v", p)
	}
}
