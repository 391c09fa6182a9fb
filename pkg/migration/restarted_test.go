package migration

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// arrivedThenRestarted has the guest arrived on the target in run 3, seen running there by its
// agent, and started again there since, as its user, or the host, does: run 4.
func arrivedThenRestarted(source string, call v1alpha1.CallResult) builder {
	b := makeMigration("m").ended(call, "", source).onTarget("Running/Migrated", true)
	target := b.lm.Status.Target
	target.Domain.ID = 3
	NoteIncoming(target, &v1alpha1.TargetStatus{}, true, epoch)
	target.ArrivedTime = new(metav1.NewMicroTime(epoch))
	target.Domain = &v1alpha1.DomainObservation{State: "Running", Reason: "Booted", ID: 4, Defined: true}
	target.Observation++
	return b
}

// TestAGuestThatArrivedAndWasRestartedHasArrived: the source's agent was away while the guest
// moved, for example because the node was drained and switched off right afterwards, or its
// libvirtd was restarted, which forgets why a guest is shut off. It comes back when the guest,
// which had been seen running on the target, has been restarted there. The guest runs on the
// target and nowhere else, and nobody has lost anything: the migration must end as succeeded,
// and not stay Unknown for ever, holding up all later migrations of the guest.
func TestAGuestThatArrivedAndWasRestartedHasArrived(t *testing.T) {
	for _, source := range []string{"Absent", "Shutoff/Unknown", "Shutoff/Destroyed"} {
		b := arrivedThenRestarted(source, v1alpha1.CallUnknown)
		for _, after := range []time.Duration{0, time.Hour} {
			if got := Judge(b.obj(), epoch.Add(ConfirmTimeout+after)); got.Verdict != VerdictSucceeded && !got.cleansUp() {
				t.Errorf("source %s, after %s: %s: %s", source, after, got.Verdict, got.Message)
			}
		}
		if got := Judge(b.deleted().obj(), epoch.Add(time.Hour)); got.Verdict != VerdictSucceeded && !got.cleansUp() {
			t.Errorf("source %s: an object that is deleted never ends: %s: %s", source, got.Verdict, got.Message)
		}
	}
}

// TestAPausedOldCopyIsNotSaidToBeTheOneToKeep: the guest ran on both hosts, the source's copy
// was paused in favour of the target's, and the message said so. The guest goes on working on
// the target, and its user restarts it there. An operator who now does what the message says
// destroys the copy with all work since, and resumes one whose disks have changed under it.
func TestAPausedOldCopyIsNotSaidToBeTheOneToKeep(t *testing.T) {
	b := arrivedThenRestarted("Paused/User", v1alpha1.CallUnknown)
	end := b.lm.Status.Source.End
	end.CopyPausedTime, end.CopySettledTime = new(metav1.NewMicroTime(epoch)), new(metav1.NewMicroTime(epoch))
	got := Judge(b.obj(), epoch.Add(time.Hour))
	if strings.Contains(got.Message, "that copy is the one to keep") || strings.Contains(got.Message, "destroy the target's copy") && !strings.Contains(got.Message, "if the guest runs well there") {
		t.Errorf("%s: %s", got.Verdict, got.Message)
	}
}

// TestAnOldCopyThatIsHeldIsNotOfferedToBeResumed: the same where libvirt holds the source's copy
// at its switch-over: the guest has been seen running on the target since, so that it must never
// be resumed.
func TestAnOldCopyThatIsHeldIsNotOfferedToBeResumed(t *testing.T) {
	b := arrivedThenRestarted("Paused/Migration", v1alpha1.CallUnknown)
	if got := Judge(b.obj(), epoch.Add(time.Hour)); strings.Contains(got.Message, "the source's goes on from where it was paused") {
		t.Errorf("%s: %s", got.Verdict, got.Message)
	}
}

// TestTwoCopiesDoNotBothGoOnBecauseTheTargetsWasRestarted: both run; before the source's agent
// has looked, the guest is restarted on the target, where it had arrived.
func TestTwoCopiesDoNotBothGoOnBecauseTheTargetsWasRestarted(t *testing.T) {
	b := arrivedThenRestarted("Running/MigrationCanceled", v1alpha1.CallUnknown)
	if got := Judge(b.obj(), epoch.Add(time.Hour)); !got.PauseSource {
		t.Errorf("both copies go on running: %s: %s", got.Verdict, got.Message)
	}
}

// TestABootIsNoIncomingHalf: libvirt shows any domain that is being started as
// Paused/StartingUp, with the job of a start or none, not only one that a migration brings,
// which has the job of an incoming migration. A look between the two must not make a
// boot from a definition what the migration has brought.
func TestABootIsNoIncomingHalf(t *testing.T) {
	for _, job := range []string{"", "+Start"} {
		for source, does := range map[string]func(Outcome) bool{
			"Running/MigrationCanceled": func(o Outcome) bool { return o.PauseSource },
			"Paused/Migration":          func(o Outcome) bool { return o.DestroySource },
		} {
			b := makeMigration("m").ended(v1alpha1.CallUnknown, "", source).onTarget("Absent", true)
			target := b.lm.Status.Target
			for _, seen := range []string{"Absent", "Paused/StartingUp" + job, "Running/Booted", "Paused/User", "Running/Unpaused"} {
				now := *observed(seen)
				if seen != "Absent" {
					now.ID = 7
				}
				before := target.DeepCopy()
				SeeTarget(target, b.lm.Status.Source, now)
				NoteIncoming(target, before, false, epoch)
				if out := Judge(b.obj(), epoch.Add(ConfirmTimeout)); does(out) {
					t.Errorf("%s on the source, %s on the target, seen as %s while it was booted: %+v", source, seen, "Paused/StartingUp"+job, out)
				}
			}
		}
	}
}

