package migration

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestDecideSource(t *testing.T) {
	out := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut}
	running := &hypervisor.Domain{State: hypervisor.StateRunning}
	off := &hypervisor.Domain{State: hypervisor.StateShutoff, Reason: hypervisor.ReasonMigrated}
	defined := &hypervisor.Domain{State: hypervisor.StateShutoff, Reason: hypervisor.ReasonMigrated, Persistent: true}
	quiet, waited := epoch.Add(-SettleTime), epoch.Add(-JobWait)
	seenBefore := func() builder {
		b := makeMigration("m").started()
		b.lm.Status.Source.JobStartedTime = new(metav1.NewMicroTime(epoch))
		return b
	}
	refused := makeMigration("m").admitted().checked()
	refused.lm.Status.Source.Problem = &v1alpha1.Problem{Reason: "Test"}
	half := func(reason hypervisor.Reason) *hypervisor.Domain {
		return &hypervisor.Domain{State: hypervisor.StatePaused, Reason: reason}
	}
	inPostCopy := func() builder { return makeMigration("m").started().inPostCopy() }
	endedInHalf := func() builder {
		return makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/PostcopyFailed+MigrationOut").inPostCopy()
	}
	lost := inPostCopy().onTarget("Shutoff/Crashed", false).arrived()
	lost.lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{BrokenTime: metav1.NewMicroTime(epoch)}
	lost.lm.Status.Target.LostTime = new(metav1.NewMicroTime(epoch))
	givenUp := func() builder {
		b := makeMigration("m").started()
		b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{Reason: "CompletionTimeout", Error: "busy"}}
		return b
	}
	pausedByUs := func() builder {
		return makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/User").onTarget("Absent", true).pausedByUs()
	}
	pausedOnce := func() builder {
		b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running").onTarget("Running/Migrated", true)
		b.lm.Status.Source.End.CopyPausedTime = new(metav1.NewMicroTime(epoch))
		return b
	}
	targetRefused := makeMigration("m").admitted().checked().ready()
	targetRefused.lm.Status.Target.Problem = &v1alpha1.Problem{Reason: "Test"}
	dryRefused := makeMigration("m").admitted().checked().ready().dry()
	dryRefused.lm.Status.Target.Problem = &v1alpha1.Problem{Reason: "Test"}
	targetTells, dryTells := makeMigration("m").admitted().checked().ready(), makeMigration("m").admitted().checked().ready().dry()
	for _, b := range []builder{targetTells, dryTells} {
		b.lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: b.lm.Status.Target.AttemptID, Problem: &v1alpha1.Problem{Reason: "Test"}, Endpoint: &v1alpha1.TargetEndpoint{}}
	}
	dryWithSlot := makeMigration("m").dry().admitted().checked().ready()
	noSlot := makeMigration("m").admitted().checked().ready()
	noSlot.lm.Status.Attempt.CopyGrantedTime = nil
	for _, c := range []struct {
		name  string
		b     builder
		facts SourceFacts
		want  SourceAction
	}{
		{"target ready, no slot for copying", noSlot, SourceFacts{}, SourceWait},
		{"not let go ahead", makeMigration("m"), SourceFacts{}, SourceWait},
		{"let go ahead", makeMigration("m").admitted(), SourceFacts{}, SourceCheck},
		{"deleted before the check", makeMigration("m").admitted().deleted(), SourceFacts{}, SourceWait},
		{"refused", refused, SourceFacts{}, SourceWait},
		{"checked", makeMigration("m").admitted().checked(), SourceFacts{}, SourceWait},
		{"target refuses", targetRefused, SourceFacts{}, SourceWait},
		{"target ready", makeMigration("m").admitted().checked().ready(), SourceFacts{}, SourceStart},
		{"target ready but deleted", makeMigration("m").admitted().checked().ready().deleted(), SourceFacts{}, SourceWait},
		{"target ready but the manager has given up",
			makeMigration("m").admitted().checked().ready().finished(metav1.ConditionFalse, v1alpha1.PhaseFailed), SourceFacts{}, SourceDone},

		{"dry run, target not ready", makeMigration("m").admitted().checked().dry(), SourceFacts{}, SourceWait},
		{"dry run, target ready", makeMigration("m").admitted().checked().ready().dry(), SourceFacts{}, SourcePlan},
		{"dry run, target ready and a slot given", dryWithSlot, SourceFacts{}, SourcePlan},
		{"dry run, target refuses", dryRefused, SourceFacts{}, SourceWait},
		{"dry run, target refuses and tells of its host", dryTells, SourceFacts{}, SourcePlan},
		{"target refuses and tells of its host", targetTells, SourceFacts{}, SourcePlan},
		{"dry run, all checked", makeMigration("m").planned(), SourceFacts{}, SourceWait},

		{"call in flight", makeMigration("m").started(), SourceFacts{Call: CallInFlight, Seen: true, Domain: running, Job: out}, SourceFollow},
		{"call in flight before its job", makeMigration("m").started(), SourceFacts{Call: CallInFlight, Seen: true, Domain: running, QuietSince: quiet}, SourceFollow},
		{"call in flight, deleted", makeMigration("m").started().deleted(), SourceFacts{Call: CallInFlight, Seen: true, Domain: running}, SourceAbort},
		{"call in flight, deleted, and nothing could be seen: what runs may be somebody else's", makeMigration("m").started().deleted(),
			SourceFacts{Call: CallInFlight}, SourceFollow},
		{"aborted a moment ago", makeMigration("m").started().deleted(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: running, Job: out, LastAbort: epoch.Add(-AbortInterval / 2)}, SourceFollow},
		{"aborted and still running", makeMigration("m").started().deleted(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: running, Job: out, LastAbort: epoch.Add(-AbortInterval)}, SourceAbort},
		{"given up, and libvirt did not listen", givenUp(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: running, Job: out, LastAbort: epoch.Add(-AbortInterval)}, SourceAbort},
		{"given up, adopted", givenUp(), SourceFacts{Call: CallNone, Seen: true, Domain: running, Job: out}, SourceAbort},
		{"given up, and the job is gone", givenUp(), SourceFacts{Call: CallNone, Seen: true, Domain: running, QuietSince: waited}, SourceEnd},
		{"call in flight, guest gone", makeMigration("m").started(), SourceFacts{Call: CallInFlight, Seen: true, Domain: off, QuietSince: quiet}, SourceFollow},
		{"call in flight, guest gone for long", makeMigration("m").started(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: off, QuietSince: epoch.Add(-HungTime)}, SourceEnd},
		{"call in flight, guest unknown for long", inPostCopy(),
			SourceFacts{Call: CallInFlight, Seen: true, QuietSince: epoch.Add(-HungTime)}, SourceEnd},
		{"call in flight, and the guest runs: it may wait for its turn", makeMigration("m").started(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: running, QuietSince: epoch.Add(-time.Hour)}, SourceFollow},
		{"call in flight, guest gone, and nobody knows since when", makeMigration("m").started(), SourceFacts{Call: CallInFlight, Seen: true, Domain: off}, SourceFollow},
		{"call returned", makeMigration("m").started(), SourceFacts{Call: CallReturned, Seen: true, Domain: running}, SourceEnd},
		{"call returned, hypervisor away", makeMigration("m").started(), SourceFacts{Call: CallReturned}, SourceFollow},

		{"adopted, job running", makeMigration("m").started(), SourceFacts{Call: CallNone, Seen: true, Domain: running, Job: out}, SourceFollow},
		{"adopted, job running, deleted", makeMigration("m").started().deleted(), SourceFacts{Call: CallNone, Seen: true, Domain: running, Job: out}, SourceAbort},
		{"adopted, hypervisor away", makeMigration("m").started(), SourceFacts{Call: CallNone}, SourceFollow},
		{"adopted, no job yet", makeMigration("m").started(), SourceFacts{Call: CallNone, Seen: true, Domain: running, QuietSince: epoch}, SourceFollow},
		{"adopted, no job, which may yet begin", makeMigration("m").started(), SourceFacts{Call: CallNone, Seen: true, Domain: running, QuietSince: quiet}, SourceFollow},
		{"the same, for as long as a call without a guest may take", makeMigration("m").started(),
			SourceFacts{Call: CallNone, Seen: true, Domain: running, QuietSince: epoch.Add(-HungTime)}, SourceFollow},
		{"adopted, no job for as long as libvirt lets a call wait", makeMigration("m").started(),
			SourceFacts{Call: CallNone, Seen: true, Domain: running, QuietSince: waited}, SourceEnd},
		{"adopted, the job was seen, and is gone", seenBefore(), SourceFacts{Call: CallNone, Seen: true, Domain: running, QuietSince: quiet}, SourceEnd},
		{"adopted, guest gone", makeMigration("m").started(), SourceFacts{Call: CallNone, Seen: true, QuietSince: epoch}, SourceEnd},
		{"adopted, guest migrated", makeMigration("m").started(), SourceFacts{Call: CallNone, Seen: true, Domain: off, QuietSince: epoch}, SourceEnd},
		{"answer lost, job running", makeMigration("m").started(), SourceFacts{Call: CallLost, Seen: true, Domain: running, Job: out}, SourceFollow},
		{"answer lost, no job, which may yet begin", makeMigration("m").started(), SourceFacts{Call: CallLost, Seen: true, Domain: running, QuietSince: quiet}, SourceFollow},
		{"answer lost, no job for as long as libvirt lets a call wait", makeMigration("m").started(),
			SourceFacts{Call: CallLost, Seen: true, Domain: running, QuietSince: waited}, SourceEnd},
		{"answer lost, the job was seen, and is gone", seenBefore(), SourceFacts{Call: CallLost, Seen: true, Domain: running, QuietSince: quiet}, SourceEnd},
		{"never called", makeMigration("m").started(), SourceFacts{Call: CallNotMade, Seen: true, Domain: running, QuietSince: epoch}, SourceEnd},
		{"never called, and somebody else migrates the guest", makeMigration("m").started().deleted(),
			SourceFacts{Call: CallNotMade, Seen: true, Domain: running, Job: out}, SourceEnd},

		{"call in flight behind somebody else's migration, deleted", makeMigration("m").started().deleted(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: running, Job: out, Foreign: true, QuietSince: quiet}, SourceFollow},
		{"call in flight behind somebody else's post-copy", makeMigration("m").started(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: half("PostcopyFailed"), Job: out, Foreign: true, QuietSince: quiet}, SourceFollow},
		{"adopted, and somebody else migrates the guest", makeMigration("m").started().deleted(),
			SourceFacts{Call: CallNone, Seen: true, Domain: running, Job: out, Foreign: true, QuietSince: quiet}, SourceFollow},
		{"adopted, and somebody else still migrates the guest", makeMigration("m").started(),
			SourceFacts{Call: CallNone, Seen: true, Domain: running, Job: out, Foreign: true, QuietSince: waited}, SourceEnd},

		{"post-copy", inPostCopy(), SourceFacts{Call: CallInFlight, Seen: true, Domain: half("Postcopy"), Job: out}, SourceFollow},
		{"post-copy, deleted", inPostCopy().deleted(), SourceFacts{Call: CallInFlight, Seen: true, Domain: half("Postcopy"), Job: out}, SourceFollow},
		{"post-copy, deleted, and its state not seen yet", inPostCopy().deleted(), SourceFacts{Call: CallInFlight, Seen: true, Domain: running, Job: out}, SourceFollow},
		{"post-copy goes on though its call returned", inPostCopy(), SourceFacts{Call: CallReturned, Seen: true, Domain: half("Postcopy")}, SourceFollow},
		{"post-copy goes on unattended", inPostCopy(), SourceFacts{Call: CallNone, Seen: true, Domain: half("Postcopy"), QuietSince: quiet}, SourceFollow},
		{"post-copy is broken, its call not back", inPostCopy(), SourceFacts{Call: CallInFlight, Seen: true, Domain: half("PostcopyFailed")}, SourceFollow},
		{"post-copy is broken", inPostCopy(), SourceFacts{Call: CallReturned, Seen: true, Domain: half("PostcopyFailed")}, SourceRecover},
		{"post-copy is broken, adopted", inPostCopy(), SourceFacts{Call: CallNone, Seen: true, Domain: half("PostcopyFailed"), QuietSince: quiet}, SourceRecover},
		{"tried to resume a moment ago", inPostCopy(),
			SourceFacts{Call: CallLost, Seen: true, Domain: half("PostcopyFailed"), LastRecover: epoch.Add(-RecoverInterval / 2)}, SourceFollow},
		{"tried to resume long enough ago", inPostCopy(),
			SourceFacts{Call: CallLost, Seen: true, Domain: half("PostcopyFailed"), LastRecover: epoch.Add(-RecoverInterval)}, SourceRecover},
		{"post-copy is broken, deleted", inPostCopy().deleted(), SourceFacts{Call: CallReturned, Seen: true, Domain: half("PostcopyFailed")}, SourceRecover},
		{"the guest has just arrived whole", inPostCopy().whole(),
			SourceFacts{Call: CallReturned, Seen: true, Domain: half("PostcopyFailed"), WholeSince: epoch.Add(-HungTime / 2)}, SourceFollow},
		{"the guest arrived whole, and the source does not hear of it", inPostCopy().whole(),
			SourceFacts{Call: CallReturned, Seen: true, Domain: half("PostcopyFailed"), WholeSince: epoch.Add(-HungTime)}, SourceEnd},
		{"the same, and libvirt waits for it", inPostCopy().whole(),
			SourceFacts{Call: CallInFlight, Seen: true, Domain: half("Postcopy"), Job: out, WholeSince: epoch.Add(-HungTime)}, SourceEnd},
		{"the same, and somebody has moved the guest on", inPostCopy().whole().onTarget("Shutoff/Migrated", false),
			SourceFacts{Call: CallReturned, Seen: true, Domain: half("PostcopyFailed"), WholeSince: epoch.Add(-HungTime)}, SourceEnd},
		{"the target shows the guest, and its agent has not said that it is whole", inPostCopy().onTarget("Running/Migrated", false),
			SourceFacts{Call: CallReturned, Seen: true, Domain: half("PostcopyFailed")}, SourceRecover},
		{"the guest is lost", lost, SourceFacts{Call: CallReturned, Seen: true, Domain: half("PostcopyFailed")}, SourceFollow},
		{"post-copy ended after all", inPostCopy(), SourceFacts{Call: CallLost, Seen: true, Domain: off}, SourceEnd},

		{"failed, paused by us", pausedByUs(), SourceFacts{Seen: true, Domain: half("User")}, SourceResume},
		{"failed, paused by us, hypervisor away", pausedByUs(), SourceFacts{}, SourceWait},
		{"failed, paused by us, and the target was read before that was seen", asked(pausedByUs(), 2, 1, 0, 0), SourceFacts{Seen: true, Domain: half("User")}, SourceWait},
		{"failed, paused by us, and the target has news", asked(pausedByUs(), 2, 2, 3, 2), SourceFacts{Seen: true, Domain: half("User")}, SourceObserve},
		{"failed, and the guest runs on", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running").onTarget("Absent", true),
			SourceFacts{Seen: true, Domain: running}, SourceWait},
		{"failed, and the guest has stopped, of which only the definition is left", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Shutoff/Shutdown*").onTarget("Absent", true),
			SourceFacts{Seen: true, Domain: &hypervisor.Domain{State: hypervisor.StateShutoff, Reason: hypervisor.ReasonShutdown, Persistent: true}}, SourceWait},
		{"failed, resumed", pausedByUs(), SourceFacts{Seen: true, Domain: running}, SourceObserve},
		{"failed, and the target not read yet", makeMigration("m").ended(v1alpha1.CallFailed, "", "Paused/User").onTarget("Absent", false).pausedByUs(),
			SourceFacts{Seen: true, Domain: half("User")}, SourceWait},

		{"the guest moved on, and its old copy is held", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/Migration").onTarget("Running/Migrated", true),
			SourceFacts{Seen: true, Domain: half("Migration")}, SourceDestroyStale},
		{"its old copy is held, and the target not read since", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/Migration").onTarget("Running/Migrated", false),
			SourceFacts{Seen: true, Domain: half("Migration")}, SourceWait},
		{"its old copy is held, and the target's stands still", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/Migration").onTarget("Paused/User", true),
			SourceFacts{Seen: true, Domain: half("Migration")}, SourceWait},
		{"the guest is whole on the target, and its half is held", endedInHalf().onTarget("Running/Migrated", true).whole(),
			SourceFacts{Seen: true, Domain: half("PostcopyFailed"), Job: out}, SourceDestroyStale},
		{"its half is held, and the guest has stopped on the target", endedInHalf().onTarget("Shutoff/Shutdown", true).whole(),
			SourceFacts{Seen: true, Domain: half("PostcopyFailed"), Job: out}, SourceDestroyStale},
		{"its half is held, and the target not read since", endedInHalf().onTarget("Running/Migrated", false).whole(),
			SourceFacts{Seen: true, Domain: half("PostcopyFailed"), Job: out}, SourceWait},
		{"its half is held, and the guest not known to be whole", endedInHalf().onTarget("Running/Migrated", true),
			SourceFacts{Seen: true, Domain: half("PostcopyFailed"), Job: out}, SourceWait},
		{"the half of somebody else's post-copy", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/Postcopy+MigrationOut").onTarget("Running/Migrated", true).whole(),
			SourceFacts{Seen: true, Domain: half("Postcopy"), Job: out}, SourceWait},
		{"the guest runs on both sides", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running").onTarget("Running/Migrated", true),
			SourceFacts{Seen: true, Domain: running}, SourcePauseCopy},
		{"the guest runs on both sides, and was paused here before", pausedOnce(),
			SourceFacts{Seen: true, Domain: running}, SourceWait},
		{"the guest runs on both sides, and this process has recorded to pause it", pausedOnce(),
			SourceFacts{Seen: true, Domain: running, Pausing: true}, SourcePauseCopy},
		{"the guest runs on both sides, as the target was before the guest was seen to run here",
			asked(makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Unpaused").onTarget("Running/Migrated", true), 3, 2, 0, 0),
			SourceFacts{Seen: true, Domain: &hypervisor.Domain{State: hypervisor.StateRunning, Reason: hypervisor.ReasonUnpaused}}, SourceWait},
		{"the guest runs on both sides, and the target was not read since", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running").onTarget("Running/Migrated", false),
			SourceFacts{Seen: true, Domain: running}, SourceWait},
		{"a person has destroyed a copy", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/User").onTarget("Running/Migrated", true),
			SourceFacts{Seen: true}, SourceObserve},
		{"the guest stopped here, and nothing is left of it", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Shutdown").onTarget("Paused/Migration", true),
			SourceFacts{Seen: true}, SourceWait},

		{"ended", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent"), SourceFacts{}, SourceWait},
		{"succeeded, which nothing that the target adds can change", asked(makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true), 1, 1, 2, 1),
			SourceFacts{Seen: true}, SourceWait},
		{"not settled, and the target has news", asked(makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Paused/Migration", true), 1, 1, 2, 1),
			SourceFacts{Seen: true}, SourceObserve},
		{"ended, definition left", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Migrated*").onTarget("Running/Migrated*", true),
			SourceFacts{Seen: true, Domain: defined}, SourceUndefine},
		{"ended, definition left, and the target was not read since", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Migrated*").onTarget("Running/Migrated*", false),
			SourceFacts{Seen: true, Domain: defined}, SourceWait},
		{"ended, definition left, hypervisor away", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Migrated*").onTarget("Running/Migrated", false),
			SourceFacts{}, SourceWait},
		{"ended, definition left, but somebody started the guest", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Migrated*").onTarget("Running/Migrated", false),
			SourceFacts{Seen: true, Domain: running}, SourceObserve},
		{"settled", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded), SourceFacts{}, SourceDone},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.facts.Object, c.facts.Section, c.facts.Asked = c.b.obj(), CurrentSource(c.b.obj()), epoch
			if got := DecideSource(c.facts, epoch); got != c.want {
				t.Errorf("DecideSource() = %s, want %s", got, c.want)
			}
		})
	}
}

