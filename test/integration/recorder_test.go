//go:build integration

package integration

import (
	"cmp"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
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

// revisionGoesOn is the message of the rule on what was sent before something else.
const revisionGoesOn = "revision never goes back: a later report has been recorded"

// TestAReportThatComesLateIsRefused, as one does whose sender has given up and sent another:
// what is recorded does not go back, whichever process has sent it.
func TestAReportThatComesLateIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	lm := w.underWay(a.node, a.node)
	source := agent.SourceReport{Section: &v1alpha1.SourceStatus{AttemptID: "1"}, Progress: &v1alpha1.ProgressStatus{Percent: 93}}
	target := &v1alpha1.TargetStatus{AttemptID: "1"}
	report := func(r *node.Recorder) {
		t.Helper()
		// A clock that was set back costs the first try.
		for _, write := range []func() error{
			func() error { return r.RecordSource(t.Context(), lm, source, false) },
			func() error { return r.RecordTarget(t.Context(), lm, target) },
		} {
			if err := write(); err != nil {
				a.check(write())
			}
		}
	}
	shown := func() *v1alpha1.LiveMigration {
		t.Helper()
		now, err := a.recorder.Refresh(t.Context(), lm)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	requireRefused := func(lateSource, lateTarget int64) {
		t.Helper()
		for owner, status := range map[string]map[string]any{
			v1alpha1.OwnerSourceAgent: {"source": map[string]any{"attemptID": "1", "revision": lateSource}, "progress": map[string]any{"percent": 58}},
			v1alpha1.OwnerTargetAgent: {"target": map[string]any{"attemptID": "1", "revision": lateTarget}},
		} {
			if err := applyStatus(t, a.client, owner, lm, status); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), revisionGoesOn) {
				t.Errorf("what %s has sent late: %v", owner, err)
			}
		}
		if p := shown().Status.Progress.Percent; p != 93 {
			t.Errorf("the progress goes back to %d %%", p)
		}
	}
	report(a.recorder)
	first := shown()
	if first.Status.Source.Revision == 0 || first.Status.Target.Revision == 0 {
		t.Fatalf("the sections have the revisions %d and %d", first.Status.Source.Revision, first.Status.Target.Revision)
	}
	requireRefused(first.Status.Source.Revision-1, first.Status.Target.Revision-1)
	for name, started := range map[string]time.Time{
		"a clock that goes on": time.Now(), "a clock that was set back by a year": time.Now().AddDate(-1, 0, 0),
	} {
		before := shown()
		report(node.NewRecorder(a.client, a.client, started))
		if now := shown(); now.Status.Source.Revision <= before.Status.Source.Revision || now.Status.Target.Revision <= before.Status.Target.Revision {
			t.Errorf("%s: the successor's revisions are not higher", name)
		}
		// What the predecessor has sent before it was killed.
		requireRefused(before.Status.Source.Revision+9, before.Status.Target.Revision+9)
	}
	// Nobody can keep an agent from reporting, by a revision that none can pass.
	if err := applyStatus(t, a.client, v1alpha1.OwnerSourceAgent, lm, map[string]any{
		"source": map[string]any{"attemptID": "1", "revision": int64(1<<53 - 1)}, "progress": map[string]any{"percent": 93},
	}); err != nil {
		t.Fatal(err)
	}
	report(a.recorder)
	if now := shown(); now.Status.Source.Revision != 0 {
		t.Errorf("after the highest revision comes %d", now.Status.Source.Revision)
	}
}
