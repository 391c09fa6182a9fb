package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/statuscheck"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// twiceMost is how long a guest may run on two hosts while nothing keeps the agents from
// seeing it; see docs/decisions/0012.
const twiceMost = 10 * time.Second

// promise is one of those that Virtferry makes.
type promise string

// The promises.
const (
	runsOnce       promise = "a guest does not run twice"
	notLost        promise = "a guest that nobody has stopped goes on"
	copyKept       promise = "the only copy is never destroyed"
	definitionKept promise = "the only definition is never removed"
	notLeftPaused  promise = "a guest that we have paused is resumed, or its user is told"
	pauseKept      promise = "what its user has paused stays paused"
	saysTheTruth   promise = "a final status was true"
	hasProof       promise = "an outcome is what both sides have shown"
	recordedFirst  promise = "a job begins only after the record of its start"
	asksFirst      promise = "what the other side shows was read a moment ago"
	leavesNothing  promise = "nothing is left behind, or its user is told"
	keepsObject    promise = "an object stays until its end, and for its time to live"
	inTime         promise = "each deadline is kept once the faults have ended"
	wellFormed     promise = "a status is well formed, and never goes back"
	withinLimits   promise = "no more go on at once than may"
	settles        promise = "everything settles"
	touchesNothing promise = "a dry run moves nothing"
	staysRefused   promise = "a guest that was refused is not started, nor is a target prepared for it"
	ownPlace       promise = "no two guests have the same of a host"
	sentAsAsked    promise = "a guest is sent as its user wants"
	notLeftFrozen  promise = "a guest that is frozen is thawed in time, or its user is told"
	hasItsDevices  promise = "a guest has what was taken from it, and its clock is set, or its user is told"
)

// violation is a promise that was broken.
type violation struct {
	promise promise
	at      time.Duration
	what    string
}

func (v violation) String() string {
	return fmt.Sprintf("%8.3f  BROKEN: %s: %s", v.at.Seconds(), v.promise, v.what)
}

// report is what the observer has seen of a world.
type report struct {
	violations []violation
	// rows are those of the outcome table that were reached, and phases what was seen.
	rows    map[int]bool
	phases  map[string]int
	reasons map[string]int
}

// sight is where a guest was at a time.
type sight struct {
	at     time.Time
	copies map[string]hypervisor.Domain
}

// watched is what the observer knows of a guest.
type watched struct {
	*guest
	// sights are where it was, one for each change.
	sights []sight
	// mourned is whether somebody has stopped it, or was about to, touched whether somebody
	// has paused or resumed it, and paused whether its user had, before all else, and nobody
	// has touched it since.
	mourned, touched, paused bool
	// told is whether a person who moved it by hand has been told that this failed, and carried
	// whether anybody has moved it so.
	told, carried bool
	// toldOfInterfaces is whether a migration that is gone said that it lacks some.
	toldOfInterfaces bool
	// frozen is since when it runs frozen though nothing is broken; zero while that is not so. toldFrozen is whether a
	// migration that is gone said that it may be.
	frozen     time.Time
	toldFrozen bool
	// twice is since when it has run on two hosts, and a migration has to do something
	// about it; zero while that is not so.
	twice time.Time
	// halted are the migrations that have paused one of two running copies.
	halted map[types.UID]bool
	// excused is whether somebody has taken a migration of it out of the manager's hands,
	// and defined are the hosts on which somebody has defined it.
	excused bool
	defined map[string]bool
}

// observer knows everything, and says which promise was broken.
type observer struct {
	w     *world
	began time.Time
	// calmSince is since when there have been no faults; zero while there are.
	calmSince time.Time

	mu      sync.Mutex
	guests  map[string]*watched
	moves   map[key]*v1alpha1.LiveMigration
	excused map[key]bool
	// times are when something was first so of a migration.
	times map[types.UID]*times
	jobs  jobs
	// places are what guests have on hosts, by their definitions there, and byHand
	// is whether a person has brought them there.
	places map[spot]place
	byHand map[spot]bool
	// nodes are those that have a Hypervisor.
	nodes map[string]bool
	// told are the guests of which a migration that is gone said that they were paused.
	told map[string]bool
	said report
	// lastChange is when something last happened that is more than a sign of life.
	lastChange time.Time
}

func newObserver(w *world) *observer {
	return &observer{
		w: w, began: time.Now(), guests: map[string]*watched{}, moves: map[key]*v1alpha1.LiveMigration{}, excused: map[key]bool{},
		times: map[types.UID]*times{}, jobs: newJobs(), places: map[spot]place{}, byHand: map[spot]bool{}, nodes: map[string]bool{}, told: map[string]bool{}, said: report{rows: map[int]bool{}, phases: map[string]int{}, reasons: map[string]int{}},
	}
}

func (o *observer) begin(g *guest, paused bool) {
	o.guests[g.uuid] = &watched{guest: g, paused: paused, touched: paused, halted: map[types.UID]bool{}, defined: map[string]bool{}}
}