// TestACopyIsPausedOnce, and by another agent only if it shows that it was not paused:
// what a person has resumed or started stays as it is.
func TestACopyIsPausedOnce(t *testing.T) {
	const recorded = "Running/MigrationCanceled"
	for _, c := range []struct {
		before string
		seen   []string
		want   bool
	}{
		{recorded, nil, true},
		{"Running/Booted", nil, true},
		{"Running/Migrated", nil, true},
		{"Running/Wakeup", nil, true},
		{"Running/Unpaused", nil, false}, // It may have been paused, and resumed by a person.
		{"Running/Unknown", nil, false},
		{"Running", nil, false},
		{recorded, []string{recorded}, true},
		{recorded, []string{recorded + "+Backup", recorded}, true},
		{recorded, []string{"Running/Unpaused"}, false},
		{recorded, []string{"Running/Booted"}, false},
		{recorded, []string{"Running/Restored"}, false},
		{recorded, []string{"Running/FromSnapshot"}, false},
		{recorded, []string{"Running/Wakeup"}, false},
		{recorded, []string{"Paused/User", recorded}, false},
		{recorded, []string{"Paused/IOError", "Running/Unpaused"}, false},
		{"Running/Booted", []string{"Shutoff/Destroyed", "Running/Booted"}, false},
		{recorded, []string{"Paused/User"}, false},
		{recorded, []string{"Crashed/Panicked"}, false},
	} {
		b := makeMigration("m").ended(v1alpha1.CallUnknown, "", c.before).onTarget("Running/Migrated", true)
		source := b.lm.Status.Source
		source.End.CopyPausedTime = new(metav1.NewMicroTime(epoch))
		for _, seen := range c.seen {
			SeeSource(source, b.lm.Status.Target, *observed(seen), epoch)
		}
		if got := PauseDue(source.End); got != c.want {
			t.Errorf("recorded of %s, seen as %v since: %t", c.before, c.seen, got)
		}
	}
}

