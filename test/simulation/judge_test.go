package simulation

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// judgeEnd judges what is left when nothing happens any more.
func (o *observer) judgeEnd() {
	o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.said.violations) > 0 {
		return
	}
	unknown := map[string]bool{}
	for _, k := range slices.SortedFunc(maps.Keys(o.moves), compareKeys) {
		lm := o.moves[k]
		switch {
		case lm.Status.Phase == v1alpha1.PhaseUnknown:
			unknown[lm.Status.DomainUUID] = true
			if !o.excused[k] {
				o.judgeUnknown(lm)
			}
		case o.stayHalves(lm):
			unknown[lm.Status.DomainUUID] = true
		case !o.excused[k] && migration.Finished(lm):
			o.judgeFinished(lm)
			o.judgeClock(lm)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(o.moves), compareKeys) {
		if lm := o.moves[k]; !o.excused[k] && !migration.Finished(lm) && lm.Status.Phase != v1alpha1.PhaseUnknown {
			o.judgeUnfinished(lm, unknown)
		}
	}
	for _, g := range o.w.guests {
		o.judgePaused(o.of(g))
		o.judgeCopies(o.of(g))
		o.judgeFunction(o.of(g))
		o.judgeFrozen(o.of(g))
	}
}

// judgeCopies: where a guest is left running on several hosts, one of which it was seen to
// arrive on, and not because somebody has started it again, a migration says so.
func (o *observer) judgeCopies(g *watched) {
	copies := g.sights[len(g.sights)-1].copies
	running := 0
	for _, d := range copies {
		if d.State == hypervisor.StateRunning && !d.InPostCopy() {
			running++
		}
	}
	if running < 2 || g.touched || g.told || g.mourned || g.excused {
		return
	}
	seen := false
	for _, lm := range o.moves {
		text, target := short(lm), migration.CurrentTarget(lm)
		seen = seen || lm.Status.DomainUUID == g.uuid && target != nil && target.ArrivedTime != nil
		if lm.Status.DomainUUID == g.uuid && (lm.Status.Phase == v1alpha1.PhaseUnknown || strings.Contains(text, "has run on") || strings.Contains(text, "at the same time")) {
			return
		}
	}
	if seen {
		o.breaks(runsOnce, "%s is left running twice, and nobody is told: %s", g.name, whereabouts(copies))
	}
}

func (o *observer) judgeFinished(lm *v1alpha1.LiveMigration) {
	if !lm.DeletionTimestamp.IsZero() {
		o.breaks(settles, "%s has ended and is being deleted, and does not go", lm.Name)
	}
	if ttl := lm.Spec.TTLSecondsAfterFinished; ttl != nil && time.Since(lm.Status.CompletionTime.Time) > time.Duration(*ttl+5)*time.Second {
		o.breaks(settles, "%s has outlived its time to live", lm.Name)
	}
	if !migration.Settled(lm) {
		o.breaks(settles, "%s has ended, but something is left to be said", lm.Name)
	}
}

// wasElsewhere reports whether the guest was ever seen on another host than two.
func (g *watched) wasElsewhere(one, other string) bool {
	return slices.ContainsFunc(g.sights, func(s sight) bool {
		for host, d := range s.copies {
			if host != one && host != other && d.Active() {
				return true
			}
		}
		return false
	})
}

// judgeUnknown: where the guest is on one side alone, there is an outcome, unless somebody
// is just moving it away, or has moved it from the target to where it was lost since: of that,
// no side knows.
func (o *observer) judgeUnknown(lm *v1alpha1.LiveMigration) {
	g := o.guests[lm.Status.DomainUUID]
	copies := g.sights[len(g.sights)-1].copies
	if active(copies) > 1 {
		return
	}
	source, target := copies[lm.Status.SourceNode], copies[lm.Status.TargetNode]
	if target.Reason == hypervisor.ReasonMigrated && !target.Active() && g.wasElsewhere(lm.Status.SourceNode, lm.Status.TargetNode) {
		return
	}
	booted := target.Reason == hypervisor.ReasonBooted || g.touched
	if whole(source) && !target.Active() || whole(target) && !source.Active() && !booted {
		o.breaks(settles, "%s is not known, though %s is %s: %s", lm.Name, g.name, whereabouts(copies), short(lm))
	}
}

// stayHalves reports whether a migration does not end because each side has half of its
// guest, and nobody can bring them together.
func (o *observer) stayHalves(lm *v1alpha1.LiveMigration) bool {
	g := o.guests[lm.Status.DomainUUID]
	return g != nil && !migration.Finished(lm) && migration.InPostCopy(migration.CurrentSource(lm)) && o.halves(g)
}

