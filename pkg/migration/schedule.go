package migration

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Limits bound how many migrations go on at once. libvirtd has a limited number of
// workers, of which each migration holds one; and migrations that share a link keep
// each other from converging.
type Limits struct {
	// Source and Target are how many guests a node may send and receive at a time,
	// and Cluster how many may be copied in all; zero is as many as there are nodes
	// that are ready.
	Source, Target, Cluster int
	// Preparing is how many migrations may be prepared on each side of a node beside
	// those, so that they can start as soon as a slot is free.
	Preparing int
}

// DefaultLimits are the limits that the manager has where nobody sets others.
func DefaultLimits() Limits { return Limits{Source: 1, Target: 2, Preparing: 2} }

// InAll is how many migrations may be copied, and how many more prepared, in a cluster
// with so many nodes that are ready, if they are spread over all of them.
func (l Limits) InAll(readyNodes int) (copying, preparing int) {
	return min(l.ofCluster(readyNodes), readyNodes*l.Source, readyNodes*l.Target), readyNodes * l.Preparing
}

// ofCluster is how many may be copied wherever they come from and go to.
func (l Limits) ofCluster(readyNodes int) int {
	if l.Cluster == 0 {
		return max(1, readyNodes)
	}
	return l.Cluster
}

const (
	// priorityWeight is how much waiting a point of priority counts for. Without a
	// bound those of a low priority could wait for ever.
	priorityWeight = 10 * time.Minute
	// reserveAfter is how long a migration that is the first to wait for a slot has
	// waited when its other slots are kept free for it. Until then, others may use what
	// it cannot. They may again after reserveTurns, for as long: what it waits for may
	// never come. From then on each turn lasts twice as long as the one before, so that
	// all slots come free in one of them, however long other migrations take.
	reserveAfter = 2 * time.Minute
	reserveTurns = 10 * time.Minute
	// readyGrace is how long a migration that was just admitted keeps its turn while
	// the agents prepare it.
	readyGrace = 5 * time.Second
	// stalledAfter is how long post-copy has been interrupted when it no longer counts among
	// those that the cluster copies: its target may never come back, and then it would keep
	// others from moving until somebody notices.
	stalledAfter = 5 * time.Minute
	// dryRuns is how many dry runs go on at once on each side of a node. They take no slot
	// from anybody, nor wait for one: each is over in a minute at most.
	dryRuns = 1
)

// Stage is how far a migration has come, in terms of slots.
type Stage int

// The stages.
const (
	// StageWaiting: not let go ahead; it holds nothing.
	StageWaiting Stage = iota
	// StagePreparing: let go ahead, and waits for its slot for copying.
	StagePreparing
	// StageCopying: holds its slot for copying.
	StageCopying
	// StageEnding: the job is over, or there is none; it holds its guest alone.
	StageEnding
)

// Claim is what a migration that has not ended has, or wants.
type Claim struct {
	Object *v1alpha1.LiveMigration
	Stage  Stage
	// Resolution says where the guest is, as long as the migration waits.
	Resolution Resolution
	// Guest is the guest's UUID or, as long as that is not known, what the user calls
	// the guest.
	Guest          string
	Source, Target string
	// Since is when the claim came to its stage.
	Since time.Time
	// Ready is whether the agents have prepared it.
	Ready bool
	// Gone is whether it is to be cancelled: it wants nothing any more.
	Gone bool
	// Granted is whether it is promised its slot for copying, and keeps the one for being
	// prepared until its status says so: of two writes, the later may arrive first.
	Granted bool
	// Stalled is whether it keeps its nodes' slots and no longer the cluster's: post-copy has
	// been interrupted for long. If it goes on after all, nothing can hold it back, as its
	// guest stands still without it, and the cluster may copy one more than its limit.
	Stalled bool
	// PassedOver is whether it is given nothing for now, as its object could not be
	// written when it was. It keeps what it has.
	PassedOver bool
	// Order tells apart what was created in the same second: it is the version at which
	// the object was first seen.
	Order int64
}

