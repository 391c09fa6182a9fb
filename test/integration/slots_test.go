//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// crowd is a number of guests on made-up hosts, with real agents.
func (w *world) crowd(fleet *fake.Fleet, n int, letters ...string) []guest {
	w.t.Helper()
	guests, _ := w.newGuests(n)
	for i, g := range guests {
		fleet.Host(w.node(letters[i%len(letters)])).AddGuest(fake.Guest{UUID: g.uuid, Name: g.name, Persistent: i%2 == 0})
	}
	for _, letter := range letters {
		w.runAgent(w.newAgent(letter), fleet.Host(w.node(letter)))
	}
	return guests
}

// copyingAtOnce returns how many migrations had a slot for copying at the same time, by
// the order in which the API server took the writes.
func copyingAtOnce(moves []*move) int {
	type step struct {
		version int64
		uid     types.UID
		copying bool
	}
	var steps []step
	for _, m := range moves {
		for _, lm := range m.history() {
			stage := migration.NewClaim(lm, time.Now()).Stage
			copying := !migration.Finished(lm) && stage == migration.StageCopying
			var version int64
			_, _ = fmt.Sscan(lm.ResourceVersion, &version)
			steps = append(steps, step{version, lm.UID, copying})
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return int(a.version - b.version) })
	most, now := 0, map[types.UID]bool{}
	for _, s := range steps {
		if s.copying {
			now[s.uid] = true
		} else {
			delete(now, s.uid)
		}
		most = max(most, len(now))
	}
	return most
}

// TestANodeSendsOneGuestAtATime and in the order in which the migrations were applied,
// although they were created in the same second.
func TestANodeSendsOneGuestAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	guests := w.crowd(fleet, 8, "a")
	w.runAgent(w.newAgent("b"), fleet.Host(w.node("b")))
	w.runManager(ctrl.Options{Cache: w.cacheOptions()}, managerSetup{clock: clock.RealClock{}, limits: migration.DefaultLimits()})
	w.awaitReady("a", "b")
	var moves []*move
	for _, g := range guests {
		moves = append(moves, w.migrate(g, "b"))
	}
	var last time.Time
	for i, m := range moves {
		lm := m.awaitReason(v1alpha1.ReasonMigrated)
		granted := lm.Status.Attempt.CopyGrantedTime.Time
		if granted.Before(last) {
			t.Errorf("the migration %d got its slot before the one that was applied before it", i)
		}
		last = granted
	}
	if n := copyingAtOnce(moves); n != 1 {
		t.Errorf("%d were copied at once", n)
	}
	waited := moves[len(moves)-1].history()
	told := slices.ContainsFunc(waited, func(lm *v1alpha1.LiveMigration) bool {
		return reasonOf(lm) == v1alpha1.ReasonWaitingForSlot && lm.Status.Queue.WaitingFor == v1alpha1.SlotSource &&
			lm.Status.Queue.Position > 0 && strings.Contains(succeeded(lm).Message, w.node("a")+" already sends as many guests as it may")
	})
	if !told {
		t.Error("the last one did not say what it waited for")
	}
}

// TestPriorityGoesFirst among those that wait.
func TestPriorityGoesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	guests := w.crowd(fleet, 6, "a")
	w.runAgent(w.newAgent("b"), fleet.Host(w.node("b")))
	limits := migration.DefaultLimits()
	limits.Preparing = 0
	w.runManager(ctrl.Options{Cache: w.cacheOptions()}, managerSetup{clock: clock.RealClock{}, limits: limits})
	w.awaitReady("a", "b")
	var moves []*move
	for i, g := range guests {
		lm := w.newMigration(g, "b")
		if i == len(guests)-1 {
			lm.Spec.Priority = new(int32(1))
		}
		moves = append(moves, w.follow(lm))
	}
	var granted []time.Time
	for _, m := range moves {
		granted = append(granted, m.awaitReason(v1alpha1.ReasonMigrated).Status.Attempt.CopyGrantedTime.Time)
	}
	if urgent := granted[len(granted)-1]; urgent.After(granted[2]) {
		t.Errorf("the urgent one got its slot at %s, the others at %s", urgent, granted)
	}
}

