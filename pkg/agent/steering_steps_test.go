package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/monitor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// TestTheLimitThatAJobBeginsWith is read where it may have been set for this job.
func TestTheLimitThatAJobBeginsWith(t *testing.T) {
	for name, c := range map[string]struct {
		call     migration.CallState
		recorded int64
		fails    bool
		reads    int
		want     func(limit int64) int64
	}{
		"just started":                  {migration.CallInFlight, 0, false, 0, func(int64) int64 { return 0 }},
		"started, and set":              {migration.CallInFlight, 7, false, 1, func(limit int64) int64 { return limit }},
		"adopted":                       {migration.CallNone, 0, false, 1, func(limit int64) int64 { return limit }},
		"adopted, and cannot be read":   {migration.CallNone, 7, true, 1, func(int64) int64 { return 7 }},
		"adopted, and nothing is known": {migration.CallNone, 0, true, 1, func(int64) int64 { return 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			afterTheEnd(t, false, func(ctx context.Context, s *sourceSession, host *fake.Host, book *logBook) {
				limit, err := host.MaxDowntime(ctx, guestUUID)
				if err != nil || limit == 0 || limit == 7 {
					t.Fatalf("the limit is %d, %v", limit, err)
				}
				if c.fails {
					host.FailNext(fake.MethodMaxDowntime, errors.New("busy"))
				}
				s.call, s.section.Steering = c.call, &v1alpha1.SteeringStatus{MaxDowntimeMilliseconds: c.recorded}
				facts := s.factsSoFar(ctx, time.Now())
				if want := c.want(int64(limit)); facts.MaxDowntimeMilliseconds != want {
					t.Errorf("it is taken to be %d, want %d", facts.MaxDowntimeMilliseconds, want)
				}
				if n := host.Count(fake.MethodMaxDowntime, guestUUID) - 1; n != c.reads {
					t.Errorf("it was read %d times", n)
				}
				if logged := book.count("Reading the allowed downtime failed") > 0; logged != c.fails {
					t.Errorf("the log says %q", book.lines)
				}
			})
		})
	}
}

// TestALimitIsRecordedOnceItIsSet, and not where libvirt has refused it.
func TestALimitIsRecordedOnceItIsSet(t *testing.T) {
	for _, fails := range []bool{false, true} {
		afterTheEnd(t, false, func(ctx context.Context, s *sourceSession, host *fake.Host, _ *logBook) {
			if fails {
				host.FailNext(fake.MethodSetMaxDowntime, errors.New("busy"))
			}
			err := s.carryOut(ctx, monitor.Action{Kind: monitor.SetMaxDowntime, MaxDowntimeMilliseconds: 7}, &v1alpha1.SteeringStep{})
			if recorded := s.record().MaxDowntimeMilliseconds == 7; recorded == fails || (err != nil) != fails {
				t.Errorf("fails %t: recorded %t, %v", fails, recorded, err)
			}
		})
	}
}

// TestAnAbortThatFailsIsLogged, and its reason is told either way.
func TestAnAbortThatFailsIsLogged(t *testing.T) {
	for _, fails := range []bool{false, true} {
		afterTheEnd(t, true, func(ctx context.Context, s *sourceSession, host *fake.Host, book *logBook) {
			if fails {
				host.FailNext(fake.MethodAbortJob, errors.New("busy"))
			} else {
				s.hv = &obedient{Host: host}
			}
			s.cancel(ctx)
			if s.section.Steering.Abort == nil || s.section.Steering.Abort.Reason != v1alpha1.ReasonCancelled || s.lastAbort.IsZero() {
				t.Errorf("fails %t: the record is %+v, at %v", fails, s.section.Steering, s.lastAbort)
			}
			if logged := book.count("Aborting the migration failed") > 0; logged != fails {
				t.Errorf("fails %t: the log says %q", fails, book.lines)
			}
		})
	}
}

// obedient is a host that aborts whatever it is told to.
type obedient struct{ *fake.Host }

func (*obedient) AbortJob(context.Context, string) error { return nil }

