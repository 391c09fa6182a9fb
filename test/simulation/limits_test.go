package simulation

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// job is a migration that libvirt carries out because an agent has asked for it.
type job struct {
	name     string
	uid      types.UID
	from, to string
}

// jobs are those that there are, whatever statuses say.
type jobs struct {
	// asked is what an agent has asked for last about a guest, and running what has begun.
	asked, running map[string]job
	// byHand is how many people are moving a guest: whose job begins then, nobody knows.
	byHand map[string]int
}

func newJobs() jobs {
	return jobs{asked: map[string]job{}, running: map[string]job{}, byHand: map[string]int{}}
}

// noteByHand takes in that a person begins or ends to move a guest.
func (o *observer) noteByHand(uuid string, more int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.jobs.byHand[uuid] += more
	o.guests[uuid].carried = true
}

// noteMigrate judges that an agent is about to have libvirt begin a job: that it does was
// recorded before, that the manager has given it a slot, and how and to where the guest goes.
func (o *observer) noteMigrate(host, uuid string, params hypervisor.MigrateParams) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lm := o.recorded(host, uuid)
	switch g := o.guests[uuid]; {
	case lm == nil && !g.excused:
		o.breaks(recordedFirst, "%s is to leave %s, which is recorded nowhere", g.name, host)
	case lm == nil:
	case migration.DryRun(lm):
		o.breaks(touchesNothing, "%s is a dry run, and has a job", lm.Name)
	case lm.Status.Attempt.CopyGrantedTime == nil:
		o.breaks(withinLimits, "%s is started without a slot", lm.Name)
	default:
		o.checkPlace(lm, params)
		o.checkTransfer(lm, params)
		o.jobs.asked[uuid] = job{lm.Name, lm.UID, host, lm.Status.TargetNode}
	}
}

// recorded returns the migration of a guest whose start is recorded, and that goes on.
func (o *observer) recorded(host, uuid string) *v1alpha1.LiveMigration {
	for _, lm := range o.moves {
		if lm.Status.SourceNode == host && lm.Status.DomainUUID == uuid && migration.Started(lm) && !migration.Finished(lm) &&
			migration.CurrentSource(lm).End == nil {
			return lm
		}
	}
	return nil
}

// noteStage takes in how far a job has come, and counts those that there are.
func (o *observer) noteStage(uuid string, stage fake.Stage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch asked, ok := o.jobs.asked[uuid]; {
	case stage == fake.StageSwitched, stage == fake.StageOver:
		// All of the guest has been copied, or nothing is copied any more.
		delete(o.jobs.running, uuid)
	case stage == fake.StagePreparing && ok && o.jobs.byHand[uuid] == 0:
		delete(o.jobs.asked, uuid)
		o.jobs.running[uuid] = asked
		o.countJobs()
	}
}

// countJobs holds the jobs to the limits. Of a migration whose outcome is not known, nothing
// is copied any more, though libvirt may keep the job of a half that nobody can complete; nor
// of one whose source has seen the end, though the target may still be taking its half away;
// nor of a guest that is whole on its target, though its source may not have heard of that.
// One that has been interrupted in post-copy counts for its nodes alone, even if it goes on.
func (o *observer) countJobs() {
	over, broken := map[types.UID]bool{}, map[types.UID]bool{}
	for _, lm := range o.moves {
		source := migration.CurrentSource(lm)
		target := migration.CurrentTarget(lm)
		over[lm.UID] = lm.Status.Phase == v1alpha1.PhaseUnknown || source != nil && source.End != nil || target != nil && target.LostTime != nil
		broken[lm.UID] = source != nil && source.Recovery != nil
	}
	from, to, all := map[string]int{}, map[string]int{}, 0
	for uuid, j := range o.jobs.running {
		if sights := o.guests[uuid].sights; !over[j.uid] && !whole(sights[len(sights)-1].copies[j.to]) {
			from[j.from]++
			to[j.to]++
			if !broken[j.uid] {
				all++
			}
		}
	}
	for _, n := range o.w.hosts {
		o.within(from[n.name], o.w.limits.Source, "jobs that leave "+n.name)
		o.within(to[n.name], o.w.limits.Target, "jobs that come to "+n.name)
	}
	o.within(all, o.most(), "jobs in all")
}

// most is how many may be copied at once in the whole cluster.
func (o *observer) most() int {
	if o.w.limits.Cluster == 0 {
		return len(o.w.hosts)
	}
	return o.w.limits.Cluster
}

// checkLimits counts what goes on at once, by what the API server says.
func (o *observer) checkLimits() {
	type place struct {
		stage migration.Stage
		at    string
	}
	count, guests, checks := map[place]int{}, map[string]string{}, map[string]int{}
	for _, k := range slices.SortedFunc(maps.Keys(o.moves), compareKeys) {
		lm := o.moves[k]
		if migration.Finished(lm) {
			continue
		}
		c, t := migration.NewClaim(lm, time.Now()), o.times[lm.UID]
		// Where the source is lost, the target's word that the copy is over is enough.
		t.freed = t.freed || c.Stage == migration.StageEnding || migration.CopyIsOver(lm)
		if c.Stage == migration.StageWaiting || t.freed && c.Stage == migration.StageCopying {
			continue
		}
		if migration.DryRun(lm) {
			// One that asks whether the guest is on its target already tries nothing out.
			if c.Stage == migration.StagePreparing {
				checks["from "+c.Source]++
				checks["to "+c.Target]++
			}
			continue
		}
		if other := guests[c.Guest]; other != "" {
			o.breaks(withinLimits, "%s and %s move the same guest", other, lm.Name)
		}
		guests[c.Guest] = lm.Name
		count[place{c.Stage, "from " + c.Source}]++
		count[place{c.Stage, "to " + c.Target}]++
		if source := migration.CurrentSource(lm); source == nil || source.Recovery == nil {
			count[place{c.Stage, "in all"}]++
		}
	}
	for _, n := range o.w.hosts {
		o.within(count[place{migration.StageCopying, "from " + n.name}], o.w.limits.Source, "copied from "+n.name)
		o.within(count[place{migration.StageCopying, "to " + n.name}], o.w.limits.Target, "copied to "+n.name)
		o.within(count[place{migration.StagePreparing, "from " + n.name}], o.w.limits.Preparing, "prepared on "+n.name)
		o.within(count[place{migration.StagePreparing, "to " + n.name}], o.w.limits.Preparing, "prepared for "+n.name)
	}
	for where, n := range checks {
		o.within(n, 1, "tried out "+where)
	}
	o.within(count[place{migration.StageCopying, "in all"}], o.most(), "copied in all")
}

func (o *observer) within(n, limit int, what string) {
	if n > limit {
		o.breaks(withinLimits, "%d are %s, and %d may be", n, what, limit)
	}
}
