package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// lifeOf runs sessions that do what run says, in a bubble.
func lifeOf(t *testing.T, log logr.Logger, run func(ctx context.Context, box *mailbox), test func(s *Sessions)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		node := &Node{Name: "node-a", Clock: clock.RealClock{}, Log: log}
		s := newSessions(node, side{
			run:     func(ctx context.Context, _ *Node, box *mailbox) { run(ctx, box) },
			restore: node.keepPorts, release: node.ports.release, left: func(*v1alpha1.LiveMigration) bool { return false },
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = s.Start(ctx)
		}()
		synctest.Wait()
		test(s)
		cancel()
		<-ended
	})
}

func objectNamed(name string) *v1alpha1.LiveMigration {
	return &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name)}}
}

func keyOf(lm *v1alpha1.LiveMigration) types.NamespacedName {
	return types.NamespacedName{Namespace: lm.Namespace, Name: lm.Name}
}

func finishedVersion(lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	lm = lm.DeepCopy()
	meta.SetStatusCondition(&lm.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue})
	return lm
}

// TestAnObjectHandedToAnEndingSessionIsServed by another one.
func TestAnObjectHandedToAnEndingSessionIsServed(t *testing.T) {
	for name, c := range map[string]struct {
		late func(lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration
		runs int
	}{
		"the same version":  {func(lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration { return lm }, 2},
		"one that is final": {finishedVersion, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var runs int
			var ending chan struct{}
			run := func(_ context.Context, box *mailbox) {
				runs++
				box.get()
				if runs == 1 {
					<-ending
				}
			}
			lifeOf(t, logr.Discard(), run, func(s *Sessions) {
				ending = make(chan struct{})
				lm := objectNamed("m")
				s.Ensure(lm)
				synctest.Wait()
				s.Ensure(c.late(lm))
				close(ending)
				synctest.Wait()
				if runs != c.runs {
					t.Errorf("it was served %d times, want %d", runs, c.runs)
				}
				if s.Serves(keyOf(lm)) {
					t.Error("its service goes on")
				}
			})
		})
	}
}

// TestAPanicEndsItsSessionOnly, which is started again, ever more seldom, for as long
// as there is something to do.
func TestAPanicEndsItsSessionOnly(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	log := funcr.New(func(_, args string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, args)
	}, funcr.Options{})
	var runs, others atomic.Int32
	run := func(ctx context.Context, box *mailbox) {
		if lm, _ := box.get(); lm.Name != "bad" {
			others.Add(1)
			<-ctx.Done()
			return
		}
		runs.Add(1)
		panic("out of range")
	}
	lifeOf(t, log, run, func(s *Sessions) {
		bad := objectNamed("bad")
		s.Ensure(objectNamed("good"))
		s.Ensure(bad)
		time.Sleep(10 * time.Minute)
		if n := runs.Load(); n < 10 || n > 20 {
			t.Errorf("it was started %d times in ten minutes", n)
		}
		if n := others.Load(); n != 1 {
			t.Errorf("the other was started %d times", n)
		}
		mu.Lock()
		logged := slices.Clone(lines)
		mu.Unlock()
		if len(logged) == 0 || !strings.Contains(logged[0], "out of range") || !strings.Contains(logged[0], "TestAPanicEndsItsSessionOnly") {
			t.Errorf("the log says %q", logged)
		}
		before := runs.Load()
		s.Remove(keyOf(bad))
		time.Sleep(10 * time.Minute)
		if n := runs.Load() - before; n > 1 {
			t.Errorf("it was started %d times after its object was gone", n)
		}
		if s.Serves(keyOf(bad)) {
			t.Error("its service goes on")
		}
	})
}

// offered is an object whose target has been promised a port.
func offered(name string, port int32) *v1alpha1.LiveMigration {
	lm := objectNamed(name)
	lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1"}
	lm.Status.Target = &v1alpha1.TargetStatus{
		AttemptID: "1", Offer: &v1alpha1.TargetOffer{Serial: &v1alpha1.SerialMigrateData{Ports: []int32{port}}},
	}
	return lm
}

// TestAnAgentKeepsItsPredecessorsPromises before it makes any of its own.
func TestAnAgentKeepsItsPredecessorsPromises(t *testing.T) {
	var s *Sessions
	var got chan []int32
	run := func(ctx context.Context, box *mailbox) {
		if lm, _ := box.get(); lm.Name == "new" {
			ports, err := s.node.ports.promise(lm.UID, 1, PortRange{First: 10000, Last: 10009}, map[int32]bool{})
			if err != nil {
				t.Error(err)
			}
			got <- ports
		}
		<-ctx.Done()
	}
	lifeOf(t, logr.Discard(), run, func(sessions *Sessions) {
		s, got = sessions, make(chan []int32, 1)
		s.Adopt([]*v1alpha1.LiveMigration{objectNamed("new"), offered("old", 10000)})
		if ports := <-got; ports[0] == 10000 {
			t.Error("the port was promised twice")
		}
	})
}

