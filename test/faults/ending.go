//go:build linux

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// verdict is what the status says became of a migration.
type verdict string

// The verdicts.
const (
	pending   verdict = "Pending"
	succeeded verdict = "Succeeded"
	failed    verdict = "Failed"
	// ended: failed, because there is no guest any more.
	ended     verdict = "Ended"
	cancelled verdict = "Cancelled"
	unknown   verdict = "Unknown"
)

// verdictOf reads the status.
func verdictOf(lm *v1alpha1.LiveMigration) verdict {
	switch v, reason := verdicts[lm.Status.Phase], reasonOf(lm); {
	case v == "":
		return pending
	case v == failed && slices.Contains(noGuest, reason):
		return ended
	default:
		return v
	}
}

// verdicts are those of the phases that are not on the way to another.
var verdicts = map[v1alpha1.LiveMigrationPhase]verdict{
	v1alpha1.PhaseSucceeded: succeeded,
	v1alpha1.PhaseFailed:    failed,
	v1alpha1.PhaseCancelled: cancelled,
	v1alpha1.PhaseUnknown:   unknown,
}

// noGuest are the reasons of a failure that say that no guest runs.
var noGuest = []string{v1alpha1.ReasonGuestStopped, v1alpha1.ReasonDomainNotRunning, v1alpha1.ReasonDomainNotFound}

// place is where the guest is in truth.
type place string

// The places.
const (
	onSource     place = "on the source"
	onTarget     place = "on the target"
	pausedSource place = "paused on the source"
	pausedTarget place = "paused on the target"
	nowhere      place = "nowhere"
	// heldSource: it runs on the target, and the source holds it paused.
	heldSource place = "on the target, and held on the source"
	// heldTarget: it runs on the source, and the target holds it paused.
	heldTarget place = "on the source, and held on the target"
	heldBoth   place = "paused on both hosts"
	twice      place = "running on both hosts"
	unseen     place = "not to be seen"
)

// truth is what the hosts say of the guest.
type truth struct {
	source, target lab.DomainState
}

// seek asks both hosts.
func seek(ctx context.Context, g *lab.Guest, source, target *lab.Host) truth {
	return truth{source: source.DomainState(ctx, g.UUID()), target: target.DomainState(ctx, g.UUID())}
}

func (t truth) String() string { return t.source.String() + ", " + t.target.String() }

// isActive says whether a host has a virtual machine of a domain.
func isActive(s lab.DomainState) bool {
	return s.State != lab.StateShutOff && s.State != lab.StateAbsent && s.State != "crashed"
}

func (t truth) place() place {
	switch s, d := isActive(t.source), isActive(t.target); {
	case t.source.Err != nil || t.target.Err != nil:
		return unseen
	case s && d:
		return unlessPaused(t.source, unlessPaused(t.target, twice, heldTarget), unlessPaused(t.target, heldSource, heldBoth))
	case s:
		return unlessPaused(t.source, onSource, pausedSource)
	case d:
		return unlessPaused(t.target, onTarget, pausedTarget)
	default:
		return nowhere
	}
}

func unlessPaused(s lab.DomainState, running, paused place) place {
	if s.State == lab.StatePaused {
		return paused
	}
	return running
}

// ending is what a case may come to: what the status says, and where the guest is.
// There is none in which the two contradict each other.
type ending struct {
	verdict verdict
	place   place
}

// The endings.
var (
	moved            = ending{succeeded, onTarget}
	movedThenStopped = ending{succeeded, nowhere} // It stopped on the target, later.
	movedPaused      = ending{succeeded, pausedTarget}
	stayed           = ending{failed, onSource}
	stayedPaused     = ending{failed, pausedSource}
	wasCancelled     = ending{cancelled, onSource}
	cancelledPaused  = ending{cancelled, pausedSource}
	stopped          = ending{ended, nowhere}
	// lost: the guest stopped at a moment at which nobody can tell what it was.
	lost = ending{unknown, nowhere}
	// held: the target's libvirt had the guest going, but the source's did not hear
	// of it and set its copy going, too. That is libvirt's own doing. The source's
	// agent has paused that copy, and only a person can tell which one is to stay.
	held = ending{unknown, heldSource}
	// lost in post-copy, with one half or the other left.
	lostHalfOnSource   = ending{unknown, pausedSource}
	lostHalfOnTarget   = ending{unknown, onTarget}
	lostPausedOnTarget = ending{unknown, pausedTarget}
)

// names of the endings, for the table.
var endingNames = map[ending]string{
	moved: "Moved", movedThenStopped: "MovedThenStopped", movedPaused: "MovedPaused",
	stayed: "Stayed", stayedPaused: "StayedPaused", wasCancelled: "Cancelled", cancelledPaused: "CancelledPaused", stopped: "Stopped",
	held: "Held", lost: "Lost", lostHalfOnSource: "LostHalfOnSource", lostHalfOnTarget: "LostHalfOnTarget", lostPausedOnTarget: "LostPausedOnTarget",
}

func (e ending) String() string {
	if name, ok := endingNames[e]; ok {
		return name
	}
	return string(e.verdict) + ", guest " + string(e.place)
}

// oneOf shows what is allowed.
func oneOf(endings []ending) string {
	names := make([]string, 0, len(endings))
	for _, e := range endings {
		names = append(names, e.String())
	}
	return strings.Join(names, "|")
}

// runner returns the host on which the ending leaves a whole guest running, if
// any.
func (e ending) runner(source, target *lab.Host) *lab.Host {
	switch {
	case e == held, e.place == onTarget && e.verdict != unknown:
		return target
	case e.place == onSource && e.verdict != unknown:
		return source
	default:
		return nil
	}
}

// reusable says whether the ending leaves a guest that the next case can move.
func (e ending) reusable() bool {
	return e.verdict != unknown && e.verdict != pending && (e.place == onSource || e.place == onTarget)
}
