package controllers

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// queue knows all migrations that have not ended, and the inventory, and decides whose
// turn it is. Watches and the manager's own writes feed it; it never lists but when
// another manager has written the ledger. See docs/decisions/0018.
type queue struct {
	ledger ledger
	reader client.Reader
	limits migration.Limits
	clock  clock.Clock
	// wake has a migration reconciled, and wakeAfter when some time has passed.
	wake      func(types.NamespacedName)
	wakeAfter func(types.NamespacedName, time.Duration)

	mu    sync.Mutex
	nodes *migration.Inventory
	// entries are the migrations that have not ended, and concerning those that
	// depend on a node or a guest.
	entries    map[types.UID]*entry
	concerning map[string]sets.Set[types.UID]
	arrivals   map[string]arrival
	// dirty is whether there may be new turns, and paused until when they are not
	// looked for, so that a crowd of changes costs little.
	dirty  bool
	paused time.Time
	passed time.Time
	passes int
	// ready is how many nodes were ready at last.
	ready int

	census *census
	// passing is closed when the pass that is under way is over; nil where none is.
	passing chan struct{}
	// admitted is when a migration was last admitted.
	admitted time.Time
	// released are objects without their finalizers that the watch still shows with them.
	released map[types.UID]release
}

// entry is a migration that has not ended.
type entry struct {
	lm *v1alpha1.LiveMigration
	// order is that of the version at which this process first saw the object: it writes
	// the finalizer before it writes down the order.
	order   int64
	keys    []string
	turn    migration.Turn
	decided bool
	// since is when this process first saw the object, told when the status last had to
	// say something else, and wrote when this process last wrote the object.
	since, told, wrote time.Time
	promise            *promise
	failures
	// doubted is whether the watch has told an older version than is known.
	doubted bool
	// tellAt is when the status has to say a place that was held back; zero for none.
	tellAt time.Time
}

type arrival struct {
	migration.Arrival
	by types.UID
}

func newQueue(c client.Client, reader client.Reader, namespace string, limits migration.Limits, clk clock.Clock) *queue {
	return &queue{
		ledger: ledger{client: c, reader: reader, namespace: namespace}, reader: reader, limits: limits, clock: clk,
		wake: func(types.NamespacedName) {}, wakeAfter: func(types.NamespacedName, time.Duration) {}, nodes: migration.NewInventory(), entries: map[types.UID]*entry{},
		concerning: map[string]sets.Set[types.UID]{}, arrivals: map[string]arrival{}, released: map[types.UID]release{},
		census: newCensus(limits, clk),
	}
}

// Put takes in what a watch says of a migration. It keeps the object, and reports whether
// there may be new turns.
func (q *queue) Put(lm *v1alpha1.LiveMigration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !hasFinalizer(lm) {
		delete(q.released, lm.UID)
	}
	if e := q.entries[lm.UID]; e != nil && newer(e.lm.ResourceVersion, lm.ResourceVersion) && q.clock.Since(e.wrote) > ownNews {
		// The watch is late, or the API server's data were restored. Only the API server
		// knows; until it is asked, what is known counts: it may hold a slot.
		e.doubted = true
		q.wake(client.ObjectKeyFromObject(lm))
	}
	q.put(lm, true)
	return q.dirty
}

// ownNews is how long a watch usually lags behind what this process has written itself.
const ownNews = 30 * time.Second

// Wrote takes in a migration as this process has just written it. If it is not known, it
// has gone meanwhile.
func (q *queue) Wrote(lm *v1alpha1.LiveMigration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[lm.UID]; e != nil {
		e.wrote, e.conflicts = q.clock.Now(), 0
		if e.turn.Admit || e.turn.Grant {
			e.refusals, e.passedOver = 0, time.Time{}
		}
		q.put(lm.DeepCopy(), false)
	}
}

// NextWrite is when a migration's status may be written next with what may wait.
func (q *queue) NextWrite(lm *v1alpha1.LiveMigration) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[lm.UID]; e != nil {
		return e.wrote.Add(migration.StatusInterval)
	}
	return time.Time{}
}

