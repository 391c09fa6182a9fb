package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/monitor"
)

// recordPatience is how long a step waits for its record to be written before it
// is taken all the same: an API server that is away must not change how a
// migration is steered.
const recordPatience = 2 * time.Second

// steering is what a session remembers of how it steers its job.
type steering struct {
	restored bool
	state    monitor.State
}

// steer asks pkg/monitor what to do about the running job, and does it.
func (s *sourceSession) steer(ctx context.Context) {
	began := s.node.Clock.Now().Add(-s.now.job.Elapsed)
	if !s.steering.restored {
		s.steering = steering{restored: true, state: monitor.Restore(s.factsSoFar(ctx, began))}
	}
	s.notePostCopy()
	s.notePause()
	s.noteRequests()
	if migration.CancelDue(s.lm, s.section) || s.section.Steering != nil && s.section.Steering.Abort != nil {
		return // All that is left to do is to abort, again and again.
	}
	input := monitor.Input{
		Sample:        monitorSample(s.now),
		ForceComplete: migration.ForceCompleteDue(s.lm, s.section),
	}
	config := monitorConfig(s.lm.Spec.Options, s.section.Transfer, s.now)
	config.AllowPostCopy, config.Freeze = s.mayPostCopy(), s.freezeStage()
	if s.section.Load != nil {
		config.DirtyBytesPerSecond = s.section.Load.DirtyBytesPerSecond
	}
	state, actions := monitor.Decide(config, s.steering.state, input)
	s.steering.state = state
	s.noteFailed()
	for _, action := range actions {
		s.take(ctx, action)
	}
	s.noteProgress(began)
	s.noteRequests()
}

// record returns the part of the section that says what was done to the job.
func (s *sourceSession) record() *v1alpha1.SteeringStatus {
	if s.section.Steering == nil {
		s.section.Steering = &v1alpha1.SteeringStatus{}
	}
	return s.section.Steering
}

// factsSoFar returns what is known of a job that this process did not start: what
// was recorded, and the limit that the hypervisor has.
func (s *sourceSession) factsSoFar(ctx context.Context, began time.Time) monitor.Facts {
	facts := monitorFacts(s.section, began, s.now.job.Elapsed)
	if s.call == migration.CallInFlight && facts.MaxDowntimeMilliseconds == 0 {
		return facts // Just started: what the hypervisor has was not set for this job.
	}
	limit, err := s.hv.MaxDowntime(ctx, s.lm.Status.DomainUUID)
	if err != nil {
		s.log.Error(err, "Reading the allowed downtime failed; using what was recorded")
		return facts
	}
	facts.MaxDowntimeMilliseconds = clamp(limit)
	return facts
}

// take carries an action out, and tells pkg/monitor if that failed.
func (s *sourceSession) take(ctx context.Context, action monitor.Action) {
	s.log.Info("Steering the migration", "action", action.Kind, "reason", action.Reason, "because", action.Message)
	step := newStep(action, s.node.Clock.Now())
	// An order that is repeated may have been carried out when it was given first.
	repeated := action.Kind == monitor.Pause && s.record().Pause != nil
	if err := s.carryOut(ctx, action, step); err != nil {
		s.log.Error(err, "Steering the migration failed", "action", action.Kind)
		step.Error, step.Refused = messageOf(err), !repeated && !hypervisor.KindOf(err).OutcomeUnknown()
		s.steering.state = s.steering.state.Failed(action, step.Refused)
	}
}

// carryOut records the step before it is taken.
func (s *sourceSession) carryOut(ctx context.Context, action monitor.Action, step *v1alpha1.SteeringStep) error {
	uuid := s.lm.Status.DomainUUID
	switch action.Kind {
	case monitor.SetMaxDowntime:
		if err := s.hv.SetMaxDowntime(ctx, uuid, uint64(action.MaxDowntimeMilliseconds)); err != nil { //nolint:gosec // Positive.
			return err
		}
		s.record().MaxDowntimeMilliseconds = action.MaxDowntimeMilliseconds
		return nil
	case monitor.StartPostCopy:
		keep(step, s.record().PostCopy)
		s.record().PostCopy = step
		s.writeDown(ctx)
		if err := s.hv.StartPostCopy(ctx, uuid); !errors.Is(err, hypervisor.ErrInPostCopy) {
			return err
		}
		return nil
	case monitor.Pause:
		keep(step, s.record().Pause)
		s.record().Pause = step
		s.writeDown(ctx)
		if err := s.hv.Suspend(ctx, uuid); err != nil {
			return err
		}
		s.record().PausedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
		return nil
	case monitor.Freeze:
		s.freeze(ctx)
		return nil
	case monitor.Abort:
		step.Reason = abortReason(action.Reason)
		return s.abort(ctx, step)
	default:
		return fmt.Errorf("the action %q is unknown", action.Kind)
	}
}

