package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/statuscheck"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
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
	wellFormed     promise = "a status is well formed, and never goes back"
	withinLimits   promise = "no more go on at once than may"
	settles        promise = "everything settles"
	touchesNothing promise = "a dry run moves nothing"
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
	// mourned is whether somebody has stopped it, or was about to, and touched whether
	// somebody has paused or resumed it.
	mourned, touched, paused bool
	// twice is since when it has run on two hosts, and a migration has to do something
	// about it; zero while that is not so.
	twice time.Time
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
	// ended is when a migration's end was first reported.
	ended map[types.UID]time.Time
	// told are the guests of which a migration that is gone said that they were paused.
	told map[string]bool
	said report
	// lastChange is when something last happened that is more than a sign of life.
	lastChange time.Time
}

func newObserver(w *world) *observer {
	return &observer{
		w: w, began: time.Now(), guests: map[string]*watched{}, moves: map[key]*v1alpha1.LiveMigration{}, excused: map[key]bool{},
		ended: map[types.UID]time.Time{}, told: map[string]bool{}, said: report{rows: map[int]bool{}, phases: map[string]int{}, reasons: map[string]int{}},
	}
}

func (o *observer) begin(g *guest, paused bool) {
	o.guests[g.uuid] = &watched{guest: g, paused: paused, touched: paused}
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
	o.of(g).touched = true
}

// excuse notes that somebody takes a migration out of the manager's hands.
func (o *observer) excuse(k key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.excused[k] = true
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
		// What had not all of the guest is no copy of one that somebody has stopped.
		if !e.Elsewhere && (!e.Partial || !g.mourned) {
			o.breaks(copyKept, "%s destroyed the copy of %s on %s, and now it is %s", e.Method, g.name, e.Host, whereabouts(e.After))
		}
	case fake.MethodUndefine:
		if !has(func(d hypervisor.Domain) bool { return d.Persistent || d.Active() }) {
			o.breaks(definitionKept, "%s lost its definition on %s, and is %s", g.name, e.Host, whereabouts(e.After))
		}
	case fake.MethodResume:
		if g.paused && !g.touched {
			o.breaks(pauseKept, "%s was paused by its user, and is resumed on %s", g.name, e.Host)
		}
		if has(func(d hypervisor.Domain) bool { return d.State == hypervisor.StateRunning }) {
			o.breaks(runsOnce, "%s is resumed on %s beside another copy: %s", g.name, e.Host, whereabouts(e.After))
		}
	}
}

// noteChange takes in a write to the API.
func (o *observer) noteChange(c change) {
	if *twice {
		o.w.say("%s writes %s %s, version %d", c.by, c.key.plural, c.key.name, c.version)
	}
	if c.key.plural != "livemigrations" {
		return
	}
	o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastChange = time.Now()
	before, after := typed(c.before), typed(c.after)
	if after == nil {
		o.w.say("%s is gone", c.key.name)
		if before != nil && strings.Contains(short(before), "pause") {
			o.told[before.Status.DomainUUID] = true
		}
		delete(o.moves, c.key)
		return
	}
	o.moves[c.key] = after
	o.checkForm(before, after)
	if migration.DryRun(after) && migration.Started(after) {
		o.breaks(touchesNothing, "%s was started: %s", after.Name, short(after))
	}
	o.cover(before, after)
	o.checkLimits()
	if before != nil && !migration.Finished(before) && migration.Finished(after) && !o.excused[c.key] {
		o.checkTruth(after)
	}
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
	if s := migration.CurrentSource(after); s != nil && s.End != nil && o.ended[after.UID].IsZero() {
		o.ended[after.UID] = time.Now()
	}
	if row := migration.Row(after); row >= 0 {
		o.said.rows[row] = true
	}
	var was, is string
	if before != nil {
		was = short(before)
	}
	if is = short(after); was != is {
		o.w.say("%s: %s", after.Name, is)
		o.said.phases[string(after.Status.Phase)]++
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
		c := migration.NewClaim(lm, time.Now())
		if c.Stage == migration.StageWaiting {
			continue
		}
		if migration.DryRun(lm) {
			checks["from "+c.Source]++
			checks["to "+c.Target]++
			continue
		}
		if other := guests[c.Guest]; other != "" {
			o.breaks(withinLimits, "%s and %s move the same guest", other, lm.Name)
		}
		guests[c.Guest] = lm.Name
		count[place{c.Stage, "from " + c.Source}]++
		count[place{c.Stage, "to " + c.Target}]++
		count[place{c.Stage, "in all"}]++
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
	most := o.w.limits.Cluster
	if most == 0 {
		most = len(o.w.hosts)
	}
	o.within(count[place{migration.StageCopying, "in all"}], most, "copied in all")
}

func (o *observer) within(n, limit int, what string) {
	if n > limit {
		o.breaks(withinLimits, "%d are %s, and %d may be", n, what, limit)
	}
}

// checkTruth holds a verdict against where the guest was. A guest that has arrived must have
// been on the target alone at some time, whatever has become of it since. One that has not
// must have been where it is said to be after the end of the job was reported: its target
// was read then.
func (o *observer) checkTruth(lm *v1alpha1.LiveMigration) {
	st, c := &lm.Status, meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	g := o.guests[st.DomainUUID]
	if g == nil || strings.Contains(c.Message, "counts as gone") {
		return
	}
	started := migration.Started(lm)
	source, target := st.SourceNode, st.TargetNode
	live := func(s sight, host string) bool { return whole(s.copies[host]) }
	var holds func(sight) bool
	switch {
	case c.Reason == v1alpha1.ReasonChecksPassed:
		holds = func(s sight) bool { return live(s, source) }
	case c.Status == metav1.ConditionTrue:
		holds = func(s sight) bool { return arrived(s, g.sights[len(g.sights)-1], source, target) }
	case c.Reason == v1alpha1.ReasonGuestStopped:
		holds = func(s sight) bool { return !live(s, source) }
	case started:
		holds = func(s sight) bool { return s.copies[source].Active() && !live(s, target) }
	default:
		return
	}
	since := o.began
	if ended := o.ended[lm.UID]; c.Status != metav1.ConditionTrue && !ended.IsZero() {
		since = ended.Add(-time.Second)
	}
	for _, s := range slices.Backward(g.sights) {
		if holds(s) {
			return
		}
		if s.at.Before(since) {
			break
		}
	}
	o.breaks(saysTheTruth, "%s says %s, but since %s %s has been %s", lm.Name, short(lm), since.Sub(o.began), g.name, whereabouts(g.sights[len(g.sights)-1].copies))
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
