package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// startedSession is a source's session of a migration whose start is recorded. Nothing that
// it reports is written.
func startedSession() *sourceSession {
	node := &Node{Clock: clock.RealClock{}, Log: logr.Discard()}
	lm := &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{Attempt: &v1alpha1.AttemptStatus{ID: "1"}}}
	return &sourceSession{
		node: node, log: node.Log, lm: lm, box: newMailbox(lm), call: migration.CallInFlight, abandon: func() {},
		section: &v1alpha1.SourceStatus{AttemptID: "1", StartRequestedTime: new(metav1.NowMicro())},
		out:     newReporter(node, node.Log, func(context.Context, SourceReport) error { return nil }),
		now:     sighting{seen: true, jobSeen: true},
	}
}

// TestWhereAProcessStandsWithItsCall: one whose record was not confirmed is never made.
func TestWhereAProcessStandsWithItsCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*sourceSession)
		want   migration.CallState
	}{
		"it is under way":                 {func(*sourceSession) {}, migration.CallInFlight},
		"another process has recorded it": {func(s *sourceSession) { s.call = migration.CallNone }, migration.CallNone},
		"its record was not confirmed": {func(s *sourceSession) {
			s.call, s.intent = migration.CallNone, s.section.StartRequestedTime.DeepCopy()
		}, migration.CallNotMade},
		"another record was not confirmed": {func(s *sourceSession) {
			s.call, s.intent = migration.CallNone, new(metav1.NewMicroTime(time.Unix(1, 0)))
		}, migration.CallNone},
		"its record is not there": {func(s *sourceSession) {
			s.call, s.intent, s.section.StartRequestedTime = migration.CallNone, new(metav1.NowMicro()), nil
		}, migration.CallNone},
		"there is no section":   {func(s *sourceSession) { s.call, s.section = migration.CallNone, nil }, migration.CallNone},
		"it was made after all": {func(s *sourceSession) { s.intent = s.section.StartRequestedTime.DeepCopy() }, migration.CallInFlight},
	} {
		s := startedSession()
		c.change(s)
		if got := s.callState(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestWhatCameOfACall: only what libvirt has said for sure.
func TestWhatCameOfACall(t *testing.T) {
	t.Parallel()
	failed := func(kind hypervisor.Kind) error { return &hypervisor.Error{Kind: kind, Message: "no"} }
	for _, c := range []struct {
		state migration.CallState
		err   error
		want  v1alpha1.CallResult
	}{
		{migration.CallInFlight, nil, v1alpha1.CallUnknown},
		{migration.CallLost, failed(hypervisor.KindOther), v1alpha1.CallUnknown},
		{migration.CallReturned, failed(hypervisor.KindTimeout), v1alpha1.CallUnknown},
		{migration.CallReturned, failed(hypervisor.KindPeerLost), v1alpha1.CallUnknown},
		{migration.CallReturned, failed(hypervisor.KindOther), v1alpha1.CallFailed},
		{migration.CallReturned, errors.New("no"), v1alpha1.CallFailed},
		{migration.CallReturned, nil, v1alpha1.CallSucceeded},
	} {
		if got := callResult(c.state, c.err); got != c.want {
			t.Errorf("%s, %v: %s, want %s", c.state, c.err, got, c.want)
		}
	}
	for _, c := range []struct {
		err  error
		want migration.CallState
	}{
		{nil, migration.CallReturned},
		{failed(hypervisor.KindOther), migration.CallReturned},
		{failed(hypervisor.KindPeerLost), migration.CallReturned},
		{failed(hypervisor.KindConnectionLost), migration.CallLost},
		{failed(hypervisor.KindTimeout), migration.CallLost},
	} {
		s := startedSession()
		s.noteReturn(c.err)
		if s.call != c.want || !errors.Is(s.callErr, c.err) {
			t.Errorf("after %v, the call is %s with %v", c.err, s.call, s.callErr)
		}
	}
}

// TestFinalStatisticsAreWaitedFor after a success that lacks them, and not for ever.
func TestFinalStatisticsAreWaitedFor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	end := func(call v1alpha1.CallResult) *v1alpha1.SourceEnd {
		return &v1alpha1.SourceEnd{Call: call, Time: metav1.NewMicroTime(now)}
	}
	for name, c := range map[string]struct {
		section  *v1alpha1.SourceStatus
		progress *v1alpha1.ProgressStatus
		later    time.Duration
		wait     time.Duration
		done     bool
	}{
		"nothing has begun":       {nil, nil, 0, 0, true},
		"nothing has ended":       {&v1alpha1.SourceStatus{}, nil, 0, 0, true},
		"it has failed":           {&v1alpha1.SourceStatus{End: end(v1alpha1.CallFailed)}, nil, 0, 0, true},
		"they are there":          {&v1alpha1.SourceStatus{End: end(v1alpha1.CallSucceeded)}, &v1alpha1.ProgressStatus{DowntimeMilliseconds: new(int64(7))}, 0, 0, true},
		"they are not there":      {&v1alpha1.SourceStatus{End: end(v1alpha1.CallSucceeded)}, nil, 0, statsGrace, false},
		"not all of them are":     {&v1alpha1.SourceStatus{End: end(v1alpha1.CallSucceeded)}, &v1alpha1.ProgressStatus{}, 0, statsGrace, false},
		"they have not come soon": {&v1alpha1.SourceStatus{End: end(v1alpha1.CallSucceeded)}, nil, statsGrace / 2, statsGrace / 2, false},
		"they have not come":      {&v1alpha1.SourceStatus{End: end(v1alpha1.CallSucceeded)}, nil, statsGrace, 0, true},
	} {
		s := startedSession()
		s.section, s.progress = c.section, c.progress
		wait, done := s.linger(s.sinceItsEnd(now, c.later))
		if wait != c.wait || done != c.done {
			t.Errorf("%s: it waits for %s, and is done: %t", name, wait, done)
		}
	}
}

// sinceItsEnd is a time after the end, or the one given where there is none.
func (s *sourceSession) sinceItsEnd(now time.Time, later time.Duration) time.Time {
	if s.section == nil || s.section.End == nil {
		return now
	}
	return s.section.End.Time.Add(later)
}

// TestASwitchToPostCopyThatIsOnlyHeardOf is remembered, if it is one of our migration.
func TestASwitchToPostCopyThatIsOnlyHeardOf(t *testing.T) {
	t.Parallel()
	switched := hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: hypervisor.LifecycleSuspended, Detail: hypervisor.DetailPostcopy}
	now := new(metav1.NowMicro())
	for name, c := range map[string]struct {
		event  hypervisor.Event
		change func(*sourceSession)
		want   bool
	}{
		"our job runs":            {switched, func(*sourceSession) {}, true},
		"our job was seen before": {switched, func(s *sourceSession) { s.section.JobStartedTime, s.now = now, sighting{} }, true},
		"it was, and what runs is theirs": {switched, func(s *sourceSession) {
			s.section.JobStartedTime, s.now.foreign = now, true
		}, true},
		"what runs is theirs":          {switched, func(s *sourceSession) { s.now.foreign = true }, false},
		"no job was seen":              {switched, func(s *sourceSession) { s.now = sighting{} }, false},
		"ours is over":                 {switched, func(s *sourceSession) { s.section.JobStartedTime, s.jobOver = now, true }, false},
		"ours has ended":               {switched, func(s *sourceSession) { s.section.End = &v1alpha1.SourceEnd{} }, false},
		"nothing was started":          {switched, func(s *sourceSession) { s.section.StartRequestedTime = nil }, false},
		"there is no section":          {switched, func(s *sourceSession) { s.section = nil }, false},
		"it stands still for its move": {hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: hypervisor.LifecycleSuspended, Detail: hypervisor.DetailMigrated}, func(*sourceSession) {}, false},
		"it goes on in post-copy":      {hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: hypervisor.LifecycleResumed, Detail: hypervisor.DetailPostcopy}, func(*sourceSession) {}, false},
	} {
		s := startedSession()
		c.change(s)
		s.noteEvent(c.event)
		if got := migration.InPostCopy(s.section); got != c.want {
			t.Errorf("%s: post-copy is known: %t", name, got)
		}
		if s.section == nil || !c.want {
			continue
		}
		first := s.section.Steering.PostCopyTime
		s.noteEvent(c.event)
		if s.section.Steering.PostCopyTime != first {
			t.Errorf("%s: when it began is told anew", name)
		}
	}
}

