package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/migration"
)

const (
	// passInterval is how often turns are looked for even if nothing changes.
	passInterval = 30 * time.Second
	// passShare bounds how much of its time the manager spends on looking for turns: a
	// pass is followed by a pause that is so many times as long as it took to think, but
	// for longestPause at most.
	passShare    = 9
	longestPause = time.Second
	// If more than crowd migrations have come within crowdTime and have not been looked
	// at, one is admitted each crowdInterval: whoever applies thousands is told of each of
	// them before the first ones need the API server. Those that were admitted go on.
	crowd         = 100
	crowdTime     = time.Minute
	crowdInterval = time.Second
	// maxPromises bounds the ledger. Those that find no room in it are promised their
	// slots when others have been kept.
	maxPromises = 256
	// passTimeout bounds how long everything waits for the ledger.
	passTimeout = 15 * time.Second
)

// errStale: the object was read before it last changed.
var errStale = errors.New("the object has changed since it was read")

// errNotHeld: the migration may go ahead as soon as it is held by its finalizer.
var errNotHeld = errors.New("the object is not held by its finalizer")

// pass looks for new turns, promises what there is, and wakes those whose turn has
// changed but for the one who asks.
func (q *queue) pass(ctx context.Context, asking *entry) error {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	if q.ledger.version == "" {
		if err := q.resync(ctx); err != nil {
			return err
		}
	}
	began := q.clock.Now()
	entries, turns := q.schedule(began)
	took := q.clock.Since(began)
	// What comes in while the ledger is written is for the next pass.
	q.dirty = false
	taken := false
	// An error must not lose what was found, nor may a panic.
	defer func() { q.dirty = q.dirty || !taken }()
	if err := q.promise(ctx, entries, turns); err != nil {
		if errors.Is(err, errLedgerChanged) {
			return nil // Whoever has written it has admitted something, too.
		}
		return err
	}
	for i, e := range entries {
		if q.entries[e.lm.UID] == e && q.take(e, turns[i]) && e != asking {
			q.wake(client.ObjectKeyFromObject(e.lm))
		}
	}
	taken = true
	q.passes++
	q.passed = q.clock.Now()
	q.paused = q.passed.Add(min(passShare*took, longestPause))
	return nil
}

// take makes a turn the entry's, and reports whether it is another one.
func (q *queue) take(e *entry, turn migration.Turn) bool {
	if e.promise == nil && e.ready() && (turn.Admit || turn.Grant) {
		// There was no room for it in the ledger.
		turn.Admit, turn.Grant, q.dirty = false, false, true
	}
	q.holdBack(e, &turn)
	same := e.decided && sameTurn(e.turn, turn)
	moved := e.turn.Resolution.SourceNode != turn.Resolution.SourceNode
	e.turn, e.decided = turn, true
	if !same {
		e.told, e.tellAt = q.clock.Now(), time.Time{}
	}
	if moved {
		q.index(e.lm.UID, e)
	}
	return !same
}

// holdBack leaves a turn the place that was told last, where it is too early to tell
// another: a status is not written for each step of a queue.
func (q *queue) holdBack(e *entry, turn *migration.Turn) {
	now, due := q.clock.Now(), e.told.Add(placeInterval(turn.Position))
	if !e.decided || !now.Before(due) {
		return
	}
	if e.tellAt.IsZero() && (turn.WaitingFor != e.turn.WaitingFor || turn.Position != e.turn.Position) {
		e.tellAt = due
		q.wakeAfter(client.ObjectKeyFromObject(e.lm), due.Sub(now))
	}
	turn.WaitingFor, turn.Position, turn.KeptFree = e.turn.WaitingFor, e.turn.Position, e.turn.KeptFree
}

// placeInterval is how often a migration's place in a line is told at most. Each that
// leaves the line would otherwise cost a write for all others.
func placeInterval(position int32) time.Duration {
	switch {
	case position <= 1:
		return 0
	case position <= 5:
		return 5 * time.Second
	case position <= 20:
		return 30 * time.Second
	default:
		return 5 * time.Minute
	}
}

// ready reports whether a promise to the migration could be kept: it must be held by its
// finalizer first.
func (e *entry) ready() bool { return hasFinalizer(e.lm) }

