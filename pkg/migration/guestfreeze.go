package migration

import (
	"cmp"
	"fmt"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What becomes of a guest's file systems, where its user wants them frozen for the switch-over.

// GuestThawPatience is how long the agent in a guest may take to be there after the guest has arrived, until
// its user is told that it may still be frozen.
const GuestThawPatience = 5 * time.Second

// FreezeBound is for how long a guest may stay frozen on its source; zero if nobody wants it frozen.
func FreezeBound(lm *v1alpha1.LiveMigration) time.Duration {
	if o := lm.Spec.Options; o != nil && o.GuestAgent != nil && o.GuestAgent.FreezeSeconds != nil {
		return time.Duration(*o.GuestAgent.FreezeSeconds) * time.Second
	}
	return 0
}

// FreezeDue reports whether the guest is still to be frozen before it may switch over: its user wants that, nobody
// has asked its agent yet, it runs here, and nothing has been done that ends the migration or that
// makes it switch over.
func FreezeDue(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus, domain *hypervisor.Domain) bool {
	if FreezeBound(lm) == 0 || section.GuestFreeze != nil || InPostCopy(section) || CancelDue(lm, section) {
		return false
	}
	if s := section.Steering; s != nil && (s.PostCopy != nil || s.Pause != nil || s.Abort != nil) {
		return false
	}
	return domain != nil && domain.State == hypervisor.StateRunning
}

// maybeFrozen reports whether a guest may be frozen, for all that its source has recorded.
func maybeFrozen(source *v1alpha1.SourceStatus) bool {
	if source == nil || source.GuestFreeze == nil {
		return false
	}
	switch source.GuestFreeze.State {
	case v1alpha1.GuestNotFrozen, v1alpha1.GuestThawed:
		return false
	case v1alpha1.GuestFreezing, v1alpha1.GuestFrozen:
	}
	return true
}

// maybeFrozenSince reports whether a guest that was thawed on its source may have been frozen after that: nobody has
// heard the answer to the freeze, and libvirt may have kept that for later. So it is thawed once more.
func maybeFrozenSince(source *v1alpha1.SourceStatus) bool {
	return source != nil && source.GuestFreeze != nil && source.GuestFreeze.State == v1alpha1.GuestThawed && source.GuestFreeze.FrozenTime == nil
}

// leftFrozen reports whether a guest may have left its source frozen though it was thawed there: the guest on the source
// is another copy after the end.
func leftFrozen(source *v1alpha1.SourceStatus) bool {
	if source == nil || source.GuestFreeze == nil || source.GuestFreeze.State != v1alpha1.GuestThawed || source.End == nil {
		return false
	}
	thawed := source.GuestFreeze.ThawedTime
	return thawed == nil || !thawed.Time.Before(source.End.Time.Time)
}

// ThawFacts are what the source's agent knows of a guest that may be frozen.
type ThawFacts struct {
	Object  *v1alpha1.LiveMigration
	Section *v1alpha1.SourceStatus
	// Domain is the guest as it was just seen; nil if it was not.
	Domain *hypervisor.Domain
	// Asking is whether this process waits for the guest's agent to freeze it.
	Asking bool
}

// ThawDue reports whether the source's agent has to thaw the guest, which it does whenever that may be frozen
// and runs here without need: its time is over, it stays here, or nobody waits for the answer to the freeze any more, as
// after a crash. A guest that is paused cannot be asked, and one that has left is for the target. It says why, if
// its user has to know.
func ThawDue(f ThawFacts, now time.Time) (due bool, why string) {
	if f.Section == nil || !f.runsHere() {
		return false, ""
	}
	if maybeFrozenSince(f.Section) {
		return thawedEarly(f.Section), ""
	}
	freeze, bound := f.Section.GuestFreeze, FreezeBound(f.Object)
	switch {
	case !maybeFrozen(f.Section):
		return false, ""
	case FreezeInVain(f):
		return true, ""
	case f.Asking:
		return false, ""
	case freeze.State == v1alpha1.GuestFreezing:
		return true, freeze.Message
	case bound == 0:
		return true, "options.guestAgent.freezeSeconds was taken away"
	case now.Sub(freeze.Time.Time) >= bound:
		return true, fmt.Sprintf("it had not switched over after %s", bound)
	}
	return false, ""
}

// runsHere reports whether the guest runs here: after the end of the migration, in the same run as then.
func (f ThawFacts) runsHere() bool {
	runs := f.Domain != nil && f.Domain.State == hypervisor.StateRunning && !half(f.Domain)
	return runs && (!Finished(f.Object) || StillThere(sourceAtEnd(f.Section), f.Domain))
}

// thawedEarly reports whether a guest that has stayed was thawed before that.
func thawedEarly(source *v1alpha1.SourceStatus) bool {
	end, thawed := source.End, source.GuestFreeze.ThawedTime
	return end != nil && (thawed == nil || !thawed.After(end.Time.Time))
}

// FreezeInVain reports whether a freeze serves nothing any more: the migration has ended, or is being ended, and
// the guest has not gone.
func FreezeInVain(f ThawFacts) bool {
	return f.Section.End != nil || abortAsked(f.Section) || !InPostCopy(f.Section) && CancelDue(f.Object, f.Section)
}

// ThawDueOnTarget reports whether the target's agent has to thaw the guest, which runs there: whenever it may have
// been frozen, even if no word of that has come.
func ThawDueOnTarget(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) bool {
	source := CurrentSource(lm)
	if section == nil || source == nil || section.GuestThaw != nil && section.GuestThaw.State == v1alpha1.GuestThawDone {
		return false
	}
	return section.ArrivedTime != nil && runsHere(section.Domain) && mayArriveFrozen(lm, source)
}

// mayArriveFrozen reports whether the source may have frozen the guest before it left, for all that is known of it.
func mayArriveFrozen(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) bool {
	unheard := FreezeBound(lm) > 0 && source.GuestFreeze == nil && source.End == nil && source.StartRequestedTime != nil
	return maybeFrozen(source) || maybeFrozenSince(source) || leftFrozen(source) || unheard
}

// runsHere reports whether the guest runs on the target, be it whole or in post-copy.
func runsHere(o *v1alpha1.DomainObservation) bool {
	side := SideOf(o)
	return (side == SideLive || side == SidePostcopy) && o.State == string(hypervisor.StateRunning)
}

// thawTimeout is how long the manager waits to be told of the thaw: as long as an agent that hangs may
// take, and its node's to say so.
const thawTimeout = 30 * time.Second

// withThawThere makes a success pend while the guest is being thawed on the target.
func withThawThere(lm *v1alpha1.LiveMigration, out Outcome, now time.Time) Outcome {
	target := CurrentTarget(lm)
	if out.Verdict != VerdictSucceeded || target == nil || target.GuestThaw != nil || !ThawDueOnTarget(lm, target) {
		return out
	}
	if recheck := settleBy(lm, now, thawTimeout); now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		out.Message += "; its file systems are being thawed"
	}
	return out
}

