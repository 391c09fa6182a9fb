package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/monitor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

const (
	// freezePatience is how long a guest's agent is given to freeze it, if it may be frozen for as
	// long. It is more than libvirt waits for the agent.
	freezePatience = 10 * time.Second
	// thawInterval is the time between two tries to have a guest thawed, and thawFirst that while its agent
	// may only just be noticing that there is somebody to talk to again.
	thawInterval = time.Second
	thawFirst    = 100 * time.Millisecond
)

// guestCall is what the agent in a guest is being asked for by the source's session. Such a call may take its time, in
// which the migration has to be looked after: it is made on a goroutine of its own, which ends with the session.
type guestCall struct {
	// returned has what came of it.
	returned chan error
	// freezing and thawing are whether the one or the other is under way, and cancel gives it up.
	freezing, thawing bool
	cancel            context.CancelFunc
	// why is why the guest is thawed, and tried when that was last tried.
	why   string
	tried time.Time
}

func newGuestCall() guestCall { return guestCall{returned: make(chan error, 1), cancel: func() {}} }

// ask makes a call.
func (c *guestCall) ask(ctx context.Context, patience time.Duration, call func(context.Context) error) {
	ctx, c.cancel = context.WithTimeout(ctx, patience)
	go func() { c.returned <- call(ctx) }()
}

// followWait is how long a job may go on unseen. Once a guest that is to be frozen may be about to switch over, as far as
// the job itself tells, there is hardly any time for that.
func (s *sourceSession) followWait() time.Duration {
	const near = 5 // Seconds.
	memory := s.now.job.Memory
	if migration.FreezeDue(s.lm, s.section, s.now.domain) && (memory.BytesPerSecond == 0 || memory.RemainingBytes/memory.BytesPerSecond <= near) {
		return followFirst
	}
	return followInterval
}

// prepareFreeze finds out before the start whether there is anybody to freeze the guest, and how fast the
// guest writes, by which it is foreseen whether it switches over right after the first pass over its memory.
func (s *sourceSession) prepareFreeze(ctx context.Context, section *v1alpha1.SourceStatus) error {
	if migration.FreezeBound(s.lm) == 0 {
		return nil
	}
	live, err := s.hv.DomainXML(ctx, s.lm.Status.DomainUUID, hypervisor.XMLMigratable)
	if err != nil {
		return fmt.Errorf("reading the definition: %w", err)
	}
	needs, err := xmlrewrite.ReadNeeds([]byte(live))
	switch {
	case err != nil:
		return s.unreadable(err)
	case !needs.GuestAgent:
		section.GuestFreeze = &v1alpha1.GuestFreeze{
			State: v1alpha1.GuestNotFrozen, Time: metav1.NewMicroTime(s.node.Clock.Now()),
			Message: "it has no channel to an agent (org.qemu.guest_agent.0) in its definition",
		}
	case !migration.DryRun(s.lm) && !section.GuestPaused:
		section.Load = s.measureLoad(ctx, section)
	}
	return nil
}

// freezeStage is what pkg/monitor has to know of the freeze.
func (s *sourceSession) freezeStage() monitor.FreezeStage {
	switch {
	case s.guest.freezing:
		return monitor.FreezeUnderWay
	case migration.FreezeDue(s.lm, s.section, s.now.domain):
		return monitor.FreezeWanted
	default:
		return monitor.NoFreeze
	}
}

// freeze has the guest frozen. That is recorded before: whoever comes next has to thaw it. Without that record
// it is left alone, as it moves without a freeze just as well.
func (s *sourceSession) freeze(ctx context.Context) {
	freeze := &v1alpha1.GuestFreeze{State: v1alpha1.GuestFreezing, Time: metav1.NewMicroTime(s.node.Clock.Now())}
	s.section.GuestFreeze = freeze
	if !s.writeDown(ctx) {
		freeze.State, freeze.Message = v1alpha1.GuestNotFrozen, "the API server did not confirm in time that this is recorded"
		return
	}
	s.log.Info("Freezing the guest's file systems")
	uuid := s.lm.Status.DomainUUID
	s.guest.freezing = true
	s.guest.ask(ctx, min(freezePatience, migration.FreezeBound(s.lm)), func(ctx context.Context) error { return s.hv.FreezeGuest(ctx, uuid) })
}

// tendFreeze has the guest thawed once that is due. It never waits for the guest's agent.
func (s *sourceSession) tendFreeze(ctx context.Context) {
	facts := s.thawFacts()
	if facts.Section == nil || facts.Section.GuestFreeze == nil {
		return
	}
	if s.guest.freezing && migration.FreezeInVain(facts) {
		s.guest.cancel()
	}
	now := s.node.Clock.Now()
	due, why := migration.ThawDue(facts, now)
	if !due || s.guest.freezing || s.guest.thawing || now.Sub(s.guest.tried) < thawInterval {
		return
	}
	s.log.Info("Thawing the guest's file systems")
	uuid := s.lm.Status.DomainUUID
	s.guest.thawing, s.guest.why = true, why
	s.guest.ask(ctx, freezePatience, func(ctx context.Context) error { return s.hv.ThawGuest(ctx, uuid) })
}

func (s *sourceSession) thawFacts() migration.ThawFacts {
	facts := migration.ThawFacts{Object: s.lm, Section: s.section, Asking: s.guest.freezing}
	if s.now.seen {
		facts.Domain = s.now.domain
	}
	return facts
}

// thawLeft reports whether the guest is here and may still be frozen, though its migration has ended.
func (s *sourceSession) thawLeft() bool {
	if s.guest.thawing {
		return true
	}
	return migration.ThawLeftOnSource(s.lm, s.section) && (!s.now.seen || migration.StillThere(&s.section.End.Domain, s.now.domain))
}