// TestAnEndThatIsOnlyHeardOf is told where nothing is left of the guest to be seen.
func TestAnEndThatIsOnlyHeardOf(t *testing.T) {
	t.Parallel()
	absent, running := v1alpha1.DomainObservation{State: v1alpha1.StateAbsent}, v1alpha1.DomainObservation{State: "Running", Reason: "Booted"}
	for name, c := range map[string]struct {
		lifecycle hypervisor.Lifecycle
		detail    string
		end       *v1alpha1.SourceEnd
		heard     bool
		// seen is what the section says of the guest then.
		seen string
	}{
		"it has left":               {hypervisor.LifecycleStopped, hypervisor.DetailMigrated, nil, true, ""},
		"it has shut down":          {hypervisor.LifecycleStopped, string(hypervisor.ReasonShutdown), nil, true, ""},
		"it has crashed":            {hypervisor.LifecycleStopped, string(hypervisor.ReasonCrashed), nil, true, ""},
		"somebody has destroyed it": {hypervisor.LifecycleStopped, string(hypervisor.ReasonDestroyed), nil, true, ""},
		"something has failed":      {hypervisor.LifecycleStopped, "Failed", nil, false, ""},
		"it stands still":           {hypervisor.LifecycleSuspended, hypervisor.DetailMigrated, nil, false, ""},
		"it was not found any more": {hypervisor.LifecycleStopped, hypervisor.DetailMigrated, &v1alpha1.SourceEnd{Domain: absent}, true, "Shutoff"},
		"it was found to run":       {hypervisor.LifecycleStopped, hypervisor.DetailMigrated, &v1alpha1.SourceEnd{Domain: running}, true, "Running"},
	} {
		s := startedSession()
		s.section.End = c.end
		s.noteEvent(hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: c.lifecycle, Detail: c.detail})
		if (s.stopped != nil) != c.heard || c.heard && s.stopped.Reason != c.detail {
			t.Errorf("%s: it is heard to be %+v", name, s.stopped)
		}
		if c.end != nil && s.section.End.Domain.State != c.seen {
			t.Errorf("%s: the section says %+v", name, s.section.End.Domain)
		}
		if told := s.out.wait() <= 0; told != (c.seen == "Shutoff") {
			t.Errorf("%s: it is told at once: %t", name, told)
		}
	}
	s := startedSession()
	s.section = nil
	s.noteEvent(hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: hypervisor.LifecycleStopped, Detail: hypervisor.DetailMigrated})
	if s.stopped == nil {
		t.Error("with no section, it is not heard")
	}
}

