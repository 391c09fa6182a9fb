package agent

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// sourceSession is the source's side of one migration.
type sourceSession struct {
	node *Node
	hv   hypervisor.Hypervisor
	log  logr.Logger
	box  *mailbox
	out  *reporter[SourceReport]

	// lm is the object as last seen; section and progress are what this side
	// reports on it.
	lm       *v1alpha1.LiveMigration
	section  *v1alpha1.SourceStatus
	progress *v1alpha1.ProgressStatus
	// foundation is what the first report of a migration that is adopted is added to; there
	// is none once that is written.
	foundation atomic.Pointer[v1alpha1.LiveMigration]

	// call is the migrate call, which was made at called, and intent the time that this
	// session has tried to record for the start of attempt, and has not heard to be
	// recorded. attempt is empty while there is none.
	call   migration.CallState
	called time.Time
	intent *metav1.MicroTime
	// detaching is since when this process takes interfaces from the guest, and detachAsked when
	// it last asked for them; zero if it has not.
	detaching, detachAsked time.Time
	// pausedBefore is whether the guest stood paused when it was checked.
	pausedBefore bool
	// givingBack is since when this process gives them back; zero before.
	givingBack time.Time
	attempt    string
	callErr    error
	returned   chan error
	// abandon lets go of the call that is in flight.
	abandon context.CancelFunc
	now     sighting
	// jobOver is whether our job, which had been seen, was seen to be over.
	jobOver    bool
	quietSince time.Time
	wholeSince time.Time
	// unseenSince is since when the hypervisor has not answered about the guest.
	unseenSince time.Time
	lastAbort   time.Time
	// recovering is whether the call in flight resumes post-copy.
	recovering  bool
	lastRecover time.Time
	steering    steering
	// stopped is how an event said that the guest ended here: a domain without
	// a definition is gone afterwards, and cannot be asked.
	stopped *v1alpha1.DomainObservation
	knobs   knobs
	// asked is when the target was last told of something new here after the end, and
	// pausing whether this session pauses its copy, recorded whether the API server has
	// taken the record of that, and it is not done yet.
	asked    time.Time
	pausing  bool
	recorded bool
	evidence evidence
	guest    guestCall
	// markersKept is whether markers could not be removed, and markerTries how often that was
	// tried in vain.
	markersKept bool
	markerTries int
	// reason is libvirt's reason for the guest to run before the start.
	reason hypervisor.Reason
}

// runSource runs a session until its migration is done or ctx ends.
func runSource(ctx context.Context, node *Node, box *mailbox) {
	lm, _ := box.get()
	log := node.Log.WithValues("LiveMigration", klog.KObj(lm), "side", "source", "domain", lm.Status.DomainUUID)
	s := &sourceSession{
		node: node, hv: node.Hypervisor, log: log, box: box, lm: lm,
		call: migration.CallNone, returned: make(chan error, 1), abandon: func() {}, guest: newGuestCall(),
	}
	s.out = newReporter(node, log, func(ctx context.Context, r SourceReport) error {
		return s.write(ctx, lm, r)
	})
	node.sending.Add(1)
	defer node.sending.Add(-1)
	defer node.jobs.remove(lm.UID)
	ctx, cancel := context.WithCancel(ctx)
	events := s.hv.Subscribe(ctx, lm.Status.DomainUUID)
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.out.run(ctx)
	}()
	defer func() {
		s.handOver(ctx)
		s.out.close()
		<-written
		cancel()
	}()
	for s.refreshFacts(ctx) {
		wait, done := s.step(ctx)
		if done || ctx.Err() != nil || !s.await(ctx, events, wait) {
			return
		}
	}
}

// refreshFacts takes the latest object over. It reports false if the session
// has nothing to do any more.
func (s *sourceSession) refreshFacts(ctx context.Context) bool {
	gone, others := s.takeOver()
	if others {
		s.adopt(ctx)
		gone, _ = s.takeOver()
	}
	started := s.section != nil && s.section.StartRequestedTime != nil
	ended := s.section != nil && s.section.End != nil
	return !gone || started && !ended
}