// noteGuestCall takes in what came of a call to the guest's agent.
func (s *sourceSession) noteGuestCall(err error) {
	s.guest.cancel()
	now := metav1.NewMicroTime(s.node.Clock.Now())
	thawed := s.guest.thawing
	s.guest.freezing, s.guest.thawing = false, false
	if s.section == nil || s.section.GuestFreeze == nil {
		return // Of another attempt.
	}
	freeze := s.section.GuestFreeze.DeepCopy()
	s.section.GuestFreeze = freeze
	if thawed {
		s.guest.tried = now.Time
		s.noteThaw(freeze, err, now)
	} else {
		s.noteFreeze(freeze, err, now)
	}
	s.report(atOnce)
}

// noteFreeze notes whether the guest is frozen. What is not known, it may be.
func (s *sourceSession) noteFreeze(freeze *v1alpha1.GuestFreeze, err error, now metav1.MicroTime) {
	switch {
	case err == nil:
		freeze.State, freeze.FrozenTime = v1alpha1.GuestFrozen, &now
		return
	case errors.Is(err, hypervisor.ErrGuestNotAsked):
		freeze.State = v1alpha1.GuestNotFrozen
	}
	s.log.Error(err, "The guest's file systems were not frozen, or it is not known whether they were")
	freeze.Message = migration.Shorten(messageOf(err), migration.MaxMessage)
}

func (s *sourceSession) noteThaw(freeze *v1alpha1.GuestFreeze, err error, now metav1.MicroTime) {
	if err != nil {
		s.log.Error(err, "Thawing the guest's file systems failed; trying again", "after", thawInterval)
		freeze.ThawError = migration.Shorten(messageOf(err), migration.MaxMessage)
		return
	}
	freeze.State, freeze.ThawedTime, freeze.ThawError = v1alpha1.GuestThawed, &now, ""
	if s.guest.why != "" {
		freeze.Message = s.guest.why
	}
}

// thaw has the guest thawed that has just arrived, and notes what came of it. The agent in the guest may need a
// moment to notice that there is somebody to talk to. Once its user has been told, it is tried again until the
// guest is thawed or gone.
func (s *targetSession) thaw(ctx context.Context, section *v1alpha1.TargetStatus) {
	now, interval := s.node.Clock.Now(), thawFirst
	if section.GuestThaw != nil {
		interval = thawInterval
	}
	if !migration.ThawDueOnTarget(s.lm, section) || now.Sub(s.thawTried) < interval {
		return
	}
	if s.thawBegun.IsZero() {
		s.thawBegun = now
		s.out.report(section.DeepCopy(), atOnce) // Where the guest is does not wait for its agent.
	}
	err := s.hv.ThawGuest(ctx, s.lm.Status.DomainUUID)
	if ctx.Err() != nil {
		return // The next agent tries again.
	}
	s.thawTried = s.node.Clock.Now()
	s.noteThaw(section, err)
}

func (s *targetSession) noteThaw(section *v1alpha1.TargetStatus, err error) {
	thaw := &v1alpha1.GuestThaw{State: v1alpha1.GuestThawDone, Time: metav1.NewMicroTime(s.thawTried)}
	if err != nil {
		patient := s.thawTried.Sub(s.thawBegun) < migration.GuestThawPatience && hypervisor.KindOf(err) != hypervisor.KindConfigUnsupported
		if section.GuestThaw != nil || patient {
			return // Its user has been told, or need not be yet.
		}
		s.log.Error(err, "The guest's file systems were not thawed; trying again", "after", thawInterval)
		thaw.State, thaw.Message = v1alpha1.GuestThawFailed, migration.Shorten(messageOf(err), migration.MaxMessage)
	}
	section.GuestThaw = thaw
}

// thawLater goes on trying to have the guest thawed when the migration has ended, until nothing is left to do: done
// is whether that is so. Where the guest is, the end has told.
func (s *targetSession) thawLater(ctx context.Context) (wait time.Duration, done bool) {
	if !migration.ThawLeftOnTarget(s.lm, s.section) {
		return 0, true
	}
	seen := look(ctx, s.hv, s.lm.Status.DomainUUID)
	if !seen.seen {
		return thawInterval, false
	}
	if !migration.StillThere(s.section.Domain, seen.domain) {
		return 0, true
	}
	section := s.section.DeepCopy()
	section.Domain = new(migration.Observe(seen.domain, seen.job))
	s.thaw(ctx, section)
	s.section = s.section.DeepCopy()
	s.section.GuestThaw = section.GuestThaw
	s.out.report(s.section, atOnce)
	return thawInterval, !migration.ThawLeftOnTarget(s.lm, s.section)
}

// leavesFrozen reports whether a migration that has ended may have left its guest frozen on this host, which is its
// source.
func (n *Node) leavesFrozen(lm *v1alpha1.LiveMigration) bool {
	section := migration.CurrentSource(lm)
	return migration.ThawLeftOnSource(lm, section) && n.upSince(section.End.Time)
}

// getsFrozen is the same of its target.
func (n *Node) getsFrozen(lm *v1alpha1.LiveMigration) bool {
	section := migration.CurrentTarget(lm)
	return migration.ThawLeftOnTarget(lm, section) && n.upSince(*section.ArrivedTime)
}

// upSince reports whether this host has been up since a time by its clock, for all that is known: after another start,
// its guests are others, and libvirt begins to number their runs anew.
func (n *Node) upSince(t metav1.MicroTime) bool {
	if n.Files.System == nil {
		return true
	}
	up := hostfiles.Uptime(n.Files.System)
	return up == 0 || n.Clock.Now().Add(-up).Before(t.Time)
}
