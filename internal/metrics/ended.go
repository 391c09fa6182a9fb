package metrics

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/monitor"
)

// The values of labels. What an agent writes may be anything, and what is none of these
// is reasonOther: nobody can make series at will.
const (
	reasonOther = "Other"

	stepPostCopy = "PostCopy"
	stepPause    = "Pause"

	postCopyResumed    = "Resumed"
	postCopyNotResumed = "NotResumed"

	kindMemory    = "memory"
	kindDisk      = "disk"
	kindCopying   = "copying"
	kindPreparing = "preparing"
)

var (
	unendedPhases = []v1alpha1.LiveMigrationPhase{
		v1alpha1.PhasePending, v1alpha1.PhasePreparing, v1alpha1.PhaseMigrating, v1alpha1.PhasePostCopy, v1alpha1.PhaseRecovering,
		v1alpha1.PhaseConfirming, v1alpha1.PhaseCancelling, v1alpha1.PhaseUnknown,
	}
	// failuresOfChecks are those before anything moves.
	failuresOfChecks = []string{
		v1alpha1.ReasonDomainNotFound, v1alpha1.ReasonDomainAmbiguous, v1alpha1.ReasonDomainNotRunning, v1alpha1.ReasonDomainNotOnSource,
		v1alpha1.ReasonDomainOnSeveralNodes, v1alpha1.ReasonNodeNotFound, v1alpha1.ReasonNodeNotReady, v1alpha1.ReasonInvalidMigrateData,
		v1alpha1.ReasonSourceCheckFailed, v1alpha1.ReasonTargetCheckFailed,
	}
	// endReasons are those of migrations, and dryRunReasons those of dry runs.
	endReasons = map[v1alpha1.LiveMigrationPhase][]string{
		v1alpha1.PhaseSucceeded: {v1alpha1.ReasonMigrated, v1alpha1.ReasonArrivedNotRunning, v1alpha1.ReasonAlreadyOnTarget},
		v1alpha1.PhaseCancelled: {v1alpha1.ReasonCancelled},
		v1alpha1.PhaseFailed: slices.Concat(failuresOfChecks, []string{
			v1alpha1.ReasonNotStarted, v1alpha1.ReasonUnsafe, v1alpha1.ReasonMigrationFailed, v1alpha1.ReasonCompletionTimeout,
			v1alpha1.ReasonProgressTimeout, v1alpha1.ReasonPauseTimeout, v1alpha1.ReasonWillNotConverge, v1alpha1.ReasonInterrupted,
			v1alpha1.ReasonGuestStopped,
		}),
	}
	dryRunReasons = map[v1alpha1.LiveMigrationPhase][]string{
		v1alpha1.PhaseSucceeded: {v1alpha1.ReasonChecksPassed, v1alpha1.ReasonAlreadyOnTarget},
		v1alpha1.PhaseCancelled: {v1alpha1.ReasonCancelled},
		v1alpha1.PhaseFailed:    failuresOfChecks,
	}
	forceReasons = []string{
		v1alpha1.StepReasonRequested, string(monitor.ReasonNotConverging), string(monitor.ReasonCompletionTimeout),
		string(monitor.ReasonProgressTimeout),
	}
	abortReasons = []string{
		v1alpha1.ReasonCancelled, v1alpha1.ReasonWillNotConverge, v1alpha1.ReasonCompletionTimeout, v1alpha1.ReasonProgressTimeout,
		v1alpha1.ReasonPauseTimeout, v1alpha1.ReasonMigrationFailed,
	}
	switchovers = []v1alpha1.SwitchoverReason{v1alpha1.SwitchoverConverged, v1alpha1.SwitchoverPostCopy, v1alpha1.SwitchoverPaused}
)

// oneOf returns the value if it is one of those that a label may have.
func oneOf[S ~string](values []S, value S) string {
	if slices.Contains(values, value) {
		return string(value)
	}
	return reasonOther
}

// Saw takes note of a migration that this process has found: when another manager led,
// that one has admitted it, and the first that this one writes may be its end. A nil
// Manager takes note of nothing.
func (m *Manager) Saw(lm *v1alpha1.LiveMigration) {
	if m != nil && !migration.Finished(lm) {
		m.beginMove(lm)
	}
}

// Wrote counts what a status that this process has just written says for the first time:
// how the migration has ended, and for how long the guest stood still. Every other
// manager that might write the same has been refused, so each end is counted once, and
// none that was there before. A nil Manager counts nothing.
func (m *Manager) Wrote(before, after *v1alpha1.LiveMigration) {
	if m == nil {
		return
	}
	m.beginMove(after)
	if !migration.Finished(before) && migration.Finished(after) {
		m.countEnd(after)
	}
	if before.Status.DowntimeMilliseconds == nil && after.Status.DowntimeMilliseconds != nil {
		m.countDowntime(after)
	}
}

// moves returns whether a migration is one from one node to another. Which these are is
// decided, and they are known to exist, when it is admitted.
func moves(lm *v1alpha1.LiveMigration) bool {
	return lm.Status.Attempt != nil && !migration.MovesNothing(lm)
}