// schedule says whose turn it is, by what is in memory. What was promised counts.
func (q *queue) schedule(now time.Time) ([]*entry, []migration.Turn) {
	claims := make([]*migration.Claim, 0, len(q.entries))
	for _, e := range q.entries {
		claims = append(claims, q.claim(e, now))
	}
	turns := migration.Schedule(claims, q.limits, q.nodes.Ready(), now)
	q.census.noteLoad(migration.Measure(claims, turns))
	entries := make([]*entry, len(claims))
	for i, c := range claims {
		entries[i] = q.entries[c.Object.UID]
		if p := entries[i].promise; p != nil {
			turns[i].Admit, turns[i].Grant, turns[i].Resolution = true, p.Copying, p.resolution()
		}
	}
	return entries, turns
}

// claim is what a migration has, or wants.
func (q *queue) claim(e *entry, now time.Time) *migration.Claim {
	c := migration.NewClaim(e.lm, now)
	c.PassedOver = now.Before(e.passedOver)
	switch {
	case caches.Unreadable(e.lm) != "":
		c.PassedOver = true
		if c.Stage == migration.StagePreparing { // What cannot be read may be that it copies.
			c.Stage = migration.StageCopying
		}
	case c.Stage == migration.StageCopying && q.isLost(c.Source) && migration.CopyIsOver(e.lm):
		c.Stage = migration.StageEnding
	}
	if e.lm.Status.Queue == nil {
		c.Order = e.order
	}
	if c.Stage == migration.StageWaiting || migration.LooksOnly(e.lm) {
		c.Resolve(q.resolve(e.lm))
	}
	if p := e.promise; p != nil {
		c.Promise(p.Copying, p.Guest, p.Source, p.Target)
	}
	return c
}

// isLost reports whether a node does not tell what happens on it.
func (q *queue) isLost(node string) bool {
	n, known := q.nodes.Node(node)
	return known && !n.Ready
}

func (q *queue) resolve(lm *v1alpha1.LiveMigration) migration.Resolution {
	arrivals := func(uuid string) (migration.Arrival, bool) {
		a, ok := q.arrivals[uuid]
		return a.Arrival, ok
	}
	return migration.Resolve(&lm.Spec, lm.Status.DomainUUID, q.nodes, arrivals, q.clock.Now())
}

// promise writes into the ledger whose turn it is, before anybody is told. Others may use
// the queue while that is under way.
func (q *queue) promise(ctx context.Context, entries []*entry, turns []migration.Turn) error {
	var promises []promise
	for _, e := range entries {
		if e.promise != nil {
			promises = append(promises, *e.promise)
		}
	}
	kept := len(promises)
	given := q.given(entries, turns, maxPromises-kept)
	if len(given) == 0 {
		return nil
	}
	for _, i := range given {
		promises = append(promises, newPromise(entries[i].lm, &turns[i]))
	}
	if err := q.writeLedger(ctx, promises); err != nil {
		return err
	}
	for n, i := range given {
		if e, p := entries[i], &promises[kept+n]; q.entries[p.UID] == e && e.lm.ResourceVersion == p.Version {
			e.promise = p
		}
	}
	return nil
}

// given returns the places of those who are promised something new, for which there is
// room in the ledger.
func (q *queue) given(entries []*entry, turns []migration.Turn, room int) []int {
	var given []int
	admissions := q.admissions()
	for i, e := range entries {
		turn := &turns[i]
		if len(given) >= room || !e.takes(turn) || turn.Admit && admissions == 0 {
			continue
		}
		if turn.Admit {
			admissions--
			q.admitted = q.clock.Now()
		}
		given = append(given, i)
	}
	return given
}

// takes reports whether the entry is to be promised what its turn gives.
func (e *entry) takes(turn *migration.Turn) bool {
	return e.promise == nil && e.ready() && (turn.Admit || turn.Grant)
}

// admissions is how many may be admitted now.
func (q *queue) admissions() int {
	now, untold := q.clock.Now(), 0
	for _, e := range q.entries {
		if len(e.lm.Status.Conditions) == 0 && now.Sub(e.since) < crowdTime {
			untold++
		}
	}
	switch {
	case untold <= crowd:
		return maxPromises
	case now.Sub(q.admitted) < crowdInterval:
		return 0
	default:
		return 1
	}
}

// writeLedger lets others at the queue, but for another pass.
func (q *queue) writeLedger(ctx context.Context, promises []promise) error {
	q.passing = make(chan struct{})
	defer func() {
		close(q.passing)
		q.passing = nil
	}()
	q.mu.Unlock()
	defer q.mu.Lock()
	return q.ledger.write(ctx, promises)
}

// awaitPass waits for the pass that is under way.
func (q *queue) awaitPass(ctx context.Context) error {
	over := q.passing
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return nil
	}
}