// withThawHere makes a failure pend while the guest, which runs on the source, may be frozen there.
func withThawHere(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, out Outcome, now time.Time) Outcome {
	if !frozenHere(source) {
		return out
	}
	if recheck := settleBy(lm, now, thawTimeout); now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
	}
	return out
}

// frozenHere reports whether the guest has stayed on the source, runs there, and may be frozen.
func frozenHere(source *v1alpha1.SourceStatus) bool {
	return maybeFrozen(source) && source.End != nil && SideOf(&source.End.Domain) == SideLive &&
		source.End.Domain.State == string(hypervisor.StateRunning)
}

// guestFrozen says that the guest was frozen for its switch-over, and for how long.
func (s *summarizer) guestFrozen(source *v1alpha1.SourceStatus) string {
	target := CurrentTarget(s.lm)
	if source.GuestFreeze == nil || source.GuestFreeze.State != v1alpha1.GuestFrozen || source.GuestFreeze.FrozenTime == nil ||
		target == nil || target.GuestThaw == nil || target.GuestThaw.State != v1alpha1.GuestThawDone {
		return ""
	}
	took := max(0, target.GuestThaw.Time.Sub(source.GuestFreeze.FrozenTime.Time)).Round(time.Millisecond)
	return fmt.Sprintf("The guest's file systems were frozen on %s for the switch-over and thawed on %s, after %s by the clocks of the two",
		s.lm.Status.SourceNode, s.lm.Status.TargetNode, took)
}

// guestNotFrozen says why the guest, whose user wants it frozen, was not, or not until the switch-over.
func (s *summarizer) guestNotFrozen(source *v1alpha1.SourceStatus) string {
	const consistent = "The migration does not depend on it"
	freeze := source.GuestFreeze
	if freeze == nil {
		why := s.neverAskedToFreeze(source)
		if why == "" {
			return ""
		}
		return fmt.Sprintf("The guest's file systems were not frozen for the switch-over: %s. %s", why, consistent)
	}
	switch {
	case freeze.State == v1alpha1.GuestNotFrozen:
		return fmt.Sprintf("The guest's file systems are not frozen for the switch-over: %s. %s. Check that QEMU's guest agent runs in the guest", freeze.Message, consistent)
	case freeze.State == v1alpha1.GuestFreezing && s.out.Status.Phase == v1alpha1.PhaseSucceeded:
		return fmt.Sprintf("It is not known whether the guest's file systems were frozen for the switch-over: %s. %s", cmp.Or(freeze.Message, "its agent had not answered by then"), consistent)
	case freeze.State == v1alpha1.GuestFrozen || freeze.Message == "":
		return ""
	case freeze.FrozenTime != nil && freeze.ThawedTime != nil:
		took := max(0, freeze.ThawedTime.Sub(freeze.FrozenTime.Time)).Round(time.Millisecond)
		return fmt.Sprintf("The guest's file systems were frozen on %s and thawed again after %s: %s. They are not frozen a second time. %s",
			s.lm.Status.SourceNode, took, freeze.Message, consistent)
	default:
		return fmt.Sprintf("It is not known whether the guest's file systems were frozen for the switch-over: %s. %s", freeze.Message, consistent)
	}
}

// neverAskedToFreeze says why the agent of a guest that has moved was not asked to freeze it, which its user wants. The
// target may tell that it has arrived before the source has told all.
func (s *summarizer) neverAskedToFreeze(source *v1alpha1.SourceStatus) string {
	target := CurrentTarget(s.lm)
	arrived := source.End != nil && (target != nil && target.ArrivedTime != nil || s.out.Status.Phase == v1alpha1.PhaseSucceeded)
	switch {
	case FreezeBound(s.lm) == 0, !arrived:
		return ""
	case source.GuestPaused:
		return "the guest stood paused"
	default:
		return "it had switched over before its agent could be asked, as a guest that writes little may"
	}
}