// TestAnArrivalThatAnOlderAgentMadeUpDoesNotCount: an agent of the version before wrote
// arrivedTime of any guest whose reason was not Booted, without a half. The status outlives
// the update of the agents.
func TestAnArrivalThatAnOlderAgentMadeUpDoesNotCount(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Booted").onTarget("Running/Restored", true)
	target := b.lm.Status.Target
	target.ArrivedTime = new(metav1.NewMicroTime(epoch)) // No incomingTime.
	if got := Judge(b.obj(), epoch.Add(time.Hour)); got.PauseSource {
		t.Errorf("the right copy is paused: %s: %s", got.Verdict, got.Message)
	}
}

// TestWhatSomebodyElsesJobHasLeftIsNotJudgedAsOurs: our call was refused, as somebody else's
// migration of the guest, to node-c, was under way: no job of ours was ever seen. What that has
// left on the source says nothing about our target, and the guest may run on node-c. Whoever
// does what is said here destroys what the guest on node-c needs, or runs the guest twice.
func TestWhatSomebodyElsesJobHasLeftIsNotJudgedAsOurs(t *testing.T) {
	for source, bad := range map[string]string{
		"Paused/Postcopy+MigrationOut":       "destroy it",
		"Paused/PostcopyFailed+MigrationOut": "destroy it",
		"Paused/Migration":                   "resume it on the source",
	} {
		b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", source).onTarget("Absent", true)
		if b.lm.Status.Source.JobStartedTime != nil {
			t.Fatal("not the situation")
		}
		if got := Judge(b.obj(), epoch.Add(time.Hour)); strings.Contains(got.Message, bad) {
			t.Errorf("%s: %s: %s", source, got.Verdict, got.Message)
		}
	}
}

// TestAWholeGuestThatIsHeldOnTheTargetIsNoIncompleteCopy: both copies run, as a person has
// resumed the source's after it was paused. The target's, which had arrived and was seen running,
// is moved on to a third host, and the target's libvirtd dies at that switch-over: it holds the
// guest paused, with no job, as it would an incoming half. It is the same run that was seen whole.
func TestAWholeGuestThatIsHeldOnTheTargetIsNoIncompleteCopy(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Unpaused").onTarget("Running/Migrated", true)
	target, end := b.lm.Status.Target, b.lm.Status.Source.End
	end.CopyPausedTime, end.CopySettledTime = new(metav1.NewMicroTime(epoch)), new(metav1.NewMicroTime(epoch))
	target.Domain.ID = 3
	NoteIncoming(target, &v1alpha1.TargetStatus{}, true, epoch)
	target.ArrivedTime = new(metav1.NewMicroTime(epoch))
	target.Domain = &v1alpha1.DomainObservation{State: "Paused", Reason: "Migration", ID: 3}
	if got := Judge(b.obj(), epoch.Add(time.Second)); got.RemoveIncoming {
		t.Errorf("a whole guest is destroyed on the target: %s: %s", got.Verdict, got.Message)
	}
}

// TestAGuestThatSomebodyHasStartedOnTheTargetIsNoIncompleteCopy: it is moved on to a third
// host, and libvirt holds it for that switch-over, which looks like an incoming half. It is the
// run that was seen whole before. What comes under another number is a half.
func TestAGuestThatSomebodyHasStartedOnTheTargetIsNoIncompleteCopy(t *testing.T) {
	for _, c := range []struct {
		name string
		// seen is what was seen on the target in turn, each with its number.
		seen    []string
		removes bool
	}{
		{"moved on", []string{"7 Running/Booted", "7 Paused/Migration"}, false},
		{"moved on, and looked at again", []string{"7 Running/Booted", "7 Paused/Migration", "7 Paused/Migration+MigrationOut", "7 Paused/Migration"}, false},
		{"seen while it was moved on", []string{"7 Running/Unpaused+MigrationOut", "7 Paused/Migration"}, false},
		{"paused by its user before", []string{"7 Paused/User", "7 Paused/Migration"}, false},
		{"a half came after it", []string{"7 Running/Booted", "0 Absent", "8 Paused/Migration"}, true},
		{"a half came at once", []string{"7 Running/Booted", "8 Paused/Migration"}, true},
		{"a half of the same number came", []string{"7 Running/Booted", "0 Absent", "7 Paused/Migration"}, true},
		{"a half alone", []string{"7 Paused/Migration", "7 Paused/Migration"}, true},
		{"a half that was being made", []string{"7 Paused/StartingUp", "7 Paused/Migration"}, true},
	} {
		b := makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", true)
		target := b.lm.Status.Target
		for _, seen := range c.seen {
			number, domain, _ := strings.Cut(seen, " ")
			now := *observed(domain)
			now.ID = int64(number[0] - '0')
			before := target.DeepCopy()
			SeeTarget(target, b.lm.Status.Source, now)
			NoteIncoming(target, before, false, epoch)
		}
		if got := Judge(b.obj(), epoch.Add(ConfirmTimeout)); got.RemoveIncoming != c.removes {
			t.Errorf("%s: removes is %t: %s: %s", c.name, got.RemoveIncoming, got.Verdict, got.Message)
		}
	}
}