// put takes in a migration as it is now, unless it is known to be newer. Only who knows
// that the object is still there may make an entry for it.
func (q *queue) put(lm *v1alpha1.LiveMigration, mayBeNew bool) {
	e := q.entries[lm.UID]
	if e != nil && !newer(lm.ResourceVersion, e.lm.ResourceVersion) {
		return
	}
	if migration.Finished(lm) {
		if a, ok := migration.ArrivalOf(lm); ok && !a.Time.Before(q.arrivals[lm.Status.DomainUUID].Time) {
			q.arrivals[lm.Status.DomainUUID] = arrival{Arrival: a, by: lm.UID}
		}
		q.drop(lm.UID)
		return
	}
	switch {
	case e != nil:
		q.dirty = q.dirty || changesTurns(e, lm) || hasFinalizer(e.lm) != hasFinalizer(lm)
	case !mayBeNew:
		return
	default:
		e = &entry{order: migration.Order(lm), since: q.clock.Now()}
		q.entries[lm.UID] = e
		q.dirty = true
	}
	if e.promise != nil && e.promise.Version != lm.ResourceVersion {
		e.promise, q.dirty = nil, true
	}
	e.lm = lm
	q.index(lm.UID, e)
	q.census.put(lm)
}

// changesTurns reports whether another's turn, or its own, may depend on what is new of
// a migration.
func changesTurns(e *entry, after *v1alpha1.LiveMigration) bool {
	before := e.lm
	b, a := migration.NewClaim(before, time.Time{}), migration.NewClaim(after, time.Time{})
	found := cmp.Or(before.Status.DomainUUID, e.turn.Resolution.DomainUUID)
	return b.Stage != a.Stage || b.Ready != a.Ready || b.Gone != a.Gone || b.Source != a.Source || b.Target != a.Target ||
		before.Generation != after.Generation || isUnknown(before) != isUnknown(after) ||
		migration.CopyIsOver(before) != migration.CopyIsOver(after) ||
		migration.AttemptID(before) != migration.AttemptID(after) || found != after.Status.DomainUUID
}

// release is the removal of a finalizer by this process: the version that it made, and when.
type release struct {
	version string
	at      time.Time
}

// Released takes in a migration whose finalizer this process has just removed.
func (q *queue) Released(lm *v1alpha1.LiveMigration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.released[lm.UID] = release{lm.ResourceVersion, q.clock.Now()}
}

// IsReleased reports whether this process has removed the finalizer that an older view of
// the migration shows. A view that stays older is none: the API server's data were restored.
func (q *queue) IsReleased(lm *v1alpha1.LiveMigration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, released := q.released[lm.UID]
	return released && q.clock.Since(r.at) <= ownNews && newer(r.version, lm.ResourceVersion)
}

// Remove forgets a migration that is gone.
func (q *queue) Remove(lm *v1alpha1.LiveMigration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.released, lm.UID)
	if q.arrivals[lm.Status.DomainUUID].by == lm.UID {
		delete(q.arrivals, lm.Status.DomainUUID)
	}
	q.drop(lm.UID)
}

func (q *queue) drop(uid types.UID) {
	if e := q.entries[uid]; e != nil {
		q.unindex(uid, e)
		delete(q.entries, uid)
		q.census.remove(uid)
		q.dirty = true
	}
}

// index files an entry under all that it depends on.
func (q *queue) index(uid types.UID, e *entry) {
	q.unindex(uid, e)
	spec, st, res := &e.lm.Spec, &e.lm.Status, &e.turn.Resolution
	for _, node := range []string{spec.TargetNode, spec.SourceNode, st.SourceNode, res.SourceNode} {
		if node != "" {
			e.keys = append(e.keys, "node/"+node)
		}
	}
	if !migration.Started(e.lm) {
		e.keys = append(e.keys, "guest/"+strings.ToLower(spec.Domain), "guest/"+strings.ToLower(st.DomainUUID))
	}
	for _, key := range e.keys {
		if q.concerning[key] == nil {
			q.concerning[key] = sets.New[types.UID]()
		}
		q.concerning[key].Insert(uid)
	}
}

