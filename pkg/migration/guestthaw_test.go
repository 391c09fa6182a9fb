package migration

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// endedFrozen returns a migration that has ended with its guest frozen, on its source or on its target.
func endedFrozen(moved bool) *v1alpha1.LiveMigration {
	now := new(metav1.NowMicro())
	lm := freezing(v1alpha1.GuestFrozen, now.Time)
	lm.Status.SourceNode, lm.Status.TargetNode, lm.Status.DomainName = "a", "b", "web"
	lm.Status.Source.GuestFreeze.FrozenTime = now
	lm.Status.Source.End = &v1alpha1.SourceEnd{Time: *now, Domain: v1alpha1.DomainObservation{State: "Running", Reason: "MigrationCanceled", ID: 7}}
	status := metav1.ConditionFalse
	if moved {
		status = metav1.ConditionTrue
		lm.Status.Source.End.Domain = v1alpha1.DomainObservation{State: "Shutoff", Reason: "Migrated"}
		lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", ArrivedTime: now, Domain: &v1alpha1.DomainObservation{State: "Running", Reason: "Migrated", ID: 7}}
	}
	meta.SetStatusCondition(&lm.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: "Any"})
	return lm
}

// TestWhereAThawIsLeft when a migration has ended: where the guest is, and nowhere if it certainly is not frozen.
func TestWhereAThawIsLeft(t *testing.T) {
	const here, there = "source", "target"
	now := new(metav1.NowMicro())
	for _, c := range []struct {
		name   string
		moved  bool
		change func(*v1alpha1.LiveMigration)
		want   string
	}{
		{"it stays", false, func(*v1alpha1.LiveMigration) {}, here},
		{"it stays paused", false, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.End.Domain.State, lm.Status.Source.End.Domain.Reason = "Paused", "User"
		}, here},
		{"it stays, and nobody knows whether it was frozen", false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze.State = v1alpha1.GuestFreezing }, here},
		{"it stays, was thawed, and may have been frozen since", false, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.GuestFreeze.State, lm.Status.Source.GuestFreeze.FrozenTime = v1alpha1.GuestThawed, nil
		}, here},
		{"it stays and was thawed", false, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.GuestFreeze.State, lm.Status.Source.GuestFreeze.ThawedTime = v1alpha1.GuestThawed, now
		}, ""},
		{"it stays and was not frozen", false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze.State = v1alpha1.GuestNotFrozen }, ""},
		{"it stays, and nobody was asked", false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze = nil }, ""},
		{"it has stopped", false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End.Domain.State = "Shutoff" }, ""},
		{"it is gone", false, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.End.Domain = v1alpha1.DomainObservation{State: v1alpha1.StateAbsent}
		}, ""},
		{"the source has not told of the end", false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = nil }, ""},
		{"the source's section is of another attempt", false, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.AttemptID = "0" }, ""},
		{"the outcome is unknown", false, func(lm *v1alpha1.LiveMigration) { lm.Status.Conditions[0].Status = metav1.ConditionUnknown }, ""},
		{"it has moved", true, func(*v1alpha1.LiveMigration) {}, there},
		{"it has moved and stands paused", true, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.Domain.State, lm.Status.Target.Domain.Reason = "Paused", "User"
		}, there},
		{"it has moved, and thawing it has failed", true, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.GuestThaw = &v1alpha1.GuestThaw{State: v1alpha1.GuestThawFailed}
		}, there},
		{"it has moved and was thawed", true, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.GuestThaw = &v1alpha1.GuestThaw{State: v1alpha1.GuestThawDone}
		}, ""},
		{"it has moved and was not frozen", true, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze.State = v1alpha1.GuestNotFrozen }, ""},
		{"it has moved, and nobody was asked", true, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze = nil }, ""},
		{"it has moved and stopped", true, func(lm *v1alpha1.LiveMigration) { lm.Status.Target.Domain.State = "Shutoff" }, ""},
		{"it was moved on", true, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.Domain.Job = string(hypervisor.OperationMigrationOut)
		}, ""},
		{"it has not been seen to arrive", true, func(lm *v1alpha1.LiveMigration) { lm.Status.Target.ArrivedTime = nil }, ""},
		{"it has moved, and the outcome is unknown", true, func(lm *v1alpha1.LiveMigration) { lm.Status.Conditions[0].Status = metav1.ConditionUnknown }, ""},
	} {
		lm := endedFrozen(c.moved)
		c.change(lm)
		if got := ThawLeftOnSource(lm, CurrentSource(lm)); got != (c.want == here) {
			t.Errorf("%s: on the source it is %t", c.name, got)
		}
		if got := ThawLeftOnTarget(lm, CurrentTarget(lm)); got != (c.want == there) {
			t.Errorf("%s: on the target it is %t", c.name, got)
		}
	}
}