// TestAReleasedPortIsTakenUntilItsGuestCanBeSeen: who looks at the guests' ports when
// one arrives may have missed it.
func TestAReleasedPortIsTakenUntilItsGuestCanBeSeen(t *testing.T) {
	t.Parallel()
	var p portPool
	r := PortRange{First: 10000, Last: 10009}
	promise := func(uid types.UID) int32 {
		t.Helper()
		ports, err := p.promise(uid, 1, r, map[int32]bool{})
		if err != nil {
			t.Fatal(err)
		}
		return ports[0]
	}
	if port := promise("a"); port != 10000 {
		t.Fatalf("the first port is %d", port)
	}
	done := p.survey()
	p.release("a")
	if port := promise("b"); port != 10001 {
		t.Errorf("during the look, %d was promised", port)
	}
	done()
	defer p.survey()()
	if port := promise("c"); port != 10000 {
		t.Errorf("after it, %d was promised", port)
	}
}

// TestARefusedReportIsRepeatedSeldom, and another is tried at once.
func TestARefusedReportIsRepeatedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &Node{Clock: clock.RealClock{}, Log: logr.Discard()}
		var tries, written atomic.Int32
		out := newReporter(node, node.Log, func(_ context.Context, report int) error {
			tries.Add(1)
			if report != 2 {
				return errors.Join(ErrRefused, errors.New("invalid"))
			}
			written.Store(int32(report))
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			out.run(ctx)
		}()
		out.report(1, atOnce)
		time.Sleep(time.Hour)
		if n := tries.Load(); n < 50 || n > 80 {
			t.Errorf("it was tried %d times in an hour", n)
		}
		before := tries.Load()
		for second := range 60 {
			time.Sleep(time.Second)
			out.report(100+second, later)
		}
		if n := tries.Load() - before; n > 2 {
			t.Errorf("it was tried %d times in a minute of progress", n)
		}
		out.report(2, atOnce)
		synctest.Wait()
		if written.Load() != 2 {
			t.Error("the next report waits")
		}
		cancel()
		<-ended
	})
}

// TestAPanicInARecorder is one failed write.
func TestAPanicInARecorder(t *testing.T) {
	inWorld(t, func(w *world) {
		var once sync.Once
		w.api.before = func(int, *testAgent) bool {
			once.Do(func() { panic("in the recorder") })
			return false
		}
		if lm := w.settle(w.migrate(guestUUID)); lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("the end is %s %s", lm.Status.Phase, reason(lm))
		}
		w.requireOnce("node-b")
	})
}

// TestASessionThatPanicsMidway is started again and adopts what is under way.
func TestASessionThatPanicsMidway(t *testing.T) {
	inWorld(t, func(w *world) {
		broken := &panicking{Host: w.fleet.Host("node-a")}
		w.a.source.node.Hypervisor = broken
		if lm := w.settle(w.migrate(guestUUID)); lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("the end is %s %s", lm.Status.Phase, reason(lm))
		}
		if !broken.panicked.Load() {
			t.Error("nothing has gone wrong")
		}
		w.requireOnce("node-b")
	})
}

// panicking is a host with which something goes wrong when a job is first looked at.
type panicking struct {
	*fake.Host
	panicked atomic.Bool
}

func (p *panicking) JobStats(ctx context.Context, uuid string) (hypervisor.JobStats, error) {
	stats, err := p.Host.JobStats(ctx, uuid)
	if stats.MigratingOut() && p.panicked.CompareAndSwap(false, true) {
		panic("a number that nobody expects")
	}
	return stats, err
}

// TestAPostCopyWithoutAJobIsToldAtOnce: the emulator may be too busy to be asked for its
// job, and the target and the manager go by the switch.
func TestAPostCopyWithoutAJobIsToldAtOnce(t *testing.T) {
	node := &Node{Clock: clock.RealClock{}, Log: logr.Discard()}
	s := &sourceSession{
		node: node, log: node.Log, lm: &v1alpha1.LiveMigration{}, section: &v1alpha1.SourceStatus{}, call: migration.CallInFlight,
		out: newReporter(node, node.Log, func(context.Context, SourceReport) error { return nil }),
		now: sighting{seen: true, domain: &hypervisor.Domain{State: hypervisor.StatePaused, Reason: hypervisor.ReasonPostcopy}},
	}
	s.follow(t.Context())
	if !migration.InPostCopy(s.section) || s.out.wait() > 0 {
		t.Errorf("it is told after %s", s.out.wait())
	}
}