// beginMove makes the series of the nodes that a migration moves between.
func (m *Manager) beginMove(lm *v1alpha1.LiveMigration) {
	if moves(lm) {
		m.beginBetween(lm.Status.SourceNode, lm.Status.TargetNode)
	}
}

// beginBetween makes the series of migrations from one node to another. There are not
// all of them from the beginning, as the other series are: that would be the square of
// the number of nodes. So they are made while the first guest is still on its way.
func (m *Manager) beginBetween(source, target string) {
	for outcome := range endReasons {
		m.between.WithLabelValues(source, target, string(outcome))
	}
}

func (m *Manager) countEnd(lm *v1alpha1.LiveMigration) {
	st := &lm.Status
	reason := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionSucceeded).Reason
	if migration.DryRun(lm) {
		// It is no migration. How often dry runs fail, and how long they take, would spoil
		// what is known of those.
		m.dryRuns.WithLabelValues(string(st.Phase), oneOf(dryRunReasons[st.Phase], reason)).Inc()
		return
	}
	m.ended.WithLabelValues(string(st.Phase), oneOf(endReasons[st.Phase], reason)).Inc()
	if moves(lm) {
		m.between.WithLabelValues(st.SourceNode, st.TargetNode, string(st.Phase)).Inc()
	}
	created := lm.CreationTimestamp.Time
	m.duration.WithLabelValues(string(st.Phase)).Observe(span(created, st.CompletionTime.Time))
	if a := st.Attempt; a != nil {
		if a.CopyGrantedTime != nil {
			m.queueWait.WithLabelValues().Observe(span(created, a.CopyGrantedTime.Time))
		}
		if t := migration.CurrentTarget(lm); t != nil && t.ReadyTime != nil && !migration.LooksOnly(lm) {
			m.preparation.WithLabelValues().Observe(span(a.AdmittedTime.Time, t.ReadyTime.Time))
		}
	}
	if source := migration.CurrentSource(lm); source != nil {
		m.countCopying(source, st.Progress, st.Phase)
	}
}

// countCopying counts how a job went that was started.
func (m *Manager) countCopying(source *v1alpha1.SourceStatus, p *v1alpha1.ProgressStatus, phase v1alpha1.LiveMigrationPhase) {
	if p != nil {
		for kind, t := range map[string]*v1alpha1.TransferStatus{kindMemory: p.Memory, kindDisk: p.Disk} {
			if t != nil {
				m.transferred.WithLabelValues(kind).Observe(float64(t.ProcessedBytes))
			}
		}
		if p.MemoryIteration > 0 {
			m.numPasses.WithLabelValues().Observe(float64(p.MemoryIteration))
		}
	}
	if migration.InPostCopy(source) {
		m.postCopies.WithLabelValues().Inc()
	}
	if r := source.Recovery; r != nil {
		outcome := postCopyNotResumed
		// One that has succeeded went on, whoever noticed: QEMU may see its link come back
		// before libvirt is let resume it.
		if r.ResumedTime != nil || phase == v1alpha1.PhaseSucceeded {
			outcome = postCopyResumed
		}
		m.interrupted.WithLabelValues(outcome).Inc()
		m.recoveries.WithLabelValues().Add(float64(r.Attempts))
	}
	m.countSteps(source.Steering, phase)
}

// countSteps leaves out what libvirt refused: it had no effect. An abort that came too
// late had none either, but only the outcome shows that.
func (m *Manager) countSteps(s *v1alpha1.SteeringStatus, phase v1alpha1.LiveMigrationPhase) {
	if s == nil {
		return
	}
	if taken(s.PostCopy) {
		m.forced.WithLabelValues(stepPostCopy, oneOf(forceReasons, s.PostCopy.Reason)).Inc()
	}
	if taken(s.Pause) {
		m.forced.WithLabelValues(stepPause, oneOf(forceReasons, s.Pause.Reason)).Inc()
	}
	if taken(s.Abort) && phase != v1alpha1.PhaseSucceeded {
		m.aborted.WithLabelValues(oneOf(abortReasons, s.Abort.Reason)).Inc()
	}
}

func taken(step *v1alpha1.SteeringStep) bool { return step != nil && !step.Refused }

// countDowntime leaves out guests that their users had paused: they stood still anyway.
func (m *Manager) countDowntime(lm *v1alpha1.LiveMigration) {
	source := migration.CurrentSource(lm)
	if source != nil && source.GuestPaused || lm.Status.Phase != v1alpha1.PhaseSucceeded {
		return
	}
	p := lm.Status.Progress
	if p == nil {
		p = &v1alpha1.ProgressStatus{}
	}
	if p.Switchover == "" && source != nil {
		// The agent may tell after the final statistics, or never.
		p = migration.NoteSwitchover(p, source)
	}
	by := oneOf(switchovers, p.Switchover)
	downtime := *lm.Status.DowntimeMilliseconds
	m.downtime.WithLabelValues(by).Observe(float64(downtime) / 1000)
	m.downtimeRatio.WithLabelValues(by).Observe(float64(downtime) / float64(migration.AllowedDowntimeMilliseconds(lm)))
}

// span is the time between two moments in seconds. Clocks may disagree about which came
// first.
func span(from, to time.Time) float64 { return max(0, to.Sub(from).Seconds()) }