func (q *queue) unindex(uid types.UID, e *entry) {
	for _, key := range e.keys {
		q.concerning[key].Delete(uid)
		if len(q.concerning[key]) == 0 {
			delete(q.concerning, key)
		}
	}
	e.keys = nil
}

// PutNode takes in a node as it is now.
func (q *queue) PutNode(n migration.Node) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.noteChange(n.Name, q.nodes.Put(n))
}

// RemoveNode forgets a node.
func (q *queue) RemoveNode(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.noteChange(name, q.nodes.Remove(name))
}

// noteChange wakes those that what has changed on a node concerns.
func (q *queue) noteChange(node string, change migration.Change) {
	concerned := sets.New[types.UID]()
	if ready := q.nodes.Ready(); ready != q.ready {
		q.ready = ready
		// The cluster may move as many guests as it has nodes that are ready.
		for uid, e := range q.entries {
			if e.turn.WaitingFor == v1alpha1.SlotCluster && e.turn.Position == 1 {
				concerned.Insert(uid)
			}
		}
	}
	if change.Node {
		concerned = concerned.Union(q.concerning["node/"+node])
	}
	for _, guest := range change.Guests {
		concerned = concerned.Union(q.concerning["guest/"+strings.ToLower(guest)])
	}
	q.dirty = q.dirty || len(concerned) > 0
	for uid := range concerned {
		q.wake(client.ObjectKeyFromObject(q.entries[uid].lm))
	}
}

// Decide says what to do with a migration: what its status is to be and when to look
// again. It fails with errNotHeld where the migration could go ahead if it were held by
// its finalizer, and with errStale.
func (q *queue) Decide(ctx context.Context, lm *v1alpha1.LiveMigration, newAttempt func() string) (migration.Summary, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.know(ctx, lm); err != nil {
		return migration.Summary{}, err
	}
	facts := migration.ManagerFacts{Object: lm, Nodes: q.nodes, Limits: q.limits, NewAttempt: newAttempt}
	if !migration.Finished(lm) && !migration.Started(lm) && !migration.CancelRequested(lm) {
		turn, err := q.turn(ctx, lm)
		if halts(err) {
			turn, err = q.haltedTurn(lm)
		}
		if err != nil {
			return migration.Summary{}, err
		}
		facts.Turn = turn
	}
	now := q.clock.Now()
	summary := migration.Summarize(facts, now)
	if e := q.entries[lm.UID]; e != nil {
		// A wake that was ordered is forgotten when the object is reconciled before.
		for _, due := range []time.Time{e.passedOver, e.tellAt} {
			if due.After(now) {
				summary.Recheck = earlier(due, summary.Recheck)
			}
		}
	}
	return summary, nil
}

// know takes in an object as its reconciler has read it. One that the watch has not told
// of, or that it has told to be gone, is looked up: the reconciler may be late.
func (q *queue) know(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	switch e := q.entries[lm.UID]; {
	case e != nil && (e.doubted || e.overdue(q.clock.Now())):
		return q.recheck(ctx, e)
	case migration.Finished(lm):
		return nil
	case e == nil:
		return q.reread(ctx, lm.UID, client.ObjectKeyFromObject(lm))
	case newer(lm.ResourceVersion, e.lm.ResourceVersion):
		q.put(lm.DeepCopy(), false)
	}
	return nil
}

// settleKey is no migration: reconciling it looks for new turns.
var settleKey = types.NamespacedName{Name: "turns"} //nolint:gochecknoglobals // A constant.

// retryPass is the time until another look where the last one has left something to do.
const retryPass = 100 * time.Millisecond

// Settle looks for new turns if there may be any or, in a pause, sees to it that somebody
// does afterwards.
func (q *queue) Settle(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dirty && q.passing == nil && !q.clock.Now().Before(q.paused) {
		if err := q.pass(ctx, nil); err != nil {
			return err
		}
	}
	if q.dirty {
		q.wakeAfter(settleKey, max(q.paused.Sub(q.clock.Now()), retryPass))
	}
	return nil
}

