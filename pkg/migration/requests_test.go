package migration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func (b builder) asks(annotation, token string) builder {
	if b.lm.Annotations == nil {
		b.lm.Annotations = map[string]string{}
	}
	b.lm.Annotations[annotation] = token
	return b
}

// summarized lets the manager decide and takes its status over.
func (b builder) summarized(now time.Time) builder {
	st := Summarize(ManagerFacts{Object: b.lm, Nodes: NewInventory(twoNodes()...), NewAttempt: func() string { return "attempt-1" }}, now).Status
	st.Source, st.Target, st.Progress = b.lm.Status.Source, b.lm.Status.Target, b.lm.Status.Progress
	b.lm.Status = st
	return b
}

func twoNodes() []Node {
	return []Node{
		{Name: "node-a", Ready: true, Domains: []v1alpha1.HypervisorDomain{{UUID: guestUUID, Name: "web", State: "Running", Reason: "Booted"}}},
		{Name: "node-b", Ready: true},
	}
}

// requests prints "Type token State", one for each.
func requests(lm *v1alpha1.LiveMigration) string {
	var out []string
	for _, r := range lm.Status.Requests {
		out = append(out, fmt.Sprintf("%s %s %s", r.Type, r.Token, r.State))
		if (r.SettledTime != nil) != settled(r.State) {
			out = append(out, "settledTime is wrong")
		}
		if settled(r.State) && r.Message == "" {
			out = append(out, "no message")
		}
	}
	return strings.Join(out, ", ")
}