// TestWhatALookTells of whose job there is: ours is over once it was seen, and then was not.
func TestWhatALookTells(t *testing.T) {
	now := new(metav1.NowMicro())
	type look struct {
		job     bool // A migration runs.
		fails   bool // The job cannot be asked about; the guest is in post-copy.
		foreign bool
		over    bool
	}
	for name, c := range map[string]struct {
		seen  bool // Our job was seen before.
		looks []look
	}{
		"ours begins":                           {false, []look{{}, {job: true}}},
		"ours is over":                          {true, []look{{job: true}, {over: true}}},
		"what follows ours is theirs":           {true, []look{{job: true}, {over: true}, {job: true, foreign: true, over: true}}},
		"what cannot be asked about is theirs":  {false, []look{{fails: true, foreign: true}}},
		"what cannot be asked about is ours":    {true, []look{{job: true}, {fails: true}}},
		"what was theirs stays theirs":          {true, []look{{over: true}, {job: true, foreign: true, over: true}, {fails: true, foreign: true, over: true}}},
		"what was theirs, and was seen no more": {false, []look{{fails: true, foreign: true}, {}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startedSession()
				if c.seen {
					s.section.JobStartedTime = now
				}
				for i, l := range c.looks {
					s.hv = &scripted{job: l.job, fails: l.fails}
					s.look(t.Context())
					if s.now.foreign != l.foreign && (l.job || l.fails) || s.jobOver != l.over {
						t.Errorf("look %d: foreign %t, over %t", i, s.now.foreign, s.jobOver)
					}
					if quiet := !s.quietSince.IsZero(); quiet == s.now.ours() {
						t.Errorf("look %d: it is quiet: %t", i, quiet)
					}
				}
			})
		})
	}
}

// scripted is a host with one guest, which is as it is said.
type scripted struct {
	*fake.Host
	job, fails bool
}

func (h *scripted) JobStats(context.Context, string) (hypervisor.JobStats, error) {
	if h.fails {
		return hypervisor.JobStats{}, errors.New("busy")
	}
	if !h.job {
		return hypervisor.JobStats{}, nil
	}
	return hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut}, nil
}

func (h *scripted) LookupDomain(context.Context, string) (hypervisor.Domain, error) {
	if h.fails {
		return hypervisor.Domain{State: hypervisor.StatePaused, Reason: hypervisor.ReasonPostcopy}, nil
	}
	return hypervisor.Domain{State: hypervisor.StateRunning, Reason: hypervisor.ReasonBooted}, nil
}