// takeOver takes the latest object over. It reports whether that is gone, and whether what it
// tells of a start is news, so that another process has told it.
func (s *sourceSession) takeOver() (gone, others bool) {
	lm, gone := s.box.get()
	s.lm = lm
	attempt := lm.Status.Attempt
	if id := migration.AttemptID(lm); id != s.attempt {
		s.attempt, s.intent, s.detaching, s.detachAsked, s.givingBack = id, nil, time.Time{}, time.Time{}, time.Time{}
	}
	switch {
	case attempt == nil:
		s.section = nil
	case s.section == nil || s.section.AttemptID != attempt.ID || migration.Supersedes(migration.CurrentSource(lm), s.section):
		s.section = migration.CurrentSource(lm).DeepCopy()
		s.progress = lm.Status.Progress.DeepCopy()
		others = s.section != nil && s.section.StartRequestedTime != nil
	default:
		s.progress = migration.NotBehind(s.progress, lm.Status.Progress)
	}
	return gone, others
}

// await blocks until there may be something to do: the object changed, the
// hypervisor spoke, the call returned, or wait has passed. Zero waits for the
// others only, a negative time not at all.
func (s *sourceSession) await(ctx context.Context, events <-chan hypervisor.Event, wait time.Duration) bool {
	var timer <-chan time.Time
	if wait < 0 {
		return ctx.Err() == nil
	}
	if wait > 0 {
		t := s.node.Clock.NewTimer(wait)
		defer t.Stop()
		timer = t.C()
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.box.changed:
	case <-timer:
	case err := <-s.returned:
		s.noteHeard(events)
		s.noteReturn(err)
	case err := <-s.guest.returned:
		s.noteGuestCall(err)
	case event, ok := <-events:
		if !ok {
			return false
		}
		s.noteEvent(event)
	}
	return true
}

// noteHeard takes in what was heard before a call returned: it explains what came of
// the call.
func (s *sourceSession) noteHeard(events <-chan hypervisor.Event) {
	for {
		select {
		case event, ok := <-events:
			if !ok {
				return
			}
			s.noteEvent(event)
		default:
			return
		}
	}
}

func (s *sourceSession) noteReturn(err error) {
	if s.recovering {
		s.noteRecovery(err)
		return
	}
	s.callErr = err
	s.call = migration.CallReturned
	if err != nil && hypervisor.KindOf(err).CallLost() {
		s.call = migration.CallLost
	}
	s.log.Info("The migrate call returned", "result", s.call, "error", err)
}

// noteRecovery takes an attempt to resume post-copy for what it was: where it
// failed, the migration may go on all the same.
func (s *sourceSession) noteRecovery(err error) {
	s.recovering = false
	s.log.Info("The call to resume post-copy returned", "error", err)
	if err == nil {
		s.call, s.callErr = migration.CallReturned, nil
		return
	}
	s.call, s.callErr = migration.CallLost, err
	if s.section.Recovery != nil {
		s.section.Recovery.LastError = messageOf(err)
		s.report(atOnce)
	}
}

func (s *sourceSession) noteEvent(e hypervisor.Event) {
	s.evidence.noteEvent(e)
	switch e.Type {
	case hypervisor.EventJobCompleted:
		s.noteCompleted(e.Stats)
	case hypervisor.EventLifecycle:
		s.noteStop(e)
		s.noteSwitch(e)
	case hypervisor.EventIteration, hypervisor.EventResync:
	}
}

// noteCompleted takes over the final statistics of our own migration. A domain has other
// jobs, such as backups.
func (s *sourceSession) noteCompleted(stats hypervisor.JobStats) {
	stats.Type = hypervisor.JobUnbounded
	ours := migration.Ours(s.section, s.called, stats, s.node.Clock.Now()) && s.callState() != migration.CallNotMade
	if !ours || s.section.End != nil && !migration.HasLeft(s.section, migration.CurrentTarget(s.lm)) {
		return
	}
	stats.Type = hypervisor.JobCompleted
	s.node.jobs.complete(s.lm.UID, stats.Memory.ProcessedBytes+stats.Disk.ProcessedBytes, s.followsWhole())
	s.progress = migration.Progress(s.progress, stats)
	if s.section.End != nil {
		s.report(atOnce)
	}
}

// noteStop remembers an event that says for sure what became of the guest here.
func (s *sourceSession) noteStop(e hypervisor.Event) {
	sure := []hypervisor.Reason{
		hypervisor.ReasonMigrated, hypervisor.ReasonShutdown, hypervisor.ReasonCrashed, hypervisor.ReasonDestroyed,
	}
	if e.Lifecycle != hypervisor.LifecycleStopped || !slices.Contains(sure, hypervisor.Reason(e.Detail)) {
		return
	}
	s.stopped = &v1alpha1.DomainObservation{State: string(hypervisor.StateShutoff), Reason: e.Detail}
	if s.section != nil && s.section.End != nil && migration.SideOf(&s.section.End.Domain) == migration.SideGone {
		s.see(*s.stopped)
		s.report(atOnce)
	}
}