// NewClaim returns the claim of a migration that has not ended. Its resolution is for
// the caller to add where it waits.
func NewClaim(lm *v1alpha1.LiveMigration, now time.Time) *Claim {
	st := &lm.Status
	c := &Claim{
		Object: lm, Guest: strings.ToLower(cmp.Or(st.DomainUUID, lm.Spec.Domain)), Source: st.SourceNode, Target: st.TargetNode,
		Order: Order(lm), Since: lm.CreationTimestamp.Time, Gone: CancelRequested(lm) && !Started(lm),
	}
	if st.Attempt == nil {
		return c
	}
	c.Since = st.Attempt.AdmittedTime.Time
	target := CurrentTarget(lm)
	c.Ready = target != nil && target.ReadyTime != nil
	switch source := CurrentSource(lm); {
	case LooksOnly(lm), source != nil && source.End != nil, sourceGivenUp(lm, now), lostInPostCopy(lm, source, target):
		// Nothing is copied any more, whether or not the source has said so.
		c.Stage = StageEnding
	case st.Attempt.CopyGrantedTime != nil, Started(lm):
		// One that was started copies, whether or not its turn is on record: somebody may
		// have edited that, and an agent may lie.
		c.Stage = StageCopying
		c.Stalled = Interrupted(source) && now.Sub(source.Recovery.BrokenTime.Time) >= stalledAfter
	default:
		c.Stage = StagePreparing
	}
	return c
}

// Resolve adds where the guest of a migration that waits is.
func (c *Claim) Resolve(r Resolution) {
	c.Resolution, c.Source, c.Target = r, r.SourceNode, r.TargetNode
	if r.DomainUUID != "" {
		c.Guest = strings.ToLower(r.DomainUUID)
	}
}

// Promise counts what the migration has been promised, and its status does not say yet.
func (c *Claim) Promise(copying bool, guest, source, target string) {
	if guest != "" {
		c.Guest = strings.ToLower(guest)
	}
	switch {
	case source == "":
		c.Stage = StageEnding
	case copying:
		c.Granted = c.Stage == StagePreparing
		c.Stage = StageCopying
	default:
		c.Stage = StagePreparing
	}
	c.Source, c.Target = source, target
}

// sourceGivenUp reports whether somebody has removed the Hypervisor of a source that has
// not reported the end: it is not waited for any more.
func sourceGivenUp(lm *v1alpha1.LiveMigration, now time.Time) bool {
	since := lm.Status.Attempt.SourceMissingTime
	return since != nil && now.Sub(since.Time) >= MissingTimeout
}

// CopyIsOver reports whether the target shows that nothing of the guest is copied to it any
// more: what was coming is gone, or all of it has come. The source says so as well, if it can.
func CopyIsOver(lm *v1alpha1.LiveMigration) bool {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	if !Started(lm) || InPostCopy(source) || target == nil || target.IncomingTime == nil || target.Domain == nil {
		return false
	}
	switch SideOf(target.Domain) { //nolint:exhaustive // The others are there.
	case SideGone, SideStopped, SideMigrated:
		return target.IncomingEndedTime != nil
	default:
		return target.ArrivedTime != nil && ShowsWhole(target.Domain)
	}
}

// Turn is what a migration may do now.
type Turn struct {
	Resolution Resolution
	// Before is the migration of the same guest that goes first.
	Before *v1alpha1.LiveMigration
	// Admit is whether it may go ahead, and Grant whether it may copy.
	Admit, Grant bool
	// Order is the claim's.
	Order int64
	// WaitingFor is what it waits for, and Position its place among those that wait
	// for the same.
	WaitingFor v1alpha1.SlotKind
	Position   int32
	// KeptFree is whether nobody holds that, and it is kept free for one that has waited
	// for longer.
	KeptFree bool
	// Halted is whether nothing can be admitted before a person has done something.
	Halted bool
}

