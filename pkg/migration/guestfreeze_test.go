package migration

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// freezing returns a migration whose user wants the guest frozen for at most ten seconds.
func freezing(state v1alpha1.GuestFreezeState, asked time.Time) *v1alpha1.LiveMigration {
	lm := &v1alpha1.LiveMigration{}
	lm.Spec.Options = &v1alpha1.MigrationOptions{GuestAgent: &v1alpha1.GuestAgentOptions{FreezeSeconds: new(int32(10))}}
	lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1"}
	start := metav1.NewMicroTime(asked)
	lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", StartRequestedTime: &start}
	if state != "" {
		lm.Status.Source.GuestFreeze = &v1alpha1.GuestFreeze{State: state, Time: metav1.NewMicroTime(asked), Message: "no answer"}
	}
	return lm
}

func runningDomain(reason hypervisor.Reason) *hypervisor.Domain {
	return &hypervisor.Domain{State: hypervisor.StateRunning, Reason: reason}
}

// TestWhenAGuestIsToBeFrozen: once, as long as it runs here and nothing has been done to it.
func TestWhenAGuestIsToBeFrozen(t *testing.T) {
	now := time.Now()
	step := &v1alpha1.SteeringStep{}
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.LiveMigration)
		domain *hypervisor.Domain
		want   bool
	}{
		{"its user wants that", func(*v1alpha1.LiveMigration) {}, runningDomain("Booted"), true},
		{"nobody wants that", func(lm *v1alpha1.LiveMigration) { lm.Spec.Options = nil }, runningDomain("Booted"), false},
		{"it was", func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.GuestFreeze = &v1alpha1.GuestFreeze{State: v1alpha1.GuestThawed}
		}, runningDomain("Booted"), false},
		{"it stands paused", func(*v1alpha1.LiveMigration) {}, &hypervisor.Domain{State: hypervisor.StatePaused}, false},
		{"it was not seen", func(*v1alpha1.LiveMigration) {}, nil, false},
		{"it has switched", func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.Steering = &v1alpha1.SteeringStatus{PostCopyTime: new(metav1.NewMicroTime(now))}
		}, runningDomain("Booted"), false},
		{"it is being switched", func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.Steering = &v1alpha1.SteeringStatus{PostCopy: step}
		}, runningDomain("Booted"), false},
		{"it is being paused", func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Pause: step}
		}, runningDomain("Booted"), false},
		{"it is being aborted", func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: step}
		}, runningDomain("Booted"), false},
		{"it is to be cancelled", func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = new(metav1.Now()) }, runningDomain("Booted"), false},
	} {
		lm := freezing("", now)
		c.change(lm)
		if got := FreezeDue(lm, lm.Status.Source, c.domain); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// TestWhenTheSourceThaws what may be frozen and runs there: soon, and never anything else.
func TestWhenTheSourceThaws(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name   string
		state  v1alpha1.GuestFreezeState
		ago    time.Duration
		asking bool
		change func(*v1alpha1.LiveMigration)
		domain *hypervisor.Domain
		want   bool
		why    string
	}{
		{"it was never asked", "", 0, false, nil, runningDomain("Booted"), false, ""},
		{"it certainly is not", v1alpha1.GuestNotFrozen, time.Hour, false, nil, runningDomain("Booted"), false, ""},
		{"it was thawed", v1alpha1.GuestThawed, time.Hour, false, nil, runningDomain("Booted"), false, ""},
		{"it was thawed before it stayed, and may have been frozen since", v1alpha1.GuestThawed, time.Hour, false, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.GuestFreeze.ThawedTime = new(metav1.NewMicroTime(now.Add(-time.Minute)))
			lm.Status.Source.End = &v1alpha1.SourceEnd{Time: metav1.NewMicroTime(now)}
		}, runningDomain("MigrationCanceled"), true, ""},
		{"it was thawed after it had stayed", v1alpha1.GuestThawed, time.Hour, false, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.GuestFreeze.ThawedTime = new(metav1.NewMicroTime(now))
			lm.Status.Source.End = &v1alpha1.SourceEnd{Time: metav1.NewMicroTime(now.Add(-time.Minute))}
		}, runningDomain("MigrationCanceled"), false, ""},
		{"its agent is being asked", v1alpha1.GuestFreezing, time.Second, true, nil, runningDomain("Booted"), false, ""},
		{"nobody waits for its agent", v1alpha1.GuestFreezing, time.Second, false, nil, runningDomain("Booted"), true, "no answer"},
		{"it has time left", v1alpha1.GuestFrozen, 9 * time.Second, false, nil, runningDomain("Booted"), false, ""},
		{"its time is over", v1alpha1.GuestFrozen, 10 * time.Second, false, nil, runningDomain("Booted"), true, "after 10s"},
		{"its time is over, and it stands paused", v1alpha1.GuestFrozen, time.Hour, false, nil, &hypervisor.Domain{State: hypervisor.StatePaused}, false, ""},
		{"its time is over, and it is not seen", v1alpha1.GuestFrozen, time.Hour, false, nil, nil, false, ""},
		{"its time is over, and it has gone ahead", v1alpha1.GuestFrozen, time.Hour, false, nil, runningDomain(hypervisor.ReasonPostcopy), false, ""},
		{"nobody wants it any more", v1alpha1.GuestFrozen, time.Second, false, func(lm *v1alpha1.LiveMigration) { lm.Spec.Options = nil }, runningDomain("Booted"), true, "taken away"},
		{"it is aborted", v1alpha1.GuestFrozen, time.Second, false, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{}}
		}, runningDomain("Booted"), true, ""},
		{"it is cancelled", v1alpha1.GuestFrozen, time.Second, false, func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = new(metav1.Now()) }, runningDomain("Booted"), true, ""},
		{"it has stayed", v1alpha1.GuestFrozen, time.Second, false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = &v1alpha1.SourceEnd{} }, runningDomain("MigrationCanceled"), true, ""},
		{"it has stayed, and nobody knows", v1alpha1.GuestFreezing, time.Second, false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = &v1alpha1.SourceEnd{} }, runningDomain("MigrationCanceled"), true, ""},
	} {
		lm := freezing(c.state, now.Add(-c.ago))
		if c.change != nil {
			c.change(lm)
		}
		got, why := ThawDue(ThawFacts{Object: lm, Section: lm.Status.Source, Domain: c.domain, Asking: c.asking}, now)
		if got != c.want || !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
			t.Errorf("%s: %t %q", c.name, got, why)
		}
	}
}