func TestRequests(t *testing.T) {
	const force, cancel = v1alpha1.AnnotationForceComplete, v1alpha1.AnnotationCancel
	long := strings.Repeat("x", 129)
	for _, c := range []struct {
		name string
		b    builder
		want string
	}{
		{"none", makeMigration("m").started(), ""},
		{"force-complete before anything", makeMigration("m").asks(force, "1"), "ForceComplete 1 Queued"},
		{"force-complete while it runs", makeMigration("m").started().asks(force, "1"), "ForceComplete 1 Queued"},
		{"cancel before anything", makeMigration("m").asks(cancel, "1"), "Cancel 1 Done"},
		{"cancel before the start", makeMigration("m").admitted().checked().ready().asks(cancel, "1"), "Cancel 1 Done"},
		{"both at once: the harmless one first", makeMigration("m").started().asks(force, "1").asks(cancel, "1"), "Cancel 1 Queued, ForceComplete 1 Queued"},
		{"the same again", makeMigration("m").started().asks(force, "1").summarized(epoch).summarized(epoch), "ForceComplete 1 Queued"},
		{"another one", makeMigration("m").started().asks(force, "1").summarized(epoch).asks(force, "2"), "ForceComplete 1 Queued, ForceComplete 2 Queued"},
		{"empty", makeMigration("m").started().asks(cancel, ""), "Cancel invalid-e3b0c44298fc1c14 Refused"},
		{"too long", makeMigration("m").started().asks(cancel, long), "Cancel invalid-76c0d8d5f8ec6dd3 Refused"},
		{"as long as may be", makeMigration("m").started().asks(cancel, long[1:]), "Cancel " + long[1:] + " Queued"},
		{"not printable", makeMigration("m").started().asks(cancel, "a\nb"), "Cancel invalid-7cbdf8bbc8ef6a3a Refused"},
		{"after the end", makeMigration("m").started().finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded).asks(force, "1").asks(cancel, "2"),
			"Cancel 2 Refused, ForceComplete 1 Refused"},
		{"left over at the end", makeMigration("m").asks(force, "1").summarized(epoch).ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true),
			"ForceComplete 1 Refused"},
		{"cancelled", makeMigration("m").ended(v1alpha1.CallFailed, "Aborted", "Running/Booted").onTarget("Absent", true).asks(cancel, "1"),
			"Cancel 1 Done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := requests(c.b.summarized(epoch).obj())
			if i := strings.Index(c.want, "invalid-"); i >= 0 {
				// Which sum it is does not matter, only that it is one.
				got, c.want = got[:i]+got[i+len("invalid-0123456789abcdef"):], c.want[:i]+c.want[i+len("invalid-0123456789abcdef"):]
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestReportsOfTheAgentAreFinal: what the agent has settled stays so.
func TestReportsOfTheAgentAreFinal(t *testing.T) {
	b := makeMigration("m").started().asks(v1alpha1.AnnotationForceComplete, "1").summarized(epoch)
	report := func(state v1alpha1.RequestState) {
		b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{}
		PutReport(b.lm.Status.Source.Steering, v1alpha1.RequestReport{
			Type: v1alpha1.RequestForceComplete, Token: "1", State: state, Message: "so", Time: metav1.NewMicroTime(epoch),
		})
		b.summarized(epoch)
	}
	for _, step := range []struct{ report, want v1alpha1.RequestState }{
		{v1alpha1.RequestInProgress, v1alpha1.RequestInProgress},
		{v1alpha1.RequestDone, v1alpha1.RequestDone},
		{v1alpha1.RequestRefused, v1alpha1.RequestDone},
	} {
		report(step.report)
		if b.lm.Status.Requests[0].State != step.want {
			t.Errorf("the report %s makes it %s, want %s", step.report, b.lm.Status.Requests[0].State, step.want)
		}
	}
}

func TestManyRequests(t *testing.T) {
	b := makeMigration("m").started()
	for i := range 40 {
		b.asks(v1alpha1.AnnotationCancel, fmt.Sprint("invalid", i, "\n")).summarized(epoch)
		b.asks(v1alpha1.AnnotationForceComplete, "the first").summarized(epoch)
	}
	all := b.lm.Status.Requests
	if len(all) != maxRequests {
		t.Errorf("%d requests are kept", len(all))
	}
	if all[0].Type != v1alpha1.RequestForceComplete || all[0].State != v1alpha1.RequestQueued {
		t.Errorf("the request that waits is lost: %s", requests(b.obj()))
	}
}

// TestCancelIsNeverCrowdedOut by requests that wait.
func TestCancelIsNeverCrowdedOut(t *testing.T) {
	b := makeMigration("m").started()
	for i := range 2 * maxRequests {
		b.asks(v1alpha1.AnnotationForceComplete, strconv.Itoa(i)).summarized(epoch)
	}
	b.asks(v1alpha1.AnnotationCancel, "1").summarized(epoch)
	if !CancelRequested(b.obj()) || len(b.lm.Status.Requests) != maxRequests {
		t.Errorf("the requests are %s", requests(b.obj()))
	}
}

// TestReportRequests: what the source's agent says of requests.
func TestReportRequests(t *testing.T) {
	step := func(failure string) *v1alpha1.SteeringStep {
		return &v1alpha1.SteeringStep{Reason: "Requested", Error: failure}
	}
	const queued = v1alpha1.RequestQueued
	for _, c := range []struct {
		name     string
		request  v1alpha1.RequestType
		steering v1alpha1.SteeringStatus
		paused   bool
		cancel   bool
		want     v1alpha1.RequestState
	}{
		{"taken up", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{}, false, false, v1alpha1.RequestInProgress},
		{"post-copy is asked for", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{PostCopy: step("")}, false, false, v1alpha1.RequestInProgress},
		{"post-copy was refused", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{PostCopy: step("no")}, false, false, v1alpha1.RequestInProgress},
		{"in post-copy", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{PostCopyTime: new(metav1.NewMicroTime(epoch))}, false, false, v1alpha1.RequestDone},
		{"being paused", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{PostCopy: step("no"), Pause: step("")}, false, false, v1alpha1.RequestInProgress},
		{"paused", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{PostCopy: step("no"), Pause: step(""), PausedTime: new(metav1.NewMicroTime(epoch))},
			false, false, v1alpha1.RequestDone},
		{"paused after all", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{Pause: step("no"), PausedTime: new(metav1.NewMicroTime(epoch))},
			false, false, v1alpha1.RequestDone},
		{"nothing works", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{PostCopy: step("no"), Pause: step("no")}, false, false, v1alpha1.RequestRefused},
		{"its user has paused it", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{}, true, false, v1alpha1.RequestDone},
		{"it is being cancelled", v1alpha1.RequestForceComplete, v1alpha1.SteeringStatus{}, false, true, v1alpha1.RequestRefused},
		{"cancel", v1alpha1.RequestCancel, v1alpha1.SteeringStatus{}, false, false, v1alpha1.RequestInProgress},
		{"cancel in post-copy", v1alpha1.RequestCancel, v1alpha1.SteeringStatus{PostCopyTime: new(metav1.NewMicroTime(epoch))}, false, false, v1alpha1.RequestRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := makeMigration("m").started()
			b.lm.Status.Source.Steering, b.lm.Status.Source.GuestPaused = &c.steering, c.paused
			b.lm.Status.Requests = []v1alpha1.RequestStatus{{Type: c.request, Token: "1", State: queued}}
			if c.cancel {
				b.deleted()
			}
			got := ReportRequests(b.obj(), b.lm.Status.Source, epoch)
			if len(got) != 1 || got[0].State != c.want || got[0].Message == "" {
				t.Fatalf("got %+v, want %s", got, c.want)
			}
			PutReport(b.lm.Status.Source.Steering, got[0])
			if again := ReportRequests(b.obj(), b.lm.Status.Source, epoch); settled(c.want) && len(again) > 0 {
				t.Errorf("reported again: %+v", again)
			}
			if c.request == v1alpha1.RequestCancel && CancelDue(b.obj(), b.lm.Status.Source) != (c.want != v1alpha1.RequestRefused) {
				t.Error("whether it is due is wrong")
			}
		})
	}
}

// TestARequestThatIsStillNamedIsRemembered, however many there have been since: forgotten,
// it would be taken for a new one, and carried out again.
func TestARequestThatIsStillNamedIsRemembered(t *testing.T) {
	b := makeMigration("m").started()
	b.asks(v1alpha1.AnnotationForceComplete, "named").summarized(epoch)
	b.lm.Status.Requests[0].State = v1alpha1.RequestDone
	for i := range 2 * maxRequests {
		b.asks(v1alpha1.AnnotationCancel, fmt.Sprint("invalid", i, "\n")).summarized(epoch)
	}
	all := b.lm.Status.Requests
	if len(all) != maxRequests || all[0].Token != "named" || all[0].State != v1alpha1.RequestDone {
		t.Errorf("the requests are %s", requests(b.obj()))
	}
	// One that is named no more is forgotten before those that are.
	b.asks(v1alpha1.AnnotationForceComplete, "another").summarized(epoch)
	if all := b.lm.Status.Requests; all[0].Token == "named" || all[len(all)-1].Token != "another" {
		t.Errorf("the requests are %s", requests(b.obj()))
	}
}

// TestAReportIsOnOneRequest: another kind of request may have the same token.
func TestAReportIsOnOneRequest(t *testing.T) {
	const cancel, force = v1alpha1.RequestCancel, v1alpha1.RequestForceComplete
	b := makeMigration("m").started().asks(v1alpha1.AnnotationCancel, "1").asks(v1alpha1.AnnotationForceComplete, "1").summarized(epoch)
	steering := &v1alpha1.SteeringStatus{}
	b.lm.Status.Source.Steering = steering
	report := func(request v1alpha1.RequestType, token string, state v1alpha1.RequestState) {
		PutReport(steering, v1alpha1.RequestReport{Type: request, Token: token, State: state, Message: "so", Time: metav1.NewMicroTime(epoch)})
		b.summarized(epoch)
	}
	for _, step := range []struct {
		request v1alpha1.RequestType
		token   string
		state   v1alpha1.RequestState
		want    string
		reports int
	}{
		{force, "2", v1alpha1.RequestDone, "Cancel 1 Queued, ForceComplete 1 Queued", 1},
		{force, "1", v1alpha1.RequestInProgress, "Cancel 1 Queued, ForceComplete 1 InProgress", 2},
		{force, "1", v1alpha1.RequestRefused, "Cancel 1 Queued, ForceComplete 1 Refused", 2},
		{cancel, "1", v1alpha1.RequestInProgress, "Cancel 1 InProgress, ForceComplete 1 Refused", 3},
	} {
		report(step.request, step.token, step.state)
		if got := requests(b.obj()); got != step.want || len(steering.Requests) != step.reports {
			t.Errorf("after a report on %s %s: %s, want %s; there are %d reports, want %d", step.request, step.token, got, step.want, len(steering.Requests), step.reports)
		}
	}
	for i := range 2 * maxRequests {
		report(force, strconv.Itoa(i+10), v1alpha1.RequestDone)
	}
	if all := steering.Requests; len(all) != maxRequests || all[maxRequests-1].Token != strconv.Itoa(2*maxRequests+9) {
		t.Errorf("%d reports are kept, the last of which is on %s", len(all), all[len(all)-1].Token)
	}
}

// TestForceCompleteDue until the agent has settled it, and not for a migration that is to be
// cancelled.
func TestForceCompleteDue(t *testing.T) {
	force := func() builder {
		return makeMigration("m").started().asks(v1alpha1.AnnotationForceComplete, "1").summarized(epoch)
	}
	done := force()
	done.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Requests: []v1alpha1.RequestReport{{Type: v1alpha1.RequestForceComplete, Token: "1", State: v1alpha1.RequestDone}}}
	refused := force().asks(v1alpha1.AnnotationCancel, "").summarized(epoch)
	for name, c := range map[string]struct {
		b    builder
		want bool
	}{
		"nobody asks": {makeMigration("m").started(), false}, "somebody asks": {force(), true}, "it is done": {done, false},
		"somebody asks to cancel": {makeMigration("m").started().asks(v1alpha1.AnnotationCancel, "1").summarized(epoch), false},
		"both":                    {force().asks(v1alpha1.AnnotationCancel, "1").summarized(epoch), false}, "it is being deleted": {force().deleted(), false},
		"cancelling was refused": {refused, true},
	} {
		if got := ForceCompleteDue(c.b.obj(), c.b.lm.Status.Source); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestOnlyNewsIsReported: what the status says already is not.
func TestOnlyNewsIsReported(t *testing.T) {
	b := makeMigration("m").started().asks(v1alpha1.AnnotationForceComplete, "1").summarized(epoch)
	steering := &v1alpha1.SteeringStatus{}
	b.lm.Status.Source.Steering = steering
	for _, step := range []struct {
		change  func()
		message string
	}{
		{func() {}, "The agent on the source has accepted it"},
		{func() { steering.PostCopy = &v1alpha1.SteeringStep{} }, "Switching to post-copy"},
		{func() { steering.PostCopy.Error = "no" }, "Switching to post-copy failed, so the guest is being paused: no"},
		{func() { steering.Pause = &v1alpha1.SteeringStep{} }, "Pausing the guest"},
		{func() { steering.PausedTime = new(metav1.NewMicroTime(epoch)) }, "The guest was paused until it has been copied"},
	} {
		step.change()
		got := ReportRequests(b.obj(), b.lm.Status.Source, epoch)
		if len(got) != 1 || got[0].Message != step.message {
			t.Fatalf("got %+v, want %q", got, step.message)
		}
		PutReport(steering, got[0])
		b.summarized(epoch)
		if again := ReportRequests(b.obj(), b.lm.Status.Source, epoch); len(again) > 0 {
			t.Errorf("%q is reported again", step.message)
		}
	}
}

// TestWhatWasOverBeforeAnybodySawIt: the job has succeeded before a step to its end was seen to
// have its effect.
func TestWhatWasOverBeforeAnybodySawIt(t *testing.T) {
	for _, c := range []struct {
		name     string
		call     v1alpha1.CallResult
		steering v1alpha1.SteeringStatus
		want     v1alpha1.RequestState
	}{
		{"a switch", v1alpha1.CallSucceeded, v1alpha1.SteeringStatus{PostCopy: &v1alpha1.SteeringStep{}}, v1alpha1.RequestDone},
		{"a pause", v1alpha1.CallSucceeded, v1alpha1.SteeringStatus{Pause: &v1alpha1.SteeringStep{}}, v1alpha1.RequestDone},
		{"a switch, of a job that failed", v1alpha1.CallFailed, v1alpha1.SteeringStatus{PostCopy: &v1alpha1.SteeringStep{}}, v1alpha1.RequestInProgress},
		{"a pause, of a job that failed", v1alpha1.CallFailed, v1alpha1.SteeringStatus{Pause: &v1alpha1.SteeringStep{}}, v1alpha1.RequestInProgress},
	} {
		b := makeMigration("m").ended(c.call, "Other", "Absent")
		b.lm.Status.Requests = []v1alpha1.RequestStatus{{Type: v1alpha1.RequestForceComplete, Token: "1", State: v1alpha1.RequestQueued}}
		b.lm.Status.Source.Steering = &c.steering
		if got := ReportRequests(b.obj(), b.lm.Status.Source, epoch); len(got) != 1 || got[0].State != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestRequestsOfTheLastMinute are told what the migration has come to.
func TestRequestsOfTheLastMinute(t *testing.T) {
	for phase, want := range map[v1alpha1.LiveMigrationPhase]string{
		v1alpha1.PhaseCancelled: "The migration had already been cancelled", v1alpha1.PhaseFailed: "The migration had already failed",
		v1alpha1.PhaseSucceeded: "The migration had already succeeded",
	} {
		b := makeMigration("m").started().finished(metav1.ConditionFalse, phase).asks(v1alpha1.AnnotationForceComplete, "1").summarized(epoch)
		if got := b.lm.Status.Requests[0]; got.Message != want || got.State != v1alpha1.RequestRefused {
			t.Errorf("after it was %s: %+v", phase, got)
		}
	}
}

// TestOfManyCancellationsTheFirstStand where none is settled, and none makes way.
func TestOfManyCancellationsTheFirstStand(t *testing.T) {
	b := makeMigration("m").started()
	for i := range maxRequests + 3 {
		b.asks(v1alpha1.AnnotationCancel, strconv.Itoa(i)).summarized(epoch)
	}
	if all := b.lm.Status.Requests; len(all) != maxRequests || all[0].Token != "0" || all[maxRequests-1].Token != strconv.Itoa(maxRequests-1) {
		t.Errorf("the requests are %s", requests(b.obj()))
	}
}

// TestARequestIsNamedByItsAnnotationAlone: neither an annotation of the other kind, nor one that
// is no longer there, keeps it.
func TestARequestIsNamedByItsAnnotationAlone(t *testing.T) {
	for name, token := range map[string]string{"another annotation has its value": "same", "its annotation was empty, and is gone": ""} {
		b := makeMigration("m").started().asks(v1alpha1.AnnotationCancel, token).summarized(epoch)
		b.lm.Status.Requests[0].State = v1alpha1.RequestRefused
		delete(b.lm.Annotations, v1alpha1.AnnotationCancel)
		first := b.lm.Status.Requests[0].Token
		b.asks(v1alpha1.AnnotationForceComplete, "same").summarized(epoch)
		for i := range maxRequests {
			b.asks(v1alpha1.AnnotationCancel, fmt.Sprint("invalid", i, "\n")).summarized(epoch)
		}
		for _, r := range b.lm.Status.Requests {
			if r.Type == v1alpha1.RequestCancel && r.Token == first {
				t.Errorf("%s: it is remembered: %s", name, requests(b.obj()))
			}
		}
	}
}
