package simulation

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

func succeededOf(lm *v1alpha1.LiveMigration) metav1.Condition {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// countsAsGone reports whether a message says that a node does, so that nobody has looked
// there.
func countsAsGone(c metav1.Condition, node string) bool {
	return strings.Contains(c.Message, node+" no longer has a Hypervisor")
}

// checkTruth holds a verdict against where the guest was. A guest that has arrived must have
// been on the target alone at some time since the start, whatever has become of it since.
// One that has not must have been where it is said to be after the end of the job was
// reported: its target was read then.
func (o *observer) checkTruth(lm *v1alpha1.LiveMigration) {
	c, g := succeededOf(lm), o.guests[lm.Status.DomainUUID]
	if g == nil {
		o.checkFound(lm, c)
		return
	}
	since, said := o.since(lm, c), truthOf(lm, c, g)
	said = slices.DeleteFunc(said, func(holds func(sight) bool) bool { return seenSince(g.sights, since, holds) })
	if len(said) == 0 {
		return
	}
	o.breaks(saysTheTruth, "%s says %s, but since %s %s has been %s", lm.Name, short(lm), since.Sub(o.began), g.name, whereabouts(g.sights[len(g.sights)-1].copies))
}

// seenSince reports whether something was so at some time since another.
func seenSince(sights []sight, since time.Time, holds func(sight) bool) bool {
	for _, s := range slices.Backward(sights) {
		if holds(s) {
			return true
		}
		if s.at.Before(since) {
			return false
		}
	}
	return false
}

// since is from when on a verdict may have been true.
func (o *observer) since(lm *v1alpha1.LiveMigration, c metav1.Condition) time.Time {
	t := o.times[lm.UID]
	switch {
	case c.Status == metav1.ConditionTrue && !t.started.IsZero():
		return t.started
	case c.Status != metav1.ConditionTrue && !t.ended.IsZero():
		return o.readAt(lm, t.ended).Add(-time.Second)
	default:
		return t.created.Add(-time.Second)
	}
}

// readAt is when the source was read, of which the end was reported at another time: the API
// server may have been away in between, and so may libvirt, so that the agent cannot look again.
func (o *observer) readAt(lm *v1alpha1.LiveMigration, reported time.Time) time.Time {
	source := migration.CurrentSource(lm)
	if source == nil || source.End == nil {
		return reported
	}
	read := source.End.Time.Time
	for _, n := range o.w.hosts {
		if n.name == lm.Status.SourceNode {
			read = read.Add(-n.skew)
		}
	}
	if read.Before(reported) {
		return read
	}
	return reported
}

// truthOf returns what a verdict says of where the guest was, each of which was true at its
// time: the two sides are not read at the same one. Of a node that counts as gone, it says
// nothing, nor of a target that is silent and has shown no copy before.
func truthOf(lm *v1alpha1.LiveMigration, c metav1.Condition, g *watched) []func(sight) bool {
	type is = []func(sight) bool
	source, target := lm.Status.SourceNode, lm.Status.TargetNode
	if countsAsGone(c, target) {
		target = ""
	}
	if countsAsGone(c, source) {
		source = ""
	}
	live := func(s sight, host string) bool { return whole(s.copies[host]) }
	switch {
	case c.Reason == v1alpha1.ReasonChecksPassed:
		return is{func(s sight) bool { return live(s, source) }}
	case c.Status == metav1.ConditionTrue:
		return is{func(s sight) bool { return arrived(s, g.sights[len(g.sights)-1], source, target) }}
	case c.Reason == v1alpha1.ReasonGuestStopped:
		return is{func(s sight) bool { return !live(s, source) }}
	case migration.Started(lm) && !countsAsGone(c, source):
		said := is{func(s sight) bool { return live(s, source) }}
		if !silent(lm, c) {
			said = append(said, func(s sight) bool { return !live(s, target) })
		}
		return said
	default:
		return nil
	}
}

// silent reports whether a message says that the target has not been heard of, which has not
// shown a copy of the guest before.
func silent(lm *v1alpha1.LiveMigration, c metav1.Condition) bool {
	target := migration.CurrentTarget(lm)
	return strings.Contains(c.Message, lm.Status.TargetNode+" has not reported since") && (target == nil || target.Domain == nil || !isActive(target.Domain))
}

// checkFound: once the faults have ended, a guest that is somewhere is found, and so is a
// node.
func (o *observer) checkFound(lm *v1alpha1.LiveMigration, c metav1.Condition) {
	created := o.times[lm.UID].created
	if o.calmSince.IsZero() || created.Sub(o.calmSince) < grace {
		return
	}
	if slices.ContainsFunc(o.w.hosts, func(n *host) bool { return n.lost }) {
		return
	}
	g := o.named(lm.Spec.Domain)
	switch last := g.sights[len(g.sights)-1]; {
	case c.Reason == v1alpha1.ReasonNodeNotFound:
		o.breaks(saysTheTruth, "%s says %s, but there is such a node", lm.Name, short(lm))
	case c.Reason == v1alpha1.ReasonDomainNotFound && active(last.copies) == 1 && last.at.Before(created):
		o.breaks(saysTheTruth, "%s says %s, but the guest is %s", lm.Name, short(lm), whereabouts(last.copies))
	}
}

// checkProof holds the outcome of a migration that was started against what its sides have
// reported: it takes both sides, and each outcome follows from what they show.
func (o *observer) checkProof(lm *v1alpha1.LiveMigration) {
	c, source, target := succeededOf(lm), migration.CurrentSource(lm), migration.CurrentTarget(lm)
	if !migration.Started(lm) || countsAsGone(c, lm.Status.SourceNode) || countsAsGone(c, lm.Status.TargetNode) {
		return
	}
	if why := withoutProof(lm, c, source, target); why != "" {
		o.breaks(hasProof, "%s says %s, but %s", lm.Name, short(lm), why)
	}
}

// withoutProof says why an outcome does not follow, or nothing.
func withoutProof(lm *v1alpha1.LiveMigration, c metav1.Condition, source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) string {
	const paused = string(hypervisor.StatePaused)
	end := source.End
	if end == nil {
		return "the source has not reported the end"
	}
	if c.Status == metav1.ConditionTrue {
		switch {
		case target == nil || target.Domain == nil || !isActive(target.Domain) || migration.ShowsIncoming(target.Domain) && target.Domain.State == paused:
			return "the target has not shown the guest"
		case isActive(&end.Domain):
			return "the source has shown a copy of the guest"
		}
		return ""
	}
	answered := target != nil && target.ConfirmedTime != nil && target.AnswersSource >= end.Observation
	switch {
	case !answered && !end.NeverLeft:
		return "the target was not read after the end"
	case answered && target.Domain != nil && target.Domain.State == paused && migration.SideOf(target.Domain) == migration.SideIncoming:
		return "the target has shown half of the guest"
	case migration.SideOf(&end.Domain) == migration.SidePostcopy && lm.DeletionTimestamp.IsZero():
		return "the source has shown half of the guest"
	}
	return ""
}

func isActive(d *v1alpha1.DomainObservation) bool {
	return migration.SideOf(d) != migration.SideGone && migration.SideOf(d) != migration.SideStopped && migration.SideOf(d) != migration.SideMigrated
}

// checkLeftovers: a definition or a shell that a migration leaves where the guest is not, it
// tells of. What an administrator has defined there is theirs.
func (o *observer) checkLeftovers(lm *v1alpha1.LiveMigration) {
	c, g := succeededOf(lm), o.guests[lm.Status.DomainUUID]
	if !migration.Started(lm) || g == nil {
		return
	}
	copies := g.sights[len(g.sights)-1].copies
	source, target := copies[lm.Status.SourceNode], copies[lm.Status.TargetNode]
	told := strings.Contains(c.Message, "efinition") || countsAsGone(c, lm.Status.SourceNode) || countsAsGone(c, lm.Status.TargetNode)
	switch {
	case told:
	case c.Status == metav1.ConditionTrue && source.Persistent && target.Persistent && !source.Active() && !g.defined[lm.Status.SourceNode]:
		o.breaks(leavesNothing, "%s says %s, and leaves a definition: %s", lm.Name, short(lm), whereabouts(copies))
	case c.Status == metav1.ConditionFalse && whole(source) && target.State == hypervisor.StatePaused && !whole(target) && !migration.CurrentSource(lm).End.NeverLeft:
		o.breaks(leavesNothing, "%s says %s, and leaves a shell: %s", lm.Name, short(lm), whereabouts(copies))
	}
}
