package migration

import (
	"fmt"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// GuestClockPatience is how long a guest's agent may take to be there after the guest has
// arrived.
const GuestClockPatience = 5 * time.Second

// GuestClockDue reports whether the clock of a guest is still to be set: its user wants that,
// it has arrived, and it runs, thawed if it was frozen.
func GuestClockDue(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) bool {
	o := lm.Spec.Options
	wanted := o != nil && o.GuestAgent != nil && o.GuestAgent.SetTime != nil && *o.GuestAgent.SetTime
	if ThawDueOnTarget(lm, section) && section.GuestThaw == nil {
		return false // The guest's agent refuses it meanwhile.
	}
	return wanted && section.GuestClock == nil && section.ArrivedTime != nil && section.Domain != nil &&
		SideOf(section.Domain) == SideLive && section.Domain.State == string(hypervisor.StateRunning)
}

// clockTimeout is how long the manager waits to be told of the clock: as long as an agent that
// hangs may take, and its node's to say so.
const clockTimeout = 20 * time.Second

// withClock makes a success pend while the guest's clock is being set.
func withClock(lm *v1alpha1.LiveMigration, out Outcome, now time.Time) Outcome {
	target := CurrentTarget(lm)
	if out.Verdict != VerdictSucceeded || target == nil || !GuestClockDue(lm, target) {
		return out
	}
	if recheck := settleBy(lm, now, clockTimeout); now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		out.Message += "; its clock is being set"
	}
	return out
}

// clockNotSet says why the guest's clock was not set, which its user wants.
func (s *summarizer) clockNotSet() string {
	target, why := CurrentTarget(s.lm), ""
	switch {
	case target == nil:
	case target.GuestClock != nil && target.GuestClock.State == v1alpha1.GuestClockFailed:
		why = target.GuestClock.Message
	case s.out.Status.Phase == v1alpha1.PhaseSucceeded && GuestClockDue(s.lm, target):
		why = "the node's agent has not told in time whether it was"
	}
	if why == "" {
		return ""
	}
	return fmt.Sprintf("The guest's clock was not set on %s: %s. Check the clock in the guest, and that its guest agent runs", s.lm.Status.TargetNode, why)
}