// noteSwitch remembers an event that tells of a post-copy which may be over before
// anybody looks.
func (s *sourceSession) noteSwitch(e hypervisor.Event) {
	ours := s.section != nil && s.section.StartRequestedTime != nil && s.section.End == nil && !s.jobOver &&
		(s.section.JobStartedTime != nil || s.now.jobSeen && !s.now.foreign)
	if !ours || e.Lifecycle != hypervisor.LifecycleSuspended || e.Detail != hypervisor.DetailPostcopy {
		return
	}
	if record := s.record(); record.PostCopyTime == nil {
		record.PostCopyTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
	}
}

// step takes one act and says how long to wait for the next; done ends the
// session.
func (s *sourceSession) step(ctx context.Context) (wait time.Duration, done bool) {
	if s.section != nil && s.section.StartRequestedTime != nil {
		s.look(ctx)
	}
	now := s.node.Clock.Now()
	s.noteStall(now)
	s.tendFreeze(ctx)
	action := migration.DecideSource(s.facts(), now)
	if action == migration.SourceDone {
		if s.thawLeft() {
			return thawInterval, false
		}
		return s.linger(now)
	}
	return s.act(ctx, action, now), false
}

// act carries an act out and says how long to wait for the next.
func (s *sourceSession) act(ctx context.Context, action migration.SourceAction, now time.Time) time.Duration {
	switch action {
	case migration.SourceCheck:
		return s.check(ctx)
	case migration.SourceRemoveMarkers:
		return s.removeMarkers(ctx)
	case migration.SourcePlan:
		return s.plan(ctx)
	case migration.SourceDetach:
		return s.detach(ctx)
	case migration.SourceStart:
		return s.start(ctx)
	case migration.SourceFollow:
		return s.follow(ctx)
	case migration.SourceAbort:
		s.cancel(ctx)
		return s.follow(ctx)
	case migration.SourceRecover:
		return s.recoverPostCopy(ctx)
	case migration.SourceEnd:
		s.end()
		return 0
	case migration.SourceWait, migration.SourceDone:
		return s.pause(now)
	case migration.SourceUndefine, migration.SourceResume, migration.SourceDestroyStale, migration.SourcePauseCopy,
		migration.SourceRemoveImages, migration.SourceObserve, migration.SourceAsk, migration.SourceAttach:
		return s.cleanUp(ctx, action)
	}
	s.log.Error(errors.New("unknown action"), "Cannot carry out an unknown action", "action", action)
	return followInterval
}

// cleanUp does what is left to do here after the end, or where there is no start.
func (s *sourceSession) cleanUp(ctx context.Context, action migration.SourceAction) time.Duration {
	switch action { //nolint:exhaustive // Nothing is left by all others.
	case migration.SourceUndefine:
		return s.undefine(ctx)
	case migration.SourceResume:
		s.settle(ctx, "Resuming the guest, which was paused for its migration", s.hv.Resume)
	case migration.SourceDestroyStale:
		s.settle(ctx, "Removing the old copy of the guest, which runs on the target", s.hv.DestroyStale)
	case migration.SourceRemoveImages:
		return s.removeImages(ctx)
	case migration.SourceAttach:
		return s.attach(ctx)
	case migration.SourcePauseCopy:
		return s.pauseCopy(ctx)
	case migration.SourceObserve:
		s.observe()
	case migration.SourceAsk:
		s.ask()
	}
	return followInterval
}

// afterEndInterval is the time between two looks at a guest whose migration is over
// but not settled: a person may change what is there.
const afterEndInterval = 2 * time.Second

// pause says how long to wait where there is nothing to do: after the end, what
// is to be cleaned up cannot be while the hypervisor is away.
func (s *sourceSession) pause(now time.Time) time.Duration {
	if s.section == nil || s.section.End == nil || migration.Finished(s.lm) {
		return 0
	}
	switch out := migration.Judge(s.lm, now); {
	case out.UndefineSource, out.ResumeSource, out.AttachSource, out.DestroySource, out.RemoveSourceImages, out.PauseSource && migration.PauseDue(s.section.End):
		return retryInterval
	default:
		return afterEndInterval
	}
}