// TestTwoManagersThatBothLead never give more slots than there are, and never two for
// the same guest, however their writes interleave.
func TestTwoManagersThatBothLead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	guests := w.crowd(fleet, 9, "a", "b", "c")
	limits := migration.Limits{Source: 1, Target: 2, Cluster: 2, Preparing: 1}
	for range 2 {
		w.runManager(ctrl.Options{Cache: w.cacheOptions()}, managerSetup{clock: clock.RealClock{}, limits: limits})
	}
	w.awaitReady("a", "b", "c")
	var moves []*move
	next := map[int]string{0: "b", 1: "c", 2: "a"}
	for i, g := range guests {
		moves = append(moves, w.migrate(g, next[i%3]), w.migrate(g, next[(i+1)%3]))
	}
	for i, m := range moves {
		m.awaitReason(v1alpha1.ReasonMigrated)
		if i%2 == 1 {
			requireApart(t, moves[i-1], m)
		}
	}
	if n := copyingAtOnce(moves); n > limits.Cluster {
		t.Errorf("%d were copied at once", n)
	}
}

// TestAPromiseOutlivesWhoMadeIt: a manager has promised a slot, and stands still before
// it writes that. The next one neither gives the slot to another nor loses it.
func TestAPromiseOutlivesWhoMadeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	guests := w.crowd(fleet, 2, "a")
	w.runAgent(w.newAgent("b"), fleet.Host(w.node("b")))
	standing := &standingClient{stands: make(chan struct{}), resume: make(chan struct{})}
	setup := managerSetup{clock: clock.RealClock{}, limits: migration.DefaultLimits(), through: standing.through}
	stop := w.runManager(ctrl.Options{Cache: w.cacheOptions()}, setup)
	w.awaitReady("a", "b")
	first := w.migrate(guests[0], "b")
	<-standing.stands
	setup.through = nil
	w.runManager(ctrl.Options{Cache: w.cacheOptions()}, setup)
	second := w.migrate(guests[1], "b")
	admitted := first.await("its admission", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Attempt != nil })
	close(standing.resume)
	done := first.awaitReason(v1alpha1.ReasonMigrated)
	if done.Status.Attempt.ID != admitted.Status.Attempt.ID {
		t.Error("it was admitted twice")
	}
	second.awaitReason(v1alpha1.ReasonMigrated)
	stop()
	if n := copyingAtOnce([]*move{first, second}); n != 1 {
		t.Errorf("%d were copied at once", n)
	}
}

// standingClient stands still before it first writes a status.
type standingClient struct {
	client.Client
	once           sync.Once
	stands, resume chan struct{}
}

func (c *standingClient) through(next client.Client) client.Client {
	c.Client = next
	return c
}

// Status implements client.Client.
func (c *standingClient) Status() client.SubResourceWriter {
	return standingWriter{SubResourceWriter: c.Client.Status(), client: c}
}

type standingWriter struct {
	client.SubResourceWriter
	client *standingClient
}

// Apply implements client.SubResourceWriter.
func (w standingWriter) Apply(ctx context.Context, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
	w.client.once.Do(func() { close(w.client.stands) })
	<-w.client.resume
	return w.SubResourceWriter.Apply(ctx, o, opts...)
}

// TestADryRunWaitsForNobody who moves another guest, and moves nothing itself.
func TestADryRunWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	huge := w.newGuest("huge")
	fleet.Host(w.node("a")).AddGuest(fake.Guest{UUID: huge.uuid, Name: huge.name, MemoryBytes: 1 << 50})
	small := w.crowd(fleet, 1, "a")[0]
	w.runAgent(w.newAgent("b"), fleet.Host(w.node("b")))
	w.runManager(ctrl.Options{Cache: w.cacheOptions()}, managerSetup{clock: clock.RealClock{}, limits: migration.DefaultLimits()})
	w.awaitReady("a", "b")
	w.migrate(huge, "b").awaitReason(v1alpha1.ReasonMigrating)
	dry := w.newMigration(small, "b")
	dry.Spec.DryRun = new(true)
	lm := w.follow(dry).awaitReason(v1alpha1.ReasonChecksPassed)
	if message := succeeded(lm).Message; message != "Dry run: the guest can be moved from "+w.node("a")+" to "+w.node("b")+"; nothing was touched" {
		t.Errorf("the message is %q", message)
	}
	if n := fleet.Count(fake.MethodMigrate, small.uuid); n != 0 || lm.Status.Attempt.CopyGrantedTime != nil {
		t.Errorf("it was started %d times, with a slot at %v", n, lm.Status.Attempt.CopyGrantedTime)
	}
}