// Schedule says whose turn it is. The result has a turn for each claim, in the order of
// the claims, which it sorts.
//
// It goes by priority and age, but gives a slot to a later one where an earlier one
// could not use it: unless that waits for long.
func Schedule(claims []*Claim, limits Limits, readyNodes int, now time.Time) []Turn {
	slices.SortStableFunc(claims, compareTurn)
	s := newScheduler(claims, limits, readyNodes, now)
	turns := make([]Turn, len(claims))
	for i, c := range claims {
		turns[i].Resolution, turns[i].Order = c.Resolution, c.Order
		switch c.Stage {
		case StageWaiting:
			s.waiting(c, &turns[i])
		case StagePreparing:
			s.preparing(c, &turns[i])
		case StageCopying, StageEnding:
		}
	}
	return turns
}

// compareTurn orders claims by their turns.
func compareTurn(a, b *Claim) int {
	return cmp.Or(
		virtualAge(a.Object).Compare(virtualAge(b.Object)),
		cmp.Compare(a.Order, b.Order),
		cmp.Compare(a.Object.UID, b.Object.UID),
	)
}

// virtualAge is when a migration would have been created without its priority. It
// never changes, so nobody overtakes those that wait by waiting.
func virtualAge(lm *v1alpha1.LiveMigration) time.Time {
	var priority int32
	if lm.Spec.Priority != nil {
		priority = *lm.Spec.Priority
	}
	return lm.CreationTimestamp.Add(-time.Duration(priority) * priorityWeight)
}

// Order tells apart what was created in the same second: it is what the status says of
// it or, before, the object's version.
func Order(lm *v1alpha1.LiveMigration) int64 {
	if lm.Status.Queue != nil {
		return lm.Status.Queue.Order
	}
	return versionOf(lm)
}

// slot is a slot that migrations share.
type slot struct {
	kind v1alpha1.SlotKind
	node string
}

// scheduler counts who has what.
type scheduler struct {
	limits Limits
	now    time.Time
	// copying, prepared and checked count what is held or promised, the last by dry runs,
	// reserved what is kept free, and waiters and checkers those that wait for a slot, the
	// last for one of a dry run.
	copying, prepared, checked, reserved map[slot]int
	waiters, checkers                    map[slot]int32
	// guests are the migrations that hold a guest.
	guests map[string]*v1alpha1.LiveMigration
}

func newScheduler(claims []*Claim, limits Limits, readyNodes int, now time.Time) *scheduler {
	limits.Cluster = limits.ofCluster(readyNodes)
	s := &scheduler{
		limits: limits, now: now, copying: map[slot]int{}, prepared: map[slot]int{}, checked: map[slot]int{}, reserved: map[slot]int{},
		waiters: map[slot]int32{}, checkers: map[slot]int32{}, guests: map[string]*v1alpha1.LiveMigration{},
	}
	for _, c := range claims {
		switch {
		case c.Stage == StageCopying:
			s.hold(s.copying, c)
			if c.Granted {
				s.hold(s.prepared, c)
			}
		case c.Stage == StagePreparing && DryRun(c.Object):
			s.hold(s.checked, c)
		case c.Stage == StagePreparing:
			s.hold(s.prepared, c)
		}
		if c.Stage != StageWaiting {
			s.guests[c.Guest] = c.Object
		}
	}
	return s
}

func slotsOf(c *Claim) [3]slot {
	return [3]slot{{v1alpha1.SlotSource, c.Source}, {v1alpha1.SlotTarget, c.Target}, {v1alpha1.SlotCluster, ""}}
}

func (s *scheduler) hold(in map[slot]int, c *Claim) {
	for _, x := range slotsOf(c) {
		if x.kind != v1alpha1.SlotCluster || !c.Stalled {
			in[x]++
		}
	}
}

func (s *scheduler) limit(k v1alpha1.SlotKind) int {
	switch k {
	case v1alpha1.SlotSource:
		return s.limits.Source
	case v1alpha1.SlotTarget:
		return s.limits.Target
	case v1alpha1.SlotCluster:
	}
	return s.limits.Cluster
}

// lacks returns the first slot that there is none of for the claim.
func (s *scheduler) lacks(c *Claim) (x slot, ok bool) {
	for _, x := range slotsOf(c) {
		if s.copying[x]+s.reserved[x] >= s.limit(x.kind) {
			return x, true
		}
	}
	return slot{}, false
}

