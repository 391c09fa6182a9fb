package simulation

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// askedMost is how old an answer may be that is acted on, with the time that the steps take
// from there to the act.
const askedMost = migration.AnswerAge + 5*time.Second

// noteAct judges that an agent is about to do something to a guest whose migration is over:
// the other side has answered a moment ago. There is nobody to answer on a node that counts
// as gone.
func (o *observer) noteAct(host, uuid, what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lm := o.ending(uuid, host)
	if lm == nil {
		return
	}
	t := o.times[lm.UID]
	other, said := lm.Status.SourceNode, t.sourceSaid
	if other == host {
		other, said = lm.Status.TargetNode, t.targetSaid
	}
	if age := time.Since(said); age > askedMost && o.nodes[other] {
		o.breaks(asksFirst, "%s: %s of %s on %s, and %s has not said anything of it for %s", lm.Name, what, o.guests[uuid].name, host, other, age)
	}
}

// ending returns the migration of a guest from or to a host that is over, and not settled.
func (o *observer) ending(uuid, host string) *v1alpha1.LiveMigration {
	for k, lm := range o.moves {
		st, source := &lm.Status, migration.CurrentSource(lm)
		if st.DomainUUID == uuid && (st.SourceNode == host || st.TargetNode == host) && !migration.Finished(lm) &&
			source != nil && source.End != nil && !o.excused[k] {
			return lm
		}
	}
	return nil
}

// noteEffect judges what an agent does to a guest, at the moment in which it does.
func (o *observer) noteEffect(e fake.Effect) {
	before, after := e.Before[e.Host], e.After[e.Host]
	if e.Err != nil || before == after {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w.say("%s on %s: %s -> %s", e.Method, e.Host, whereabouts(e.Before), whereabouts(e.After))
	g := o.guests[e.UUID]
	elsewhere := maps.Clone(e.After)
	delete(elsewhere, e.Host)
	has := func(what func(hypervisor.Domain) bool) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(elsewhere)), what)
	}
	switch e.Method {
	case fake.MethodDestroyIncoming, fake.MethodDestroyStale:
		// What had not all of the guest is no copy of one that has stopped, nor is what it has
		// left behind to run elsewhere.
		left := e.Partial || e.Method == fake.MethodDestroyStale && o.ranElsewhere(g, e.Host)
		if !e.Elsewhere && (!left || !g.mourned) {
			o.breaks(copyKept, "%s destroyed the copy of %s on %s, and now it is %s", e.Method, g.name, e.Host, whereabouts(e.After))
		}
		if e.Method == fake.MethodDestroyStale && !e.Partial && !g.touched && !o.ranElsewhere(g, e.Host) {
			o.breaks(copyKept, "%s destroyed the copy of %s on %s, and it has not run elsewhere", e.Method, g.name, e.Host)
		}
	case fake.MethodSuspend:
		o.checkPause(g, e, has(func(d hypervisor.Domain) bool { return d.State == hypervisor.StateRunning }))
	case fake.MethodUndefine:
		if !has(func(d hypervisor.Domain) bool { return d.Persistent }) {
			o.breaks(definitionKept, "%s lost its definition on %s, and is %s", g.name, e.Host, whereabouts(e.After))
		}
	case fake.MethodResume:
		if g.paused {
			o.breaks(pauseKept, "%s was paused by its user, and is resumed on %s", g.name, e.Host)
		}
		if has(func(d hypervisor.Domain) bool { return d.State == hypervisor.StateRunning }) {
			o.breaks(runsOnce, "%s is resumed on %s beside another copy: %s", g.name, e.Host, whereabouts(e.After))
		}
	}
}

// checkForeign: what a job has done that is not ours is no progress of ours.
func (o *observer) checkForeign(name string, now object) {
	if strings.Contains(string(encode(now["status"])), isBackup) {
		o.breaks(saysTheTruth, "%s shows the job of a backup", name)
	}
}

// ranElsewhere reports whether a guest was seen to run on another host since it was last
// seen to run on this one.
func (o *observer) ranElsewhere(g *watched, host string) bool {
	for _, s := range slices.Backward(g.sights) {
		for other, d := range s.copies {
			if other != host && d.State == hypervisor.StateRunning {
				return true
			}
		}
		if s.copies[host].State == hypervisor.StateRunning {
			return false
		}
	}
	return false
}

// checkPause: of a guest that runs on two hosts, a migration pauses one copy, once. A
// person who resumes it knows why.
func (o *observer) checkPause(g *watched, e fake.Effect, elsewhere bool) {
	lm := o.ending(g.uuid, e.Host)
	if lm == nil || !elsewhere || e.Before[e.Host].State != hypervisor.StateRunning {
		return
	}
	if g.halted[lm.UID] {
		o.breaks(pauseKept, "%s has paused a copy of %s for a second time: %s", lm.Name, g.name, whereabouts(e.After))
	}
	g.halted[lm.UID] = true
}