func newPromise(lm *v1alpha1.LiveMigration, turn *migration.Turn) promise {
	p := promise{
		UID: lm.UID, Namespace: lm.Namespace, Name: lm.Name, Version: lm.ResourceVersion, Copying: turn.Grant,
		Guest: lm.Status.DomainUUID, Source: lm.Status.SourceNode, Target: lm.Status.TargetNode,
	}
	if lm.Status.Attempt != nil {
		return p
	}
	// The guest may be another than when the status was last written.
	p.Guest = cmp.Or(turn.Resolution.DomainUUID, lm.Status.DomainUUID)
	p.Target = turn.Resolution.TargetNode
	if !turn.Resolution.AlreadyOnTarget {
		p.Source = turn.Resolution.SourceNode
	}
	return p
}

// resolution is where the guest was when the promise was made. If it has left meanwhile,
// the source's agent will say so; the slots are those of these nodes.
func (p *promise) resolution() migration.Resolution {
	return migration.Resolution{
		DomainUUID: p.Guest, SourceNode: cmp.Or(p.Source, p.Target), TargetNode: p.Target, AlreadyOnTarget: p.Source == "",
	}
}

// resync takes over from another manager, or begins: it reads the ledger and then, past
// all caches, everything that was let go ahead before that was written.
func (q *queue) resync(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			q.ledger.version = ""
		}
	}()
	promises, err := q.ledger.read(ctx)
	if err != nil {
		return err
	}
	if err := q.relist(ctx); err != nil {
		return err
	}
	for i := range promises {
		if err := q.adopt(ctx, &promises[i]); err != nil {
			return err
		}
	}
	q.dirty = true
	return nil
}

// underWay selects the migrations that may hold slots.
func underWay() fields.Selector {
	idle := []v1alpha1.LiveMigrationPhase{
		"", v1alpha1.PhasePending, v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled,
	}
	terms := make([]fields.Selector, 0, len(idle))
	for _, phase := range idle {
		terms = append(terms, fields.OneTermNotEqualSelector("status.phase", string(phase)))
	}
	return fields.AndSelectors(terms...)
}

// relistPage is how many objects are read at a time.
const relistPage = 500

func (q *queue) relist(ctx context.Context) error {
	listed := map[types.UID]bool{}
	list := &v1alpha1.LiveMigrationList{}
	for {
		err := q.reader.List(ctx, list, client.MatchingFieldsSelector{Selector: underWay()}, client.Limit(relistPage), client.Continue(list.Continue))
		if err != nil {
			return fmt.Errorf("listing the migrations under way: %w", err)
		}
		for i := range list.Items {
			listed[list.Items[i].UID] = true
			q.put(&list.Items[i], true)
		}
		if list.Continue == "" {
			break
		}
	}
	for uid, e := range q.entries {
		if e.lm.Status.Attempt == nil || listed[uid] {
			continue
		}
		if err := q.reread(ctx, uid, client.ObjectKeyFromObject(e.lm)); err != nil {
			return err
		}
	}
	return nil
}

// reread takes an object in as it is now, even where that is older than what is known: then
// the API server's data were restored.
func (q *queue) reread(ctx context.Context, uid types.UID, key types.NamespacedName) error {
	lm := &v1alpha1.LiveMigration{}
	err := q.reader.Get(ctx, key, lm)
	switch {
	case apierrors.IsNotFound(err), err == nil && lm.UID != uid:
		q.drop(uid)
		return nil
	case err != nil:
		return fmt.Errorf("reading a migration: %w", err)
	}
	if e := q.entries[uid]; e != nil {
		e.doubted = false
		if newer(e.lm.ResourceVersion, lm.ResourceVersion) {
			q.drop(uid)
		}
	}
	q.put(lm, true)
	return nil
}

// adopt makes another manager's promise this one's, which is void if the object has
// changed since: then it was kept, or cannot be any more.
func (q *queue) adopt(ctx context.Context, p *promise) error {
	if err := q.reread(ctx, p.UID, p.key()); err != nil {
		return err
	}
	if e := q.entries[p.UID]; e != nil && e.lm.ResourceVersion == p.Version {
		if e.promise == nil {
			e.adopted = q.clock.Now()
		}
		e.promise, e.decided = p, false
		q.wake(p.key())
	}
	return nil
}

// sleep lets others at the queue for a while.
func (q *queue) sleep(ctx context.Context, d time.Duration) error {
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-q.clock.After(d):
		return nil
	}
}