// keep makes a step that is taken again what it was: its deadline has begun.
func keep(step, earlier *v1alpha1.SteeringStep) {
	if earlier != nil {
		step.Time, step.Reason, step.Message = earlier.Time, earlier.Reason, earlier.Message
	}
}

// writeDown waits until the section is written, but not for ever. It reports whether it is.
func (s *sourceSession) writeDown(ctx context.Context) bool {
	s.report(atOnce)
	written := s.out.flush(ctx, recordPatience)
	if !written {
		s.log.Info("The status cannot be written in time; a freeze is left out, any other step is taken without it")
	}
	return written
}

// abort asks for the job's end. The first time it says why.
func (s *sourceSession) abort(ctx context.Context, step *v1alpha1.SteeringStep) error {
	s.log.Info("Aborting the migration", "reason", step.Reason)
	if record := s.record(); record.Abort == nil {
		record.Abort = step
		s.noteRequests()
		s.writeDown(ctx)
	}
	s.lastAbort = s.node.Clock.Now()
	return s.hv.AbortJob(ctx, s.lm.Status.DomainUUID)
}

// cancel aborts the job because its end is asked for, again and again until it is
// gone.
func (s *sourceSession) cancel(ctx context.Context) {
	step := &v1alpha1.SteeringStep{
		Time: metav1.NewMicroTime(s.node.Clock.Now()), Reason: v1alpha1.ReasonCancelled, Message: "the migration was cancelled",
	}
	if err := s.abort(ctx, step); err != nil {
		s.log.Error(err, "Aborting the migration failed; trying again while it runs", "after", migration.AbortInterval)
	}
}

// abortReason is the reason of the Succeeded condition for an abort.
func abortReason(r monitor.Reason) string {
	switch r {
	case monitor.ReasonNotConverging:
		return v1alpha1.ReasonWillNotConverge
	case monitor.ReasonCompletionTimeout:
		return v1alpha1.ReasonCompletionTimeout
	case monitor.ReasonProgressTimeout:
		return v1alpha1.ReasonProgressTimeout
	case monitor.ReasonPauseTimeout:
		return v1alpha1.ReasonPauseTimeout
	case monitor.ReasonInitial, monitor.ReasonStep, monitor.ReasonWithinReach, monitor.ReasonSlow,
		monitor.ReasonMaximumLowered, monitor.ReasonRequested, monitor.ReasonFreeze, monitor.ReasonFreezeOver:
	}
	return v1alpha1.ReasonMigrationFailed
}

// notePostCopy records when the guest went ahead to the target, and whether what
// follows it was interrupted.
func (s *sourceSession) notePostCopy() {
	if s.now.domain == nil || !s.now.domain.InPostCopy() || s.now.foreign {
		return
	}
	now := metav1.NewMicroTime(s.node.Clock.Now())
	if record := s.record(); record.PostCopyTime == nil {
		record.PostCopyTime = &now
	}
	s.noteRecoveryState(now)
}

// noteRecoveryState records since when post-copy is interrupted, or that it goes on.
func (s *sourceSession) noteRecoveryState(now metav1.MicroTime) {
	broken, recovery := s.now.domain.Reason == hypervisor.ReasonPostcopyFailed, s.section.Recovery
	switch {
	case broken && recovery == nil:
		s.section.Recovery = &v1alpha1.RecoveryStatus{BrokenTime: now}
	case broken && recovery.ResumedTime != nil:
		recovery.BrokenTime, recovery.ResumedTime = now, nil
	case !broken && recovery != nil && recovery.ResumedTime == nil:
		recovery.ResumedTime = &now
	}
	if broken {
		s.section.Recovery.WithheldReason = s.withheldReason()
	}
}