// TestWhenTheTargetThaws: whenever the guest runs there and may be frozen, whether or not it was told.
func TestWhenTheTargetThaws(t *testing.T) {
	arrived := new(metav1.NowMicro())
	here := &v1alpha1.DomainObservation{State: "Running", Reason: "Migrated"}
	for _, c := range []struct {
		name    string
		state   v1alpha1.GuestFreezeState
		section v1alpha1.TargetStatus
		change  func(*v1alpha1.LiveMigration)
		want    bool
	}{
		{"it was frozen", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, nil, true},
		{"it may be", v1alpha1.GuestFreezing, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, nil, true},
		{"no word of that has come", "", v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, nil, true},
		{"it was not", v1alpha1.GuestNotFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, nil, false},
		{"it was thawed", v1alpha1.GuestThawed, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze.FrozenTime = arrived }, false},
		{"it was thawed, and may have been frozen since", v1alpha1.GuestThawed, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, nil, true},
		{"its other copy was thawed", v1alpha1.GuestThawed, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, func(lm *v1alpha1.LiveMigration) {
			freeze := lm.Status.Source.GuestFreeze
			freeze.FrozenTime, freeze.ThawedTime = arrived, arrived
			lm.Status.Source.End = &v1alpha1.SourceEnd{Time: metav1.NewMicroTime(arrived.Add(-time.Second))}
		}, true},
		{"it was thawed before the end", v1alpha1.GuestThawed, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, func(lm *v1alpha1.LiveMigration) {
			freeze := lm.Status.Source.GuestFreeze
			freeze.FrozenTime, freeze.ThawedTime = arrived, arrived
			lm.Status.Source.End = &v1alpha1.SourceEnd{Time: metav1.NewMicroTime(arrived.Add(time.Second))}
		}, false},
		{"the source has ended without", "", v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = &v1alpha1.SourceEnd{} }, false},
		{"nobody wants that", "", v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, func(lm *v1alpha1.LiveMigration) { lm.Spec.Options = nil }, false},
		{"nobody wants that any more", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here}, func(lm *v1alpha1.LiveMigration) { lm.Spec.Options = nil }, true},
		{"in post-copy", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: &v1alpha1.DomainObservation{State: "Running", Reason: "Postcopy"}}, nil, true},
		{"it has not arrived", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{Domain: here}, nil, false},
		{"it is on its way", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: &v1alpha1.DomainObservation{State: "Paused", Reason: "Migration"}}, nil, false},
		{"it stands paused", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: &v1alpha1.DomainObservation{State: "Paused", Reason: "User"}}, nil, false},
		{"it was thawed here", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here, GuestThaw: &v1alpha1.GuestThaw{State: v1alpha1.GuestThawDone}}, nil, false},
		{"that has failed", v1alpha1.GuestFrozen, v1alpha1.TargetStatus{ArrivedTime: arrived, Domain: here, GuestThaw: &v1alpha1.GuestThaw{State: v1alpha1.GuestThawFailed}}, nil, true},
	} {
		lm := freezing(c.state, time.Now())
		if c.change != nil {
			c.change(lm)
		}
		if got := ThawDueOnTarget(lm, &c.section); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// TestWhatIsToldOfAFreeze, once it is known.
func TestWhatIsToldOfAFreeze(t *testing.T) {
	now := metav1.NewMicroTime(time.Now())
	later := metav1.NewMicroTime(now.Add(1500 * time.Millisecond))
	running := v1alpha1.DomainObservation{State: "Running", Reason: "Migrated"}
	gone := &v1alpha1.SourceEnd{Domain: v1alpha1.DomainObservation{State: "Shutoff", Reason: "Migrated"}}
	stayed := &v1alpha1.SourceEnd{Domain: v1alpha1.DomainObservation{State: "Running", Reason: "MigrationCanceled"}}
	here := &v1alpha1.TargetStatus{AttemptID: "1", ArrivedTime: &now, Domain: &running}
	with := func(state v1alpha1.GuestThawState, message string) *v1alpha1.TargetStatus {
		target := here.DeepCopy()
		target.GuestThaw = &v1alpha1.GuestThaw{State: state, Time: later, Message: message}
		return target
	}
	const goesOn, succeeded, cancelled = v1alpha1.PhaseMigrating, v1alpha1.PhaseSucceeded, v1alpha1.PhaseCancelled
	for _, c := range []struct {
		name   string
		freeze *v1alpha1.GuestFreeze
		end    *v1alpha1.SourceEnd
		target *v1alpha1.TargetStatus
		phase  v1alpha1.LiveMigrationPhase
		// frozen, notFrozen and notThawed are a part of what is said; empty is nothing.
		frozen, notFrozen, notThawed string
	}{
		{"nothing has happened yet", nil, nil, nil, goesOn, "", "", ""},
		{"it has arrived, and the source has not told all", nil, nil, here, goesOn, "", "", ""},
		{"nobody was asked", nil, gone, here, succeeded, "", "before its agent could be asked", ""},
		{"nobody was asked, and it has not been seen there", nil, gone, &v1alpha1.TargetStatus{AttemptID: "1"}, goesOn, "", "", ""},
		{"nobody was asked, and it has moved", nil, gone, &v1alpha1.TargetStatus{AttemptID: "1"}, succeeded, "", "before its agent could be asked", ""},
		{"it was thawed, and nobody knows whether it was frozen", &v1alpha1.GuestFreeze{State: v1alpha1.GuestThawed, ThawedTime: &later, Message: "no answer"}, nil, nil, goesOn, "", "not known", ""},
		{"it stays, and nobody was asked", nil, stayed, nil, cancelled, "", "", ""},
		{"it is frozen", &v1alpha1.GuestFreeze{State: v1alpha1.GuestFrozen, FrozenTime: &now}, nil, nil, goesOn, "", "", ""},
		{"it was thawed on the target", &v1alpha1.GuestFreeze{State: v1alpha1.GuestFrozen, FrozenTime: &now}, gone, with(v1alpha1.GuestThawDone, ""), succeeded, "after 1.5s", "", ""},
		{"it was not thawed on the target", &v1alpha1.GuestFreeze{State: v1alpha1.GuestFrozen, FrozenTime: &now}, gone, with(v1alpha1.GuestThawFailed, "deaf"), succeeded, "", "", "on b: deaf"},
		{"the target has not told", &v1alpha1.GuestFreeze{State: v1alpha1.GuestFrozen, FrozenTime: &now}, gone, here, succeeded, "", "", "has not told in time"},
		{"nobody knows", &v1alpha1.GuestFreeze{State: v1alpha1.GuestFreezing}, gone, with(v1alpha1.GuestThawDone, ""), succeeded, "", "had not answered by then", ""},
		{"it is refused", &v1alpha1.GuestFreeze{State: v1alpha1.GuestNotFrozen, Message: "no channel"}, nil, nil, goesOn, "", "no channel", ""},
		{"it was frozen in vain", &v1alpha1.GuestFreeze{State: v1alpha1.GuestThawed, FrozenTime: &now, ThawedTime: &later, Message: "too long"}, nil, nil, goesOn, "", "after 1.5s: too long", ""},
		{"it stays, and was thawed", &v1alpha1.GuestFreeze{State: v1alpha1.GuestThawed, FrozenTime: &now, ThawedTime: &later}, stayed, nil, cancelled, "", "", ""},
		{"it stays frozen", &v1alpha1.GuestFreeze{State: v1alpha1.GuestFrozen, FrozenTime: &now, ThawError: "deaf"}, stayed, nil, cancelled, "", "", "on a: deaf"},
	} {
		lm := freezing("", now.Time)
		lm.Status.SourceNode, lm.Status.TargetNode, lm.Status.DomainName = "a", "b", "web"
		lm.Status.Source.GuestFreeze, lm.Status.Source.End, lm.Status.Target = c.freeze, c.end, c.target
		s := &summarizer{lm: lm}
		s.out.Status.Phase = c.phase
		for _, told := range []struct{ got, want string }{
			{s.guestFrozen(lm.Status.Source), c.frozen}, {s.guestNotFrozen(lm.Status.Source), c.notFrozen}, {s.guestNotThawed(), c.notThawed},
		} {
			if (told.got == "") != (told.want == "") || !strings.Contains(told.got, told.want) {
				t.Errorf("%s: it says %q, want %q", c.name, told.got, told.want)
			}
		}
		if c.notThawed != "" && !strings.Contains(s.guestNotThawed(), "virsh domfsthaw web") {
			t.Errorf("%s: it does not say what to do", c.name)
		}
	}
}

// TestAVerdictWaitsForTheThaw, on either side, and not for ever.
func TestAVerdictWaitsForTheThaw(t *testing.T) {
	now := metav1.NewMicroTime(time.Now())
	running := v1alpha1.DomainObservation{State: "Running", Reason: "Migrated"}
	for _, c := range []struct {
		name    string
		verdict Verdict
		change  func(*v1alpha1.LiveMigration)
		want    Verdict
	}{
		{"it is being thawed", VerdictSucceeded, func(*v1alpha1.LiveMigration) {}, VerdictPending},
		{"there is no target", VerdictSucceeded, func(lm *v1alpha1.LiveMigration) { lm.Status.Target = nil }, VerdictSucceeded},
		{"nobody knows yet", VerdictUnknown, func(*v1alpha1.LiveMigration) {}, VerdictUnknown},
		{"it was thawed", VerdictSucceeded, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.GuestThaw = &v1alpha1.GuestThaw{State: v1alpha1.GuestThawDone}
		}, VerdictSucceeded},
		{"that has failed", VerdictSucceeded, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.GuestThaw = &v1alpha1.GuestThaw{State: v1alpha1.GuestThawFailed}
		}, VerdictSucceeded},
		{"it takes too long", VerdictSucceeded, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Attempt.EndSeenTime = new(metav1.NewMicroTime(now.Add(-thawTimeout)))
		}, VerdictSucceeded},
		{"it was not frozen", VerdictSucceeded, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze.State = v1alpha1.GuestNotFrozen }, VerdictSucceeded},
		{"it is being thawed here", VerdictFailed, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = &v1alpha1.SourceEnd{Domain: running} }, VerdictPending},
		{"that takes too long", VerdictFailed, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.End = &v1alpha1.SourceEnd{Domain: running}
			lm.Status.Attempt.EndSeenTime = new(metav1.NewMicroTime(now.Add(-thawTimeout)))
		}, VerdictFailed},
		{"it stands paused here", VerdictFailed, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.End = &v1alpha1.SourceEnd{Domain: v1alpha1.DomainObservation{State: "Paused", Reason: "User"}}
		}, VerdictFailed},
		{"it was thawed here", VerdictFailed, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.End = &v1alpha1.SourceEnd{Domain: running}
			lm.Status.Source.GuestFreeze.State = v1alpha1.GuestThawed
		}, VerdictFailed},
	} {
		lm := freezing(v1alpha1.GuestFrozen, now.Time)
		lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", ArrivedTime: &now, Domain: &running}
		c.change(lm)
		out := Outcome{Verdict: c.verdict}
		if c.verdict == VerdictFailed {
			out = withThawHere(lm, lm.Status.Source, out, now.Time)
		} else {
			out = withThawThere(lm, out, now.Time)
		}
		if out.Verdict != c.want || (out.Verdict == VerdictPending) != !out.Recheck.IsZero() {
			t.Errorf("%s: %s, again at %s", c.name, out.Verdict, out.Recheck)
		}
	}
}