// TestAfterTheEndTheSameRunIsThawed, and no other.
func TestAfterTheEndTheSameRunIsThawed(t *testing.T) {
	at := func(id int64) *v1alpha1.DomainObservation {
		return &v1alpha1.DomainObservation{State: "Running", ID: id}
	}
	running := func(id int64) *hypervisor.Domain { return &hypervisor.Domain{State: hypervisor.StateRunning, ID: id} }
	for _, c := range []struct {
		name   string
		atEnd  *v1alpha1.DomainObservation
		domain *hypervisor.Domain
		want   bool
	}{
		{"the same", at(7), running(7), true},
		{"it stands paused", at(7), &hypervisor.Domain{State: hypervisor.StatePaused, ID: 7}, true},
		{"another", at(7), running(8), false},
		{"nobody knows which it was", at(0), running(0), false},
		{"it is shut off", at(7), &hypervisor.Domain{State: hypervisor.StateShutoff, ID: 7}, false},
		{"it is gone", at(7), nil, false},
		{"nothing was seen", nil, running(7), false},
	} {
		if got := StillThere(c.atEnd, c.domain); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
		lm := endedFrozen(false)
		lm.Status.Source.End.Domain = v1alpha1.DomainObservation{}
		if c.atEnd != nil {
			lm.Status.Source.End.Domain = *c.atEnd
		}
		runs := c.domain != nil && c.domain.State == hypervisor.StateRunning
		if due, _ := ThawDue(ThawFacts{Object: lm, Section: lm.Status.Source, Domain: c.domain}, time.Now()); due != (c.want && runs) {
			t.Errorf("%s: a thaw is due: %t", c.name, due)
		}
	}
}

// TestWhereAGuestIsLeftFrozen is said when its migration ends, with the notice.
func TestWhereAGuestIsLeftFrozen(t *testing.T) {
	for _, c := range []struct {
		name   string
		moved  bool
		phase  v1alpha1.LiveMigrationPhase
		change func(*v1alpha1.LiveMigration)
		want   string
	}{
		{"it goes on", true, v1alpha1.PhaseMigrating, func(*v1alpha1.LiveMigration) {}, ""},
		{"it has moved", true, v1alpha1.PhaseSucceeded, func(*v1alpha1.LiveMigration) {}, "b"},
		{"it has moved and stands paused", true, v1alpha1.PhaseSucceeded, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.Domain.State, lm.Status.Target.Domain.Reason = "Paused", "User"
		}, "b"},
		{"it was thawed there", true, v1alpha1.PhaseSucceeded, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.GuestThaw = &v1alpha1.GuestThaw{State: v1alpha1.GuestThawDone}
		}, ""},
		{"it stays", false, v1alpha1.PhaseCancelled, func(*v1alpha1.LiveMigration) {}, "a"},
		{"it stays, as the migration has failed", false, v1alpha1.PhaseFailed, func(*v1alpha1.LiveMigration) {}, "a"},
		{"it stays paused", false, v1alpha1.PhaseCancelled, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.End.Domain.State, lm.Status.Source.End.Domain.Reason = "Paused", "User"
		}, "a"},
		{"it was thawed here", false, v1alpha1.PhaseCancelled, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.GuestFreeze.State = v1alpha1.GuestThawed }, ""},
		{"it has stopped", false, v1alpha1.PhaseFailed, func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End.Domain.State = "Shutoff" }, ""},
	} {
		lm := endedFrozen(c.moved)
		c.change(lm)
		s := &summarizer{lm: lm}
		s.out.Status.Phase = c.phase
		if got, why := s.leftFrozenOn(); got != c.want || (why == "") != (c.want == "") && lm.Status.Target == nil {
			t.Errorf("%s: on %q: %q", c.name, got, why)
		}
		if told := s.guestNotThawed(); (told == "") != (c.want == "") {
			t.Errorf("%s: it is told that %q", c.name, told)
		}
	}
}