// TestProgressIsOfThePast: when a job came closer to its end is between its start and now.
func TestProgressIsOfThePast(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		began := time.Now().Truncate(time.Second)
		lm := w.migrateWith(guestUUID, keepGoing(false))
		lm = w.await(lm, "progress", func(lm *v1alpha1.LiveMigration) bool {
			s := lm.Status.Source
			return s != nil && s.Steering != nil && s.Steering.LastProgressTime != nil && lm.Status.Progress != nil && lm.Status.Progress.MemoryIteration > 1
		})
		if at := lm.Status.Source.Steering.LastProgressTime.Time; at.Before(began) || at.After(time.Now()) {
			t.Errorf("it was %s after the beginning, %s ago", at.Sub(began), time.Since(at))
		}
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
		w.settle(lm)
	})
}

// TestNothingIsForcedOnceGivenUp: a request to force the end comes when the migration has been
// given up, and libvirt does not listen yet.
func TestNothingIsForcedOnceGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		busy := &hypervisor.Error{Kind: hypervisor.KindBusy, Message: "busy"}
		w.fleet.Host("node-a").FailNext(fake.MethodAbortJob, slices.Repeat([]error{busy}, 40)...)
		lm := w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{
			Convergence:                    &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped},
			CompletionTimeoutSecondsPerGiB: new(int64(5)),
		}))
		w.await(lm, "an abort", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Source != nil && lm.Status.Source.Steering != nil && lm.Status.Source.Steering.Abort != nil
		})
		limits := w.fleet.Count(fake.MethodSetMaxDowntime, guestUUID)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.requireEnd(w.settle(lm), v1alpha1.PhaseFailed, v1alpha1.ReasonCompletionTimeout, "ForceComplete 1 Refused")
		w.requireCalls(fake.MethodSuspend, 0)
		w.requireCalls(fake.MethodSetMaxDowntime, limits)
		w.requireOnce("node-a")
	})
}

// TestDataForADiskThatThereIsNot is refused of a guest without a persistent definition, too.
func TestDataForADiskThatThereIsNot(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: persistent})
			lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
				lm.Spec.MigrateData = &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{Serial: new("none")}}}
			}))
			w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonInvalidMigrateData, "")
			w.requireCalls(fake.MethodMigrate, 0)
		})
	}
}

// TestProblemsOfBothDefinitions are told once, and those of the persistent one as such.
func TestProblemsOfBothDefinitions(t *testing.T) {
	t.Parallel()
	a, b := xmlrewrite.Problem{Message: "a"}, xmlrewrite.Problem{Message: "b"}
	all := addProblems(nil, xmlrewrite.Problems{a}, false)
	all = addProblems(all, xmlrewrite.Problems{a, b}, true)
	if got := strings.ReplaceAll(all.Error(), "\n", "; "); got != "a; in the guest's persistent definition, b" {
		t.Errorf("the problems are %q", got)
	}
}

// oneObject is an API server that has this object, or none.
type oneObject struct {
	Recorder
	lm *v1alpha1.LiveMigration
}

func (o oneObject) Refresh(context.Context, *v1alpha1.LiveMigration) (*v1alpha1.LiveMigration, error) {
	if o.lm == nil {
		return nil, errors.New("unavailable")
	}
	return o.lm, nil
}

// TestWhatIsReadAgainIsTakenOver, and where nothing can be read, all stays.
func TestWhatIsReadAgainIsTakenOver(t *testing.T) {
	t.Parallel()
	s := startedSession()
	recorded := s.lm.DeepCopy()
	recorded.Status.Source = s.section.DeepCopy()
	s.section.StartRequestedTime = nil
	empty := s.lm.DeepCopy()
	for _, c := range []struct {
		there   *v1alpha1.LiveMigration
		started bool
		wait    time.Duration
	}{{nil, false, retryInterval}, {empty, false, noWait}, {recorded, true, noWait}, {empty, true, noWait}} {
		s.node.Recorder = oneObject{lm: c.there}
		wait := s.reread(t.Context())
		if wait != c.wait || (s.section.StartRequestedTime != nil) != c.started {
			t.Errorf("%v is there: it waits for %s, and has %+v", c.there, wait, s.section)
		}
	}
}