// notePause records when the guest came to stand paused that was to be paused. While
// its migration runs, libvirt gives that as its reason, as for a switch-over; where a
// disk fails, say, there is no pause.
func (s *sourceSession) notePause() {
	if !migration.PausedByUs(s.section) || s.record().PausedTime != nil || s.now.domain == nil || s.now.domain.State != hypervisor.StatePaused {
		return
	}
	if reason := s.now.domain.Reason; reason == hypervisor.ReasonMigration || reason == hypervisor.ReasonUser {
		s.record().PausedTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
	}
}

// noteFailed records which steps nothing came of before their deadlines. What came
// of the calls themselves may never be known.
func (s *sourceSession) noteFailed() {
	facts, record := s.steering.state.Facts(), s.record()
	note := func(order monitor.Order, step *v1alpha1.SteeringStep) {
		if order.Failed && step != nil && step.Error == "" {
			step.Error = "it had no effect"
		}
	}
	note(facts.PostCopy, record.PostCopy)
	note(facts.Pause, record.Pause)
}

// noteRequests records how far requests have come.
func (s *sourceSession) noteRequests() {
	for _, report := range migration.ReportRequests(s.lm, s.section, s.node.Clock.Now()) {
		migration.PutReport(s.record(), report)
	}
}

// noteProgress records when the job came closer to its end, for the next agent.
func (s *sourceSession) noteProgress(began time.Time) {
	if at := s.steering.state.Facts().ProgressAt; at > 0 {
		// Milliseconds of the job's clock move with every look at it.
		when := metav1.NewMicroTime(began.Add(at).Truncate(time.Second))
		s.record().LastProgressTime = &when
	}
	s.record().LowestRemainingBytes = s.steering.state.Facts().LowestPassBytes
}

// recoverDeadline is how long a call may take to return, or to show an effect, once
// post-copy is interrupted. The hypervisor may wait for ever for a page that never
// comes.
const recoverDeadline = 30 * time.Second

// abandonHungCall lets go of such a call, so that post-copy can be resumed by another.
func (s *sourceSession) abandonHungCall() {
	broken := s.now.domain != nil && s.now.domain.Reason == hypervisor.ReasonPostcopyFailed && s.section.Recovery != nil
	if !broken || s.call != migration.CallInFlight {
		return
	}
	since := s.section.Recovery.BrokenTime.Time
	if s.lastRecover.After(since) {
		since = s.lastRecover
	}
	if s.node.Clock.Since(since) >= recoverDeadline {
		s.log.Info("Abandoning a call to resume post-copy that has had no effect", "after", recoverDeadline)
		s.abandon()
	}
}

// recoverPostCopy resumes a post-copy that was interrupted. libvirt refuses for as
// long as the two hosts do not reach each other, or still believe that they do.
func (s *sourceSession) recoverPostCopy(ctx context.Context) time.Duration {
	now := s.node.Clock.Now()
	s.lastRecover = now
	s.notePostCopy()
	if migration.ResumeWithheld(s.section) {
		s.report(atOnce)
		return followInterval
	}
	r := s.section.Recovery
	r.Attempts++
	r.LastAttemptTime = new(metav1.NewMicroTime(now))
	s.log.Info("Resuming the interrupted post-copy", "attempt", r.Attempts)
	s.writeDown(ctx)
	s.call, s.recovering = migration.CallInFlight, true
	params, uuid := s.baseParams(), s.lm.Status.DomainUUID
	ctx, s.abandon = context.WithCancel(context.WithoutCancel(ctx))
	go func() { s.returned <- s.hv.RecoverPostCopy(ctx, uuid, params) }()
	return followFirst
}

// messageOf returns a hypervisor's message without the name of the call, as far as the
// API takes it.
func messageOf(err error) string {
	message := err.Error()
	if herr, ok := errors.AsType[*hypervisor.Error](err); ok {
		message = herr.Message
	}
	return migration.Shorten(message, migration.MaxMessage)
}