// turn returns what a migration may do, having looked for new turns if there may be any.
func (q *queue) turn(ctx context.Context, lm *v1alpha1.LiveMigration) (migration.Turn, error) {
	e := q.entries[lm.UID]
	if e == nil || e.lm.ResourceVersion != lm.ResourceVersion {
		return migration.Turn{}, errStale
	}
	q.noteTime(e)
	q.dirty = q.dirty || !e.decided || q.clock.Since(q.passed) >= passInterval || q.foundElsewhere(e)
	if err := q.lookForTurns(ctx, e); err != nil {
		return migration.Turn{}, err
	}
	switch {
	case q.entries[lm.UID] != e || e.lm.ResourceVersion != lm.ResourceVersion:
		return migration.Turn{}, errStale
	case (e.turn.Admit || e.turn.Grant) && e.promise == nil:
		return migration.Turn{}, errNotHeld
	}
	return e.turn, nil
}

// haltedTurn is what a migration may do while nothing can be admitted. Its next turn will
// be news.
func (q *queue) haltedTurn(lm *v1alpha1.LiveMigration) (migration.Turn, error) {
	e := q.entries[lm.UID]
	if e == nil || e.lm.ResourceVersion != lm.ResourceVersion {
		return migration.Turn{}, errStale
	}
	e.decided = false
	return migration.Turn{Resolution: q.resolve(lm), Order: e.order, Halted: true}, nil
}

// noteTime takes in what the passage of time alone has changed for an entry.
func (q *queue) noteTime(e *entry) {
	for _, due := range []*time.Time{&e.passedOver, &e.tellAt} {
		if !due.IsZero() && !q.clock.Now().Before(*due) {
			*due, q.dirty = time.Time{}, true
		}
	}
}

// lookForTurns has a pass made, by this caller or by another, if anything has changed
// since the last one.
func (q *queue) lookForTurns(ctx context.Context, asking *entry) error {
	if q.passing != nil {
		// It may have begun before what is new. The next one has the answer, though there is
		// always something new where many come.
		if err := q.awaitPass(ctx); err != nil {
			return err
		}
	}
	for began := q.passes; q.passes == began && (q.dirty || q.passing != nil); {
		if q.passing != nil {
			if err := q.awaitPass(ctx); err != nil {
				return err
			}
			continue
		}
		if wait := q.paused.Sub(q.clock.Now()); wait > 0 {
			if err := q.sleep(ctx, wait); err != nil {
				return err
			}
			continue
		}
		if err := q.pass(ctx, asking); err != nil {
			return err
		}
	}
	return nil
}

// foundElsewhere reports whether the guest of a migration that waits is found otherwise
// than when its turn was decided, if only because time has passed.
func (q *queue) foundElsewhere(e *entry) bool {
	if e.promise != nil || e.lm.Status.Attempt != nil && !migration.LooksOnly(e.lm) {
		return false
	}
	return !sameResolution(e.turn.Resolution, q.resolve(e.lm))
}

// newer reports whether a version is later than another of the same object. One that
// cannot be compared is taken for later, as any news must be.
func newer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err != nil || order > 0
}

// sameTurn reports whether the status would say the same of two turns.
func sameTurn(a, b migration.Turn) bool {
	sameBefore := a.Before == b.Before || a.Before != nil && b.Before != nil && a.Before.UID == b.Before.UID && isUnknown(a.Before) == isUnknown(b.Before)
	return sameBefore && a.Admit == b.Admit && a.Grant == b.Grant && a.WaitingFor == b.WaitingFor && a.KeptFree == b.KeptFree &&
		migration.ShownPosition(a.Position) == migration.ShownPosition(b.Position) && sameResolution(a.Resolution, b.Resolution)
}

func isUnknown(lm *v1alpha1.LiveMigration) bool { return lm.Status.Phase == v1alpha1.PhaseUnknown }

func sameResolution(a, b migration.Resolution) bool {
	sameProblem := equality.Semantic.DeepEqual(a.Problem, b.Problem)
	a.Problem, b.Problem = nil, nil
	return sameProblem && a == b
}
