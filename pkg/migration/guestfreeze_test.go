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