func (s *sourceSession) facts() migration.SourceFacts {
	return migration.SourceFacts{
		Object: s.lm, Section: s.section, Call: s.callState(),
		Seen: s.now.seen, Domain: s.now.domain, Job: s.now.job, Foreign: s.now.foreign,
		QuietSince: s.quietSince, WholeSince: s.wholeSince, LastAbort: s.lastAbort, LastRecover: s.lastRecover,
		UnseenSince: s.unseenSince, Asked: s.asked, Pausing: s.pausing, MarkersKept: s.markersKept,
	}
}

// callState is where this process stands with its migrate call. That of an intent whose
// record was not confirmed is never made.
func (s *sourceSession) callState() migration.CallState {
	recorded := s.section != nil && s.section.StartRequestedTime != nil
	if recorded && s.call == migration.CallNone && s.intent != nil && s.intent.Equal(s.section.StartRequestedTime) {
		return migration.CallNotMade
	}
	return s.call
}

// statsGrace is how long after a success the job's final statistics are waited
// for: their event races with the return of the call.
const statsGrace = 2 * time.Second

// follow steers the job, reports its progress and applies options that were
// changed.
func (s *sourceSession) follow(ctx context.Context) time.Duration {
	if !s.now.seen {
		return retryInterval
	}
	s.abandonHungCall()
	if !s.now.ours() {
		before := s.section.DeepCopy()
		s.notePostCopy()
		if migration.InPostCopy(s.section) {
			s.noteRequests()
		}
		s.report(whenToTell(before, s.section))
		if s.section.JobStartedTime == nil {
			return followFirst
		}
		return followInterval
	}
	when := later
	if s.section.JobStartedTime == nil {
		s.section.JobStartedTime, when = new(metav1.NewMicroTime(s.node.Clock.Now())), soon
	}
	before := s.section.DeepCopy()
	s.progress = migration.Progress(s.progress, s.now.job)
	s.steer(ctx)
	s.noteJob()
	s.report(max(when, whenToTell(before, s.section)))
	s.knobs.turn(ctx, s)
	return s.followWait()
}

// whenToTell says how urgent it is to report a section after a look at the job.
func whenToTell(before, after *v1alpha1.SourceStatus) urgency {
	if migration.SourceChanged(before, after) {
		return atOnce
	}
	return later
}

// end reports what the call returned and what became of the guest here.
func (s *sourceSession) end() {
	if s.callState() == migration.CallNotMade {
		s.call, s.callErr = migration.CallReturned, &hypervisor.Error{
			Op: "migrating", Kind: hypervisor.KindNotSent, Message: "the API server did not confirm in time that the start was recorded",
		}
	}
	end := &v1alpha1.SourceEnd{
		Call:   callResult(s.call, s.callErr),
		Domain: migration.Observe(s.now.domain, s.now.job),
		Time:   metav1.NewMicroTime(s.node.Clock.Now()),

		NeverLeft: s.neverLeft(),
	}
	if s.now.domain == nil && s.stopped != nil {
		end.Domain = *s.stopped
	}
	if s.callErr != nil {
		end.ErrorKind, end.ErrorMessage = string(hypervisor.KindOf(s.callErr)), messageOf(s.callErr)
	}
	s.section.Stall = nil
	s.section.End = end
	s.node.jobs.end(s.lm.UID)
	s.see(end.Domain)
	if migration.HasLeft(s.section, migration.CurrentTarget(s.lm)) {
		s.progress = migration.NoteSwitchover(migration.Complete(s.progress), s.section)
	}
	s.noteRequests()
	s.log.Info("The migration job is over", "call", end.Call, "state", end.Domain.State, "reason", end.Domain.Reason)
	s.report(atOnce)
}

func callResult(state migration.CallState, err error) v1alpha1.CallResult {
	switch {
	case state != migration.CallReturned:
		return v1alpha1.CallUnknown
	case err != nil && hypervisor.KindOf(err).OutcomeUnknown():
		return v1alpha1.CallUnknown
	case err != nil:
		return v1alpha1.CallFailed
	default:
		return v1alpha1.CallSucceeded
	}
}

func (s *sourceSession) report(u urgency) {
	s.out.report(SourceReport{Section: s.section.DeepCopy(), Progress: s.progress.DeepCopy()}, u)
}