// TestHowLongTheSourceWaits after the end: less where something is to be cleaned up, which
// cannot be while libvirt is away.
func TestHowLongTheSourceWaits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	running := v1alpha1.DomainObservation{State: "Running", Reason: "Booted"}
	arrived := &v1alpha1.DomainObservation{State: "Running", Reason: "Migrated", Defined: true}
	for name, c := range map[string]struct {
		end      *v1alpha1.SourceEnd
		target   *v1alpha1.DomainObservation
		finished bool
		want     time.Duration
	}{
		"nothing has ended":            {nil, nil, false, 0},
		"all is settled":               {&v1alpha1.SourceEnd{Call: v1alpha1.CallFailed, Domain: running}, nil, true, 0},
		"the target is not heard":      {&v1alpha1.SourceEnd{Call: v1alpha1.CallFailed, Domain: running}, nil, false, afterEndInterval},
		"its definition is left":       {&v1alpha1.SourceEnd{Call: v1alpha1.CallSucceeded, Domain: v1alpha1.DomainObservation{State: "Shutoff", Reason: "Migrated", Defined: true}}, arrived, false, retryInterval},
		"nothing of it is left":        {&v1alpha1.SourceEnd{Call: v1alpha1.CallSucceeded, Domain: v1alpha1.DomainObservation{State: v1alpha1.StateAbsent}}, arrived, false, afterEndInterval},
		"it runs on both":              {&v1alpha1.SourceEnd{Call: v1alpha1.CallUnknown, Domain: running}, arrived, false, retryInterval},
		"it runs on both, and resumed": {&v1alpha1.SourceEnd{Call: v1alpha1.CallUnknown, Domain: running, CopySettledTime: new(metav1.NowMicro())}, arrived, false, afterEndInterval},
	} {
		s := startedSession()
		s.section.End = c.end
		s.lm.Status.Source = s.section
		if c.target != nil {
			s.lm.Status.Target = &v1alpha1.TargetStatus{
				AttemptID: "1", Domain: c.target, ArrivedTime: new(metav1.NewMicroTime(now)), ConfirmedTime: new(metav1.NewMicroTime(now)), Observation: 1, AnswersSource: 1,
			}
			c.end.Observation, c.end.AnswersTarget = 1, 1
		}
		if c.finished {
			s.lm = finishedVersion(s.lm)
		}
		if got := s.pause(now); got != c.want {
			t.Errorf("%s: it waits for %s, want %s: %+v", name, got, c.want, migration.Judge(s.lm, now))
		}
	}
	s := startedSession()
	s.section = nil
	if got := s.pause(now); got != 0 {
		t.Errorf("nothing has begun, and it waits for %s", got)
	}
}

// TestProgressOfAGuestThatHasMoved is complete, whoever saw it leave.
func TestProgressOfAGuestThatHasMoved(t *testing.T) {
	t.Parallel()
	at := func(percent int32) *v1alpha1.ProgressStatus { return &v1alpha1.ProgressStatus{Percent: percent} }
	whole := &v1alpha1.ProgressStatus{Percent: 100, Switchover: v1alpha1.SwitchoverConverged}
	ended := &v1alpha1.SourceStatus{AttemptID: "1", End: &v1alpha1.SourceEnd{}}
	for name, c := range map[string]struct {
		moved    bool
		section  *v1alpha1.SourceStatus
		progress *v1alpha1.ProgressStatus
		want     int32
		told     bool
	}{
		"it has moved":              {true, ended, at(40), 100, true},
		"it has moved, unseen":      {true, ended, nil, 100, true},
		"that is known":             {true, ended, whole, 100, false},
		"its final statistics are":  {true, ended, at(100), 100, true},
		"it has not moved":          {false, ended, at(40), 40, false},
		"that was by another means": {true, nil, at(40), 40, false},
		"its job has not ended":     {true, &v1alpha1.SourceStatus{AttemptID: "1"}, at(40), 40, false},
	} {
		s := startedSession()
		s.section, s.progress = c.section, c.progress
		if c.moved {
			s.lm = finishedVersion(s.lm)
		}
		s.completeProgress()
		if s.progress.Percent != c.want || s.out.wait() <= 0 != c.told {
			t.Errorf("%s: the progress is %+v, told %t", name, s.progress, s.out.wait() <= 0)
		}
		if s.progress.Switchover != "" != (c.told || c.progress == whole) {
			t.Errorf("%s: how it was brought is %q", name, s.progress.Switchover)
		}
	}
}

// TestHowSoonAJobIsLookedFor: sooner where it was not seen yet.
func TestHowSoonAJobIsLookedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*sourceSession)
		want   time.Duration
	}{
		"it was not seen yet":        {func(*sourceSession) {}, followFirst},
		"it was seen before":         {func(s *sourceSession) { s.section.JobStartedTime = new(metav1.NowMicro()) }, followInterval},
		"libvirt could not be asked": {func(s *sourceSession) { s.now = sighting{} }, retryInterval},
	} {
		s := startedSession()
		c.change(s)
		if got := s.follow(t.Context()); got != c.want {
			t.Errorf("%s: after %s, want %s", name, got, c.want)
		}
	}
}