func (o *observer) of(g *guest) *watched { return o.guests[g.uuid] }

// mourn notes that somebody stops a guest, or that fate will.
func (o *observer) mourn(g *guest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(g).mourned = true
}

// touch notes that a person pauses or resumes a guest.
func (o *observer) touch(g *guest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// Whether it stays paused is up to that person from then on.
	o.of(g).touched, o.of(g).paused = true, false
}

// noteTold notes that a person who moves a guest by hand is told that this has failed.
func (o *observer) noteTold(g *guest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(g).told = true
}

// noteDefined notes that an administrator defines a guest on a host.
func (o *observer) noteDefined(g *guest, host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(g).defined[host] = true
}

// excuse notes that somebody takes a migration out of the manager's hands.
func (o *observer) excuse(k key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.excused[k] = true
	if lm := o.moves[k]; lm != nil {
		if g := o.named(lm.Spec.Domain); g != nil {
			g.excused = true
		}
	}
}

// named returns the guest of a name or a UUID.
func (o *observer) named(domain string) *watched {
	for _, g := range o.guests {
		if g.name == domain || g.uuid == domain {
			return g
		}
	}
	return nil
}

func (o *observer) broken() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.said.violations) > 0
}

// breaks notes a violation. The mutex is held.
func (o *observer) breaks(p promise, format string, args ...any) {
	v := violation{promise: p, at: time.Since(o.began), what: fmt.Sprintf(format, args...)}
	o.w.say("%s", v)
	o.said.violations = append(o.said.violations, v)
}

func (o *observer) report() *report {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.said
	return &out
}

// Eventf implements events.EventRecorder: what is told by events the status says as well.
func (o *observer) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}

// whole reports whether a copy is a guest rather than half of one, or a shell.
func whole(d hypervisor.Domain) bool {
	shell := d.State == hypervisor.StatePaused && (d.Reason == hypervisor.ReasonMigration || d.Reason == hypervisor.ReasonStartingUp)
	return d.Active() && !d.InPostCopy() && !shell
}

// look looks at all guests.
func (o *observer) look() {
	for _, g := range o.w.guests {
		copies := o.w.fleet.Copies(g.uuid)
		o.mu.Lock()
		o.see(o.of(g), copies)
		o.mu.Unlock()
	}
}

// see takes in where a guest is. The mutex is held.
func (o *observer) see(g *watched, copies map[string]hypervisor.Domain) {
	now := time.Now()
	var before map[string]hypervisor.Domain
	if n := len(g.sights); n > 0 {
		before = g.sights[n-1].copies
	}
	if before == nil || !maps.Equal(before, copies) {
		g.sights = append(g.sights, sight{at: now, copies: copies})
		o.lastChange = now
		o.w.say("%s is %s", g.name, whereabouts(copies))
	}
	if active(before) > 0 && active(copies) == 0 && !g.mourned {
		o.breaks(notLost, "%s was %s, and is %s", g.name, whereabouts(before), whereabouts(copies))
	}
	o.seeFrozen(g, copies)
	running := 0
	for _, d := range copies {
		if d.State == hypervisor.StateRunning {
			running++
		}
	}
	switch {
	case running < 2 || !o.concerned(g, copies):
		g.twice = time.Time{}
	case g.twice.IsZero():
		g.twice = now
	case !o.calmSince.IsZero() && now.Sub(g.twice) > twiceMost && now.Sub(o.calmSince) > twiceMost:
		o.breaks(runsOnce, "%s has been running twice for %s: %s", g.name, now.Sub(g.twice), whereabouts(copies))
		g.twice = now
	}
}

// concerned reports whether a migration that has not ended is about two running copies that
// it has made itself, on its own two hosts.
func (o *observer) concerned(g *watched, copies map[string]hypervisor.Domain) bool {
	for _, lm := range o.moves {
		source, target := migration.CurrentSource(lm), migration.CurrentTarget(lm)
		if copies[lm.Status.SourceNode].State != hypervisor.StateRunning || copies[lm.Spec.TargetNode].State != hypervisor.StateRunning {
			continue // Somebody else has moved one of them.
		}
		if lm.Status.DomainUUID == g.uuid && !migration.Finished(lm) && source != nil && source.End != nil && target != nil &&
			source.End.CopySettledTime == nil && target.ArrivedTime != nil && !g.touched && !g.mourned {
			return true
		}
	}
	return false
}

func active(copies map[string]hypervisor.Domain) (n int) {
	for _, d := range copies {
		if d.Active() {
			n++
		}
	}
	return n
}