// waiting decides on a migration that has not been let go ahead.
func (s *scheduler) waiting(c *Claim, turn *Turn) {
	if c.Gone || c.PassedOver {
		return
	}
	if first := s.guests[c.Guest]; first != nil {
		turn.Before = first
		return
	}
	if DryRun(c.Object) && c.Resolution.Problem == nil && !c.Resolution.AlreadyOnTarget {
		s.dryRun(c, turn)
		return
	}
	s.guests[c.Guest] = c.Object
	switch x, lacking := s.lacks(c); {
	case c.Resolution.Problem != nil:
	case c.Resolution.AlreadyOnTarget:
		turn.Admit = true
	case !lacking:
		turn.Admit, turn.Grant = true, true
		s.hold(s.copying, c)
	default:
		s.wait(x, c, turn)
		turn.Admit = s.mayPrepare(c)
		if turn.Admit {
			s.hold(s.prepared, c)
		}
	}
}

// dryRun decides on a dry run that has not been let go ahead. One that waits for others does
// not hold its guest: it would keep the guest where it is for as long.
func (s *scheduler) dryRun(c *Claim, turn *Turn) {
	for _, x := range slotsOf(c) {
		if x.kind != v1alpha1.SlotCluster && s.checked[x] >= dryRuns {
			s.checkers[x]++
			turn.WaitingFor, turn.Position = x.kind, s.checkers[x]
			return
		}
	}
	turn.Admit = true
	s.hold(s.checked, c)
	s.guests[c.Guest] = c.Object
}

// mayPrepare reports whether the agents may prepare one more.
func (s *scheduler) mayPrepare(c *Claim) bool {
	source, target := slot{v1alpha1.SlotSource, c.Source}, slot{v1alpha1.SlotTarget, c.Target}
	return s.prepared[source] < s.limits.Preparing && s.prepared[target] < s.limits.Preparing
}

// preparing decides on a migration that was let go ahead and does not copy yet.
func (s *scheduler) preparing(c *Claim, turn *Turn) {
	if c.Gone || c.PassedOver || DryRun(c.Object) {
		return
	}
	switch x, lacking := s.lacks(c); {
	case lacking:
		s.wait(x, c, turn)
	case c.Ready:
		turn.Grant = true
		s.hold(s.copying, c)
	case within(s.now.Sub(c.Since), 0, readyGrace):
		s.hold(s.reserved, c)
	}
}

// wait puts a migration in the line for a slot. What else it needs is kept free for the
// first in the line, once that has waited for long: but for a slot of the cluster, as one of
// these comes free with the node's slot.
func (s *scheduler) wait(x slot, c *Claim, turn *Turn) {
	s.waiters[x]++
	turn.WaitingFor, turn.Position = x.kind, s.waiters[x]
	held := s.copying[x] >= s.limit(x.kind)
	turn.KeptFree = !held
	if waited := s.now.Sub(c.Since); !held || s.waiters[x] != 1 || !keepsFree(waited) {
		return
	}
	for _, other := range slotsOf(c) {
		if other != x && other.kind != v1alpha1.SlotCluster {
			s.reserved[other]++
		}
	}
}

// keepsFree reports whether slots are kept free for one that has waited for so long.
func keepsFree(waited time.Duration) bool {
	if waited < 2*reserveTurns {
		return within(waited, reserveAfter, reserveTurns)
	}
	doublings := bits.Len64(uint64(waited / (2 * reserveTurns)))
	return doublings%2 == 1
}

// within reports whether a time is in a span, the end of which does not belong to it.
func within(d, from, to time.Duration) bool { return d >= from && d < to }

// ShownPosition is a place in a line as people are told: the further back it is, the
// rougher, so that a long line does not have to be told of each step.
func ShownPosition(position int32) int32 {
	if position <= 5 {
		return position
	}
	for power := int32(10); ; power *= 10 {
		for _, shown := range []int32{power, 2 * power, 5 * power} {
			if shown >= position {
				return shown
			}
		}
	}
}

// versionOf returns an object's version as a number; zero if it has none. Versions of
// objects of one kind grow in the order of their writes.
func versionOf(lm *v1alpha1.LiveMigration) int64 {
	n, err := strconv.ParseInt(lm.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return max(0, n)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