// TestTheTargetIsAnsweredWhileItCleansUp, though the time for that is over by the source's
// clock, which may be ahead, and the manager may be away.
func TestTheTargetIsAnsweredWhileItCleansUp(t *testing.T) {
	resumes := asked(makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Paused/User", true).pausedByUs(), 1, 1, 2, 1)
	undefines := asked(makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running*").onTarget("Shutoff/Failed*", true), 1, 1, 2, 1)
	undefines.lm.Status.Target.DefinedBefore = new(false)
	for name, c := range map[string]struct {
		b    builder
		seen *hypervisor.Domain
	}{
		"the target resumes the guest":   {resumes, nil},
		"the target undefines the guest": {undefines, &hypervisor.Domain{State: hypervisor.StateRunning, Persistent: true}},
	} {
		t.Run(name, func(t *testing.T) {
			lm := c.b.obj()
			facts := SourceFacts{Object: lm, Section: lm.Status.Source, Seen: true, Domain: c.seen, Asked: epoch}
			if out := Judge(lm, epoch); !out.cleansUp() {
				t.Fatalf("nothing is left to do: %+v", out)
			}
			if got := DecideSource(facts, epoch.Add(2*ConfirmTimeout)); got != SourceObserve {
				t.Errorf("DecideSource() = %s", got)
			}
		})
	}
}

// TestStartIsNeverDecidedTwice: whatever else is true, a recorded start excludes
// another one.
func TestStartIsNeverDecidedTwice(t *testing.T) {
	b := makeMigration("m").started()
	for _, call := range []CallState{CallNone, CallInFlight, CallReturned, CallLost} {
		for _, seen := range []bool{true, false} {
			for _, domain := range []*hypervisor.Domain{nil, {State: hypervisor.StateRunning}, {State: hypervisor.StateShutoff}} {
				f := SourceFacts{Object: b.obj(), Section: CurrentSource(b.obj()), Call: call, Seen: seen, Domain: domain}
				for _, now := range []time.Time{epoch, epoch.Add(time.Hour)} {
					if got := DecideSource(f, now); got == SourceStart || got == SourceCheck {
						t.Errorf("%+v: %s", f, got)
					}
				}
			}
		}
	}
}

func TestDecideTarget(t *testing.T) {
	refused := makeMigration("m").admitted().checked()
	refused.lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "attempt-1", Problem: &v1alpha1.Problem{Reason: "Test"}}
	cameAlong := makeMigration("m").ended(v1alpha1.CallFailed, "", "Shutoff/Crashed*").onTarget("Shutoff/Failed*", true)
	cameAlong.lm.Status.Target.DefinedBefore = new(false)
	leftover := func() builder {
		return makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Paused/Migration", true)
	}
	looksOnly := func() builder {
		b := makeMigration("m").admitted()
		b.lm.Status.SourceNode = ""
		return b
	}
	looked := looksOnly()
	looked.lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "attempt-1", ConfirmedTime: new(metav1.NewMicroTime(epoch))}
	for _, c := range []struct {
		name string
		b    builder
		now  time.Time
		want TargetAction
	}{
		{"said to be here already", looksOnly(), epoch, TargetLook},
		{"said to be here already, and looked at", looked, epoch, TargetWait},
		{"not let go ahead", makeMigration("m"), epoch, TargetWait},
		{"source not checked", makeMigration("m").admitted(), epoch, TargetWait},
		{"source checked", makeMigration("m").admitted().checked(), epoch, TargetPrepare},
		{"source checked, deleted", makeMigration("m").admitted().checked().deleted(), epoch, TargetWait},
		{"refused", refused, epoch, TargetWait},
		{"ready", makeMigration("m").admitted().checked().ready(), epoch, TargetObserve},
		{"started", makeMigration("m").started(), epoch, TargetObserve},
		{"ended on the source", makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", false), epoch, TargetConfirm},
		{"confirmed", makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", true), epoch, TargetObserve},
		{"a shell is left, libvirt may yet remove it", leftover(), epoch, TargetObserve},
		{"a shell is left", leftover(), epoch.Add(IncomingGrace), TargetRemoveIncoming},
		{"a definition is left", cameAlong, epoch, TargetUndefine},
		{"a shell is left, and the source was not read since", asked(leftover(), 1, 1, 2, 1), epoch.Add(IncomingGrace), TargetObserve},
		{"a shell is left, and the source has news", asked(leftover(), 2, 1, 1, 1), epoch.Add(IncomingGrace), TargetConfirm},
		{"arrived paused by us", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Paused/User", true).pausedByUs(), epoch, TargetResume},
		{"arrived paused by its user", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Paused/User", true), epoch, TargetObserve},
		{"settled", leftover().finished(metav1.ConditionFalse, v1alpha1.PhaseFailed), epoch.Add(IncomingGrace), TargetDone},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := DecideTarget(TargetFacts{Object: c.b.obj(), Section: CurrentTarget(c.b.obj()), Asked: epoch}, c.now); got != c.want {
				t.Errorf("DecideTarget() = %s, want %s", got, c.want)
			}
		})
	}
}

// TestWhyAGuestStoppedIsRemembered by what was reported, when libvirt does not know any
// more.
func TestWhyAGuestStoppedIsRemembered(t *testing.T) {
	off := func(reason hypervisor.Reason) *hypervisor.Domain {
		return &hypervisor.Domain{State: hypervisor.StateShutoff, Reason: reason, Persistent: true}
	}
	for _, c := range []struct {
		name, reported, want string
		now                  *hypervisor.Domain
	}{
		{"libvirtd has restarted", "Shutoff/Migrated*", "Shutoff/Migrated*", off(hypervisor.ReasonUnknown)},
		{"its definition is gone", "Shutoff/Migrated*", "Shutoff/Migrated", nil},
		{"it was started, and has crashed", "Shutoff/Migrated*", "Shutoff/Crashed*", off(hypervisor.ReasonCrashed)},
		{"a person has destroyed it", "Running/Booted*", "Shutoff/Destroyed*", off(hypervisor.ReasonDestroyed)},
		{"nobody knows why it stopped", "Running/Booted*", "Shutoff/Unknown*", off(hypervisor.ReasonUnknown)},
	} {
		if got := SideSince(*observed(c.reported), c.now, hypervisor.JobStats{}); got != *observed(c.want) {
			t.Errorf("%s: got %+v, want %s", c.name, got, c.want)
		}
	}
}

// asked has each side's observation, and which of the other's it was read after.
func asked(b builder, source, targetAnswers, target, sourceAnswers int64) builder {
	s, t := b.lm.Status.Source.End, b.lm.Status.Target
	s.Observation, t.AnswersSource, t.Observation, s.AnswersTarget = source, targetAnswers, target, sourceAnswers
	return b
}

// TestNothingIsDoneOnOldNews: whatever is to be done after the end, it is done only when
// the other side was read a moment ago.
func TestNothingIsDoneOnOldNews(t *testing.T) {
	both := asked(makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Booted").onTarget("Running/Migrated", true), 2, 2, 3, 3)
	shell := asked(makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Paused/Migration", true), 2, 2, 3, 3)
	for asked, fresh := range map[time.Time]bool{
		{}: false, epoch: true, epoch.Add(IncomingGrace - AnswerAge): false,
	} {
		now := epoch.Add(IncomingGrace)
		source, target := SourceAsk, TargetAsk
		if fresh {
			source, target = SourcePauseCopy, TargetRemoveIncoming
		}
		f := SourceFacts{
			Object: both.obj(), Section: CurrentSource(both.obj()), Seen: true, Asked: asked,
			Domain: &hypervisor.Domain{State: hypervisor.StateRunning, Reason: hypervisor.ReasonBooted},
		}
		if got := DecideSource(f, now); got != source {
			t.Errorf("asked at %s: the source's agent does %s", asked, got)
		}
		if got := DecideTarget(TargetFacts{Object: shell.obj(), Section: CurrentTarget(shell.obj()), Asked: asked}, now); got != target {
			t.Errorf("asked at %s: the target's agent does %s", asked, got)
		}
	}
}

// TestObservationsGrow with what is new, and say what they were read after.
func TestObservationsGrow(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Booted").onTarget("Absent", true)
	source, target := b.lm.Status.Source, b.lm.Status.Target
	for i, step := range []struct {
		source, target string
		want           [4]int64
	}{
		{source: "Running/Booted", want: [4]int64{1, 0, 0, 0}},
		{target: "Absent", want: [4]int64{1, 1, 0, 0}},
		{target: "Running/Migrated", want: [4]int64{1, 1, 1, 0}},
		{source: "Running/Booted", want: [4]int64{1, 1, 1, 1}},
		{source: "Paused/User", want: [4]int64{2, 1, 1, 1}},
		{target: "Running/Migrated", want: [4]int64{2, 2, 1, 1}},
	} {
		if step.source != "" {
			SeeSource(source, target, *observed(step.source), epoch)
		} else {
			SeeTarget(target, source, *observed(step.target))
		}
		if got := [4]int64{source.End.Observation, target.AnswersSource, target.Observation, source.End.AnswersTarget}; got != step.want {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
}

// TestForeign: a job that is older than our call cannot be ours, whoever asks.
func TestForeign(t *testing.T) {
	called := epoch.Add(10 * time.Second)
	now := epoch.Add(20 * time.Second)
	for _, c := range []struct {
		name   string
		called time.Time
		seen   bool
		age    time.Duration
		want   bool
	}{
		{"it began with our call", called, false, 10 * time.Second, false},
		{"it began after our call", called, false, time.Second, false},
		{"it is hardly older than our call: two clocks say that", called, false, 10*time.Second + ageTolerance, false},
		{"it is older than that", called, false, 10*time.Second + ageTolerance + 1, true},
		{"it is older than our call", called, false, 11 * time.Second, true},
		{"it is older, but was once taken for ours: a clock was set", called, true, 11 * time.Second, false},
		{"adopted: it began after the record of the start", time.Time{}, false, 19 * time.Second, false},
		{"adopted: it is older than the record of the start", time.Time{}, false, 21 * time.Second, true},
	} {
		section := makeMigration("m").started().obj().Status.Source
		if c.seen {
			section.JobStartedTime = new(metav1.NewMicroTime(called))
		}
		job := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut, Elapsed: c.age}
		if got := Foreign(section, c.called, job, now); got != c.want {
			t.Errorf("%s: Foreign() = %t", c.name, got)
		}
		if got := Ours(section, c.called, job, now); got == c.want {
			t.Errorf("%s: Ours() = %t", c.name, got)
		}
		if job.Operation = hypervisor.OperationOther; Ours(section, c.called, job, now) || Foreign(section, c.called, job, now) {
			t.Errorf("%s: a job that is no migration is taken for one", c.name)
		}
	}
}

// TestAJobMayWaitForAnother: libvirt lets a migration wait until another job has ended.
func TestAJobMayWaitForAnother(t *testing.T) {
	f := SourceFacts{Object: makeMigration("m").started().obj(), Call: CallNone, Seen: true, Domain: &hypervisor.Domain{State: hypervisor.StateRunning}, QuietSince: epoch}
	f.Section = f.Object.Status.Source
	f.Job = hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: "Dump"}
	for after, want := range map[time.Duration]SourceAction{SettleTime: SourceFollow, JobWait: SourceEnd} {
		if got := DecideSource(f, epoch.Add(after)); got != want {
			t.Errorf("after %s: got %s, want %s", after, got, want)
		}
	}
}