// judgeUnfinished: only one that waits for another of the same guest may be left.
func (o *observer) judgeUnfinished(lm *v1alpha1.LiveMigration, unknown map[string]bool) {
	c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c != nil && c.Reason == v1alpha1.ReasonWaitingForOtherMigration && o.waitsFor(lm, unknown) {
		return
	}
	if o.stayHalves(lm) {
		return
	}
	o.breaks(settles, "%s does not end: %s", lm.Name, short(lm))
}

// waitsFor reports whether the guest of a migration that waits is one whose whereabouts
// another does not know.
func (o *observer) waitsFor(lm *v1alpha1.LiveMigration, unknown map[string]bool) bool {
	g := o.named(lm.Spec.Domain)
	return unknown[lm.Status.DomainUUID] || g != nil && unknown[g.uuid]
}

// halves reports whether post-copy has left a guest in two halves, which nobody but libvirt
// can join.
func (o *observer) halves(g *watched) bool {
	for _, d := range g.sights[len(g.sights)-1].copies {
		if d.InPostCopy() {
			return true
		}
	}
	return false
}

// tellsOfPause reports whether a migration says what is to be done about a guest that stands
// paused: that it does is not enough.
func tellsOfPause(lm *v1alpha1.LiveMigration) bool {
	return strings.Contains(short(lm), "resume") || strings.Contains(short(lm), "destroy the paused one")
}

// takenAway reports whether somebody has moved a guest, in the middle of a migration of ours,
// to a host that has nothing to do with that: its user is told that the outcome is not known,
// and nobody of ours sees where it is.
func (o *observer) takenAway(g *watched, host string) bool {
	taken := false
	for _, lm := range o.moves {
		if lm.Status.DomainUUID != g.uuid || !migration.Started(lm) {
			continue
		}
		if lm.Status.SourceNode == host || lm.Status.TargetNode == host {
			return false
		}
		taken = taken || lm.Status.Phase == v1alpha1.PhaseUnknown
	}
	return taken
}

// judgePaused: a guest that stands paused was paused by its user, or its user was told.
func (o *observer) judgePaused(g *watched) {
	copies := g.sights[len(g.sights)-1].copies
	if g.touched || g.paused || active(copies) != 1 {
		return
	}
	for host, d := range copies {
		if d.State != hypervisor.StatePaused || !whole(d) || o.takenAway(g, host) {
			continue
		}
		told := slices.ContainsFunc(slices.Collect(maps.Values(o.moves)), func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.DomainUUID == g.uuid && tellsOfPause(lm)
		})
		if !told && !o.told[g.uuid] && !g.excused {
			o.breaks(notLeftPaused, "%s is paused on %s, and nobody was told", g.name, host)
		}
	}
}

// arrived reports whether a guest was seen to be on its target alone. What libvirt holds
// paused on the source is but an old copy. Of a guest that its user had paused, that copy
// looks like the guest itself until libvirt has removed it, so it must have gone since.
func arrived(then, last sight, source, target string) bool {
	old, guest := then.copies[source], then.copies[target]
	if !whole(guest) || !whole(old) {
		return whole(guest)
	}
	return old.State == hypervisor.StatePaused && guest.State == hypervisor.StatePaused && !whole(last.copies[source])
}

func TestArrived(t *testing.T) {
	t.Parallel()
	runs := hypervisor.Domain{State: hypervisor.StateRunning, Reason: hypervisor.ReasonMigrated}
	shell := hypervisor.Domain{State: hypervisor.StatePaused, Reason: hypervisor.ReasonMigration}
	paused := hypervisor.Domain{State: hypervisor.StatePaused, Reason: hypervisor.ReasonUser}
	none := hypervisor.Domain{}
	for _, c := range []struct {
		name                       string
		source, target, sourceLast hypervisor.Domain
		want                       bool
	}{
		{"on the target alone", none, runs, none, true},
		{"on the target, and an old copy is held", shell, runs, shell, true},
		{"still on the source", runs, shell, none, false},
		{"nowhere", none, none, none, false},
		{"on both", runs, runs, none, false},
		{"paused on the source, and running on the target", paused, runs, none, false},
		{"paused by its user, and libvirt has removed the old copy since", paused, paused, none, true},
		{"paused by its user, and both are there still", paused, paused, paused, false},
	} {
		then := sight{copies: map[string]hypervisor.Domain{"a": c.source, "b": c.target}}
		last := sight{copies: map[string]hypervisor.Domain{"a": c.sourceLast}}
		if got := arrived(then, last, "a", "b"); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