// TestWhatBecomesOfAPostCopy is recorded as it is seen: when it was interrupted, and when it
// went on.
func TestWhatBecomesOfAPostCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startedSession()
		began := time.Now()
		since := func(at *metav1.MicroTime) int {
			if at == nil {
				return -1
			}
			return int(at.Sub(began) / time.Second)
		}
		for second, c := range []struct {
			reason          hypervisor.Reason
			broken, resumed int
		}{
			{hypervisor.ReasonPostcopy, -1, -1},
			{hypervisor.ReasonPostcopyFailed, 1, -1},
			{hypervisor.ReasonPostcopyFailed, 1, -1},
			{hypervisor.ReasonPostcopy, 1, 3},
			{hypervisor.ReasonPostcopy, 1, 3},
			{hypervisor.ReasonPostcopyFailed, 5, -1},
			{hypervisor.ReasonPostcopy, 5, 6},
		} {
			s.now.domain = &hypervisor.Domain{State: hypervisor.StatePaused, Reason: c.reason}
			s.notePostCopy()
			broken, resumed := -1, -1
			if r := s.section.Recovery; r != nil {
				broken, resumed = since(&r.BrokenTime), since(r.ResumedTime)
			}
			if broken != c.broken || resumed != c.resumed || since(s.section.Steering.PostCopyTime) != 0 {
				t.Errorf("after %d s: it was interrupted after %d, and went on after %d", second, broken, resumed)
			}
			time.Sleep(time.Second)
		}
	})
	for name, change := range map[string]func(*sourceSession){
		"it is somebody else's": func(s *sourceSession) { s.now.foreign = true },
		"nothing was seen":      func(s *sourceSession) { s.now.domain = nil },
		"it is none":            func(s *sourceSession) { s.now.domain.Reason = hypervisor.ReasonMigration },
	} {
		s := startedSession()
		s.now.domain = &hypervisor.Domain{State: hypervisor.StatePaused, Reason: hypervisor.ReasonPostcopy}
		change(s)
		s.notePostCopy()
		if s.section.Steering != nil || s.section.Recovery != nil {
			t.Errorf("%s: it is recorded", name)
		}
	}
}

// TestWhenAPauseIsSeen: one that was ordered, of a guest that stands still for nothing else.
func TestWhenAPauseIsSeen(t *testing.T) {
	t.Parallel()
	paused := func(reason hypervisor.Reason) *hypervisor.Domain {
		return &hypervisor.Domain{State: hypervisor.StatePaused, Reason: reason}
	}
	before := new(metav1.NewMicroTime(time.Unix(1, 0)))
	for name, c := range map[string]struct {
		domain  *hypervisor.Domain
		ordered *v1alpha1.SteeringStep
		before  *metav1.MicroTime
		want    bool
	}{
		"by its migration":   {paused(hypervisor.ReasonMigration), &v1alpha1.SteeringStep{}, nil, true},
		"by somebody":        {paused(hypervisor.ReasonUser), &v1alpha1.SteeringStep{}, nil, true},
		"by a failing disk":  {paused("IOError"), &v1alpha1.SteeringStep{}, nil, false},
		"it runs":            {&hypervisor.Domain{State: hypervisor.StateRunning, Reason: hypervisor.ReasonUser}, &v1alpha1.SteeringStep{}, nil, false},
		"it is not known":    {nil, &v1alpha1.SteeringStep{}, nil, false},
		"nobody ordered it":  {paused(hypervisor.ReasonUser), nil, nil, false},
		"libvirt refused it": {paused(hypervisor.ReasonUser), &v1alpha1.SteeringStep{Refused: true}, nil, false},
		"it is known":        {paused(hypervisor.ReasonUser), &v1alpha1.SteeringStep{}, before, false},
	} {
		s := startedSession()
		s.now.domain, s.section.Steering = c.domain, &v1alpha1.SteeringStatus{Pause: c.ordered, PausedTime: c.before}
		s.notePause()
		if got := s.section.Steering.PausedTime != c.before; got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestACallThatHangsIsLetGo when post-copy has been interrupted, and nothing has come of the
// last attempt, for long enough.
func TestACallThatHangsIsLetGo(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for name, c := range map[string]struct {
		change func(*sourceSession)
		want   bool
	}{
		"long enough": {func(*sourceSession) {}, true},
		"not yet": {func(s *sourceSession) {
			s.section.Recovery.BrokenTime = metav1.NewMicroTime(ago(recoverDeadline - time.Second))
		}, false},
		"tried again since":            {func(s *sourceSession) { s.lastRecover = ago(time.Second) }, false},
		"tried again long enough ago":  {func(s *sourceSession) { s.lastRecover = ago(recoverDeadline) }, true},
		"tried long before":            {func(s *sourceSession) { s.lastRecover = ago(2 * recoverDeadline) }, true},
		"it goes on":                   {func(s *sourceSession) { s.now.domain.Reason = hypervisor.ReasonPostcopy }, false},
		"it is not known to be broken": {func(s *sourceSession) { s.section.Recovery = nil }, false},
		"the guest is not known":       {func(s *sourceSession) { s.now.domain = nil }, false},
		"no call is under way":         {func(s *sourceSession) { s.call = migration.CallLost }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startedSession()
				let := false
				s.abandon = func() { let = true }
				s.now.domain = &hypervisor.Domain{State: hypervisor.StatePaused, Reason: hypervisor.ReasonPostcopyFailed}
				s.section.Recovery = &v1alpha1.RecoveryStatus{BrokenTime: metav1.NewMicroTime(ago(recoverDeadline))}
				c.change(s)
				s.abandonHungCall()
				if let != c.want {
					t.Errorf("it is let go: %t", let)
				}
			})
		})
	}
}

