package simulation

import (
	"slices"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// Some guests are frozen for their switch-over.

// frozenOn returns on which host a guest runs frozen; empty if it does not.
func (o *observer) frozenOn(g *watched, copies map[string]hypervisor.Domain) string {
	for _, n := range o.w.hosts {
		if copies[n.name].State == hypervisor.StateRunning && !n.libvirt.FrozenSince(g.uuid).IsZero() {
			return n.name
		}
	}
	return ""
}

// tellsOfFreeze reports whether a migration says that its guest may still be frozen.
func tellsOfFreeze(lm *v1alpha1.LiveMigration) bool {
	return slices.ContainsFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool { return n.Reason == v1alpha1.NoticeGuestNotThawed })
}

// freezeBound is for how long a guest may be frozen, by what its migrations allow, those that are gone included, and a while to thaw it.
func (o *observer) freezeBound(g *watched) time.Duration {
	const thaw = 10 * time.Second
	bound := time.Duration(0)
	for _, lm := range o.moves {
		if lm.Status.DomainUUID == g.uuid {
			bound = max(bound, migration.FreezeBound(lm))
		}
	}
	return bound + thaw
}

// seeFrozen judges that a guest runs frozen, for too long though nothing is broken.
func (o *observer) seeFrozen(g *watched, copies map[string]hypervisor.Domain) {
	now := time.Now()
	calm := !o.calmSince.IsZero() && now.Sub(o.calmSince) > grace
	on := o.frozenOn(g, copies)
	switch {
	case on == "", !calm, o.mayStayFrozen(g):
		g.frozen = time.Time{}
	case g.frozen.IsZero():
		g.frozen = now
	case now.Sub(g.frozen) > o.freezeBound(g):
		o.breaks(notLeftFrozen, "%s has been running frozen on %s for %s", g.name, on, now.Sub(g.frozen))
		g.frozen = now
	}
}

// mayStayFrozen reports whether a user was told of a guest, or people have done with it what agents do not see.
func (o *observer) mayStayFrozen(g *watched) bool {
	return g.toldFrozen || g.carried || g.excused || o.anyMove(func(lm *v1alpha1.LiveMigration) bool {
		return lm.Status.DomainUUID == g.uuid && tellsOfFreeze(lm)
	})
}

// checkFrozen judges what is said of a guest: where nothing is broken, it is thawed, and nobody has to be told.
func (o *observer) checkFrozen(before, after *v1alpha1.LiveMigration) {
	if before == nil || tellsOfFreeze(before) || !tellsOfFreeze(after) || o.calmSince.IsZero() {
		return
	}
	if source := migration.CurrentSource(after); source == nil || source.GuestFreeze == nil || source.GuestFreeze.Time.Time.Before(o.calmSince.Add(grace)) {
		return
	}
	o.breaks(notLeftFrozen, "%s says that its guest was not thawed, and nothing kept it from that", after.Name)
}

// judgeFrozen judges when all has settled.
func (o *observer) judgeFrozen(g *watched) {
	copies := g.sights[len(g.sights)-1].copies
	if on := o.frozenOn(g, copies); on != "" && !o.mayStayFrozen(g) {
		o.breaks(notLeftFrozen, "%s is left frozen on %s, and nobody was told", g.name, on)
	}
}