// whereabouts says where a guest is.
func whereabouts(copies map[string]hypervisor.Domain) string {
	var out []string
	for _, host := range slices.Sorted(maps.Keys(copies)) {
		d := copies[host]
		text := fmt.Sprintf("%s/%s on %s", d.State, d.Reason, host)
		if d.Persistent {
			text += " (defined)"
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "nowhere"
	}
	return strings.Join(out, ", ")
}

// noteChange takes in a write to the API.
func (o *observer) noteChange(c change) {
	if *twice {
		o.w.say("%s writes %s %s, version %d", c.by, c.key.plural, c.key.name, c.version)
	}
	if c.key.plural == "hypervisors" {
		o.mu.Lock()
		o.nodes[c.key.name] = c.after != nil
		o.mu.Unlock()
	}
	if c.key.plural != "livemigrations" {
		return
	}
	o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastChange = time.Now()
	before, after := typed(c.before), typed(c.after)
	o.checkRemoval(c.by, before, after)
	if after == nil {
		o.w.say("%s is gone", c.key.name)
		if before != nil && tellsOfPause(before) {
			o.told[before.Status.DomainUUID] = true
		}
		if g := o.guests[domainOf(before)]; g != nil && tellsOfInterfaces(before) {
			g.toldOfInterfaces = true
		}
		if g := o.guests[domainOf(before)]; g != nil && tellsOfFreeze(before) {
			g.toldFrozen = true
		}
		if before != nil && migration.Started(before) && !migration.Finished(before) && !o.excused[c.key] {
			o.breaks(keepsObject, "%s is gone before its end: %s", before.Name, short(before))
		}
		delete(o.moves, c.key)
		return
	}
	o.moves[c.key] = after
	o.noteTimes(before, after)
	o.checkFrozen(before, after)
	o.checkForeign(after.Name, c.after)
	o.checkForm(before, after)
	o.checkRefusal(before, after)
	if migration.DryRun(after) && migration.Started(after) {
		o.breaks(touchesNothing, "%s was started: %s", after.Name, short(after))
	}
	o.cover(before, after)
	o.checkLimits()
	if before != nil && !migration.Finished(before) && migration.Finished(after) && !o.excused[c.key] {
		o.checkTruth(after)
		o.checkProof(after)
		o.checkLeftovers(after)
		o.checkClock(after)
	}
}

// checkRefusal holds an attempt that an agent has refused to ending so. Of one that the source
// refuses, the target looks what else is in the way, and that is all.
func (o *observer) checkRefusal(before, after *v1alpha1.LiveMigration) {
	if before == nil || before.UID != after.UID || migration.AttemptID(before) != migration.AttemptID(after) || !migration.Refused(before) {
		return
	}
	if migration.Started(after) {
		o.breaks(staysRefused, "%s was started: %s", after.Name, short(before))
	}
	source, was, is := migration.CurrentSource(before), migration.CurrentTarget(before), migration.CurrentTarget(after)
	if !migration.DryRun(after) && source != nil && source.Problem != nil && is != nil && is.ReadyTime != nil && (was == nil || was.ReadyTime == nil) {
		o.breaks(staysRefused, "the target of %s is ready for it: %s", after.Name, source.Problem.Message)
	}
}

func domainOf(lm *v1alpha1.LiveMigration) string {
	if lm == nil {
		return ""
	}
	return lm.Status.DomainUUID
}

func typed(o object) *v1alpha1.LiveMigration {
	if o == nil {
		return nil
	}
	lm := &v1alpha1.LiveMigration{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, lm); err != nil {
		panic(err)
	}
	return lm
}

func (o *observer) checkForm(before, after *v1alpha1.LiveMigration) {
	if err := statuscheck.Check(after); err != nil {
		o.breaks(wellFormed, "%s: %v", after.Name, err)
	}
	if before == nil || before.UID != after.UID {
		return
	}
	if err := statuscheck.CheckTransition(before, after); err != nil {
		o.breaks(wellFormed, "%s: %v", after.Name, err)
	}
}

// cover notes what was reached.
func (o *observer) cover(before, after *v1alpha1.LiveMigration) {
	if row := migration.Row(after); row >= 0 {
		o.said.rows[row] = true
	}
	var was, is string
	if before != nil {
		was = short(before)
	}
	if is = short(after); was != is {
		o.w.say("%s: %s", after.Name, is)
		o.said.phases[cmp.Or(string(after.Status.Phase), "none")]++
		if c := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
			o.said.reasons[c.Reason]++
		}
	}
}

func short(lm *v1alpha1.LiveMigration) string {
	c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil {
		return "new, " + lm.Spec.Domain + " to " + lm.Spec.TargetNode
	}
	return fmt.Sprintf("%s %s: %s", lm.Status.Phase, c.Reason, c.Message)
}

// restless says what has not settled yet, or nothing.
func (o *observer) restless() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, k := range slices.SortedFunc(maps.Keys(o.moves), compareKeys) {
		lm := o.moves[k]
		switch {
		case !migration.Finished(lm):
			return k.name + " has not ended: " + short(lm)
		case !lm.DeletionTimestamp.IsZero():
			return k.name + " is being deleted, and has ended"
		case lm.Spec.TTLSecondsAfterFinished != nil:
			return k.name + " has a time to live"
		case !migration.Settled(lm):
			return k.name + " has something left to be said"
		}
	}
	return ""
}

// stuck reports whether nothing has happened for some time.
func (o *observer) stuck(length time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(o.lastChange) > length
}