// TestStepsThatNothingCameOf are said to have failed, unless libvirt has said why.
func TestStepsThatNothingCameOf(t *testing.T) {
	t.Parallel()
	const none = "it had no effect"
	failed := monitor.Order{Ordered: true, Failed: true}
	for name, c := range map[string]struct {
		facts           monitor.Facts
		pause, postCopy *v1alpha1.SteeringStep
		wantPause       string
		wantPostCopy    string
	}{
		"nothing was ordered":             {monitor.Facts{}, nil, nil, "", ""},
		"a pause is awaited":              {monitor.Facts{Pause: monitor.Order{Ordered: true}}, &v1alpha1.SteeringStep{}, nil, "", ""},
		"a pause":                         {monitor.Facts{Pause: failed}, &v1alpha1.SteeringStep{}, nil, none, ""},
		"a pause that libvirt refused":    {monitor.Facts{Pause: failed}, &v1alpha1.SteeringStep{Error: "no"}, nil, "no", ""},
		"a pause that nobody recorded":    {monitor.Facts{Pause: failed}, nil, nil, "", ""},
		"post-copy, and a pause to come":  {monitor.Facts{PostCopy: failed, Pause: monitor.Order{Ordered: true}}, &v1alpha1.SteeringStep{}, &v1alpha1.SteeringStep{}, "", none},
		"post-copy that libvirt refused":  {monitor.Facts{PostCopy: failed}, nil, &v1alpha1.SteeringStep{Error: "no"}, "", "no"},
		"post-copy that nobody has tried": {monitor.Facts{PostCopy: failed}, nil, nil, "", ""},
	} {
		s := startedSession()
		s.steering.state, s.section.Steering = monitor.Restore(c.facts), &v1alpha1.SteeringStatus{Pause: c.pause, PostCopy: c.postCopy}
		s.noteFailed()
		for what, check := range map[string]struct {
			step *v1alpha1.SteeringStep
			want string
		}{"the pause": {c.pause, c.wantPause}, "post-copy": {c.postCopy, c.wantPostCopy}} {
			if check.step != nil && check.step.Error != check.want {
				t.Errorf("%s: of %s it is said %q, want %q", name, what, check.step.Error, check.want)
			}
		}
	}
}

// TestProgressIsRecordedOnceThereIsSome, in whole seconds.
func TestProgressIsRecordedOnceThereIsSome(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := startedSession()
	s.noteProgress(began)
	if at := s.record().LastProgressTime; at != nil {
		t.Errorf("before, it was at %s", at)
	}
	s.steering.state = monitor.Restore(monitor.Facts{ProgressAt: 5*time.Second + time.Millisecond, LowestPassBytes: 9})
	s.noteProgress(began)
	if at := s.record().LastProgressTime; at == nil || !at.Time.Equal(began.Add(5*time.Second)) || s.record().LowestRemainingBytes != 9 {
		t.Errorf("it was at %s, and %d bytes remained", at, s.record().LowestRemainingBytes)
	}
}
