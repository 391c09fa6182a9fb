package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/statuscheck"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

const guestUUID = "11111111-1111-4111-8111-111111111111"

// world is a fleet of fake hypervisors, the agents under test, and an API server
// with a manager in memory. It lives in a bubble in which time is not real.
type world struct {
	t     *testing.T
	fleet *fake.Fleet
	api   *memoryAPI
	a, b  *testAgent
}

// inWorld runs a test in a world with a guest on node-a.
func inWorld(t *testing.T, test func(w *world), options ...fake.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, fleet: fake.NewFleet(options...)}
		w.api = &memoryAPI{t: t, objects: map[types.UID]*v1alpha1.LiveMigration{}}
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		w.a, w.b = newTestAgent(w, "node-a"), newTestAgent(w, "node-b")
		w.api.agents = []*testAgent{w.a, w.b}
		w.a.start()
		w.b.start()
		defer func() {
			w.a.stop()
			w.b.stop()
			w.fleet.Close()
		}()
		test(w)
	})
}

// whoeverDies has the agent that makes the first write of a migration killed before it and after it, then that of the
// second, and so on. Prepare sets the world up, change is made to the LiveMigration, and judge looks at its end.
func whoeverDies(t *testing.T, prepare func(w *world), change func(*v1alpha1.LiveMigration), judge func(w *world, lm *v1alpha1.LiveMigration)) {
	for _, after := range []bool{false, true} {
		for write := 1; ; write++ {
			reached := false
			inWorld(t, func(w *world) {
				prepare(w)
				crashed := w.crashAt(write, after)
				lm := w.migrateWith(guestUUID, change)
				time.Sleep(10 * time.Second)
				select {
				case victim := <-crashed:
					reached = true
					victim.restart()
				default:
				}
				lm = w.settle(lm)
				w.requireSettledTruth(lm)
				judge(w, lm)
				if t.Failed() {
					t.Logf("killed at write %d, after it: %t", write, after)
				}
			})
			if !reached {
				if write < 5 {
					t.Errorf("there were only %d writes to crash at", write-1)
				}
				break
			}
		}
	}
}

// crashAt has the agent that makes a write, of all that are made, be killed right before or
// after it, and returns where to hear which one that was.
func (w *world) crashAt(write int, after bool) <-chan *testAgent {
	crashed := make(chan *testAgent, 1)
	crash := func(n int, by *testAgent) bool {
		if n == write {
			by.cancel()
			crashed <- by
		}
		return n == write
	}
	if after {
		w.api.after = crash
	} else {
		w.api.before = crash
	}
	return crashed
}

// testAgent is an agent that can be killed and started again.
type testAgent struct {
	w      *world
	name   string
	files  fs.FS // The host's.
	system fs.FS // The kernel's.
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu             sync.Mutex
	node           *Node
	source, target *Sessions
	// delivered is the latest version of each object that this process was told:
	// a watch never goes back.
	delivered map[types.UID]int
}

func newTestAgent(w *world, name string) *testAgent {
	return &testAgent{w: w, name: name}
}

// start starts a new process of the agent, which knows nothing of the one before.
func (a *testAgent) start() { a.startWith(a.w.api.all()...) }

// startWith starts one whose first view of the objects is the given one.
func (a *testAgent) startWith(objects ...*v1alpha1.LiveMigration) {
	node := &Node{
		Name: a.name, Hypervisor: a.w.fleet.Host(a.name), Recorder: &memoryRecorder{api: a.w.api, agent: a},
		Receive: ReceiveConfig{
			Endpoint:      v1alpha1.TargetEndpoint{Address: a.name, Transport: v1alpha1.TransportTCP},
			ListenAddress: netip.MustParseAddr("192.0.2.1"), SerialPorts: PortRange{First: 10000, Last: 10009},
			AllowedPaths: []string{"/images", "/shared"},
		},
		Clock: clock.RealClock{}, Log: logr.Discard(), Secrets: &memorySecrets{api: a.w.api},
		Files: HostFiles{Host: a.files, System: a.system},
	}
	loans := NewLoans(node)
	ctx, cancel := context.WithCancel(context.Background())
	a.mu.Lock()
	a.node = node
	a.source, a.target, a.cancel = NewSourceSessions(node), NewTargetSessions(node), cancel
	a.delivered = map[types.UID]int{}
	for _, s := range []interface{ Start(context.Context) error }{a.source, a.target, loans} {
		a.ended.Go(func() { _ = s.Start(ctx) })
	}
	a.mu.Unlock()
	synctest.Wait()
	a.adopt(objects)
	for _, lm := range objects {
		a.deliver(lm)
	}
}

// adopt hands over what there is at the start, before anything else, as the controllers do.
func (a *testAgent) adopt(objects []*v1alpha1.LiveMigration) {
	var leaving, coming []*v1alpha1.LiveMigration
	for _, lm := range objects {
		if lm.Status.SourceNode == a.name {
			leaving = append(leaving, lm.DeepCopy())
		}
		if lm.Status.TargetNode == a.name {
			coming = append(coming, lm.DeepCopy())
		}
	}
	a.source.Adopt(leaving)
	a.target.Adopt(coming)
}

func (a *testAgent) stop() {
	a.cancel()
	a.ended.Wait()
}

func (a *testAgent) restart() {
	a.stop()
	a.start()
}

// deliver hands an object to the agent, as a watch with field selectors does.
func (a *testAgent) deliver(lm *v1alpha1.LiveMigration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	version, err := strconv.Atoi(lm.ResourceVersion)
	if err != nil {
		a.w.t.Error(err)
	}
	if version < a.delivered[lm.UID] {
		return
	}
	a.delivered[lm.UID] = version
	if lm.Status.SourceNode == a.name {
		a.source.Ensure(lm.DeepCopy())
	}
	if lm.Status.TargetNode == a.name {
		a.target.Ensure(lm.DeepCopy())
	}
}

// memoryAPI is an API server and a manager: each write is followed by the
// manager's decision, and the result is delivered to the agents.
type memoryAPI struct {
	t      *testing.T
	agents []*testAgent

	mu      sync.Mutex
	objects map[types.UID]*v1alpha1.LiveMigration
	version int
	away    bool
	// full is whether no slot for copying is free.
	full bool
	// mappings are those of storage that node-b's Hypervisor has.
	mappings []v1alpha1.StorageMapping
	// before and after are called with the number of each write of an agent's
	// section, and may end the agent; they return whether they did.
	writes        int
	before, after func(write int, by *testAgent) (ended bool)
	// spoil changes what the target's agent writes when it is ready.
	spoil func(*v1alpha1.TargetStatus)
}

func (m *memoryAPI) all() []*v1alpha1.LiveMigration {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*v1alpha1.LiveMigration, 0, len(m.objects))
	for _, lm := range m.objects {
		out = append(out, lm.DeepCopy())
	}
	return out
}

func (m *memoryAPI) writeCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

func (m *memoryAPI) get(lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[lm.UID].DeepCopy()
}

// touch changes nothing of an object but its version and finalizers, and tells
// nobody.
func (m *memoryAPI) touch(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lm := m.objects[uid].DeepCopy()
	m.version++
	lm.ResourceVersion, lm.Finalizers = strconv.Itoa(m.version), []string{v1alpha1.FinalizerGuestSafe}
	m.objects[uid] = lm
}

// update changes an object, lets the manager decide, and tells everybody.
func (m *memoryAPI) update(uid types.UID, change func(*v1alpha1.LiveMigration)) {
	m.mu.Lock()
	lm := m.objects[uid].DeepCopy()
	before := lm.DeepCopy()
	change(lm)
	nodes := migration.NewInventory(
		migration.Node{Name: "node-a", Ready: true, Domains: []v1alpha1.HypervisorDomain{
			{UUID: lm.Spec.Domain, Name: "web", State: "Running", Reason: "Booted"},
		}},
		migration.Node{Name: "node-b", Ready: true, StorageMappings: m.mappings},
	)
	nobody := func(string) (migration.Arrival, bool) { return migration.Arrival{}, false }
	facts := migration.ManagerFacts{
		Object: lm, Nodes: nodes, NewAttempt: func() string { return "attempt-" + string(uid) },
		Turn: migration.Turn{
			Resolution: migration.Resolve(&lm.Spec, lm.Status.DomainUUID, nodes, nobody, time.Now()), Admit: true, Grant: !m.full,
		},
	}
	summary := migration.Summarize(facts, time.Now())
	next := summary.Status
	next.Source, next.Target, next.Progress = lm.Status.Source, lm.Status.Target, lm.Status.Progress
	lm.Status = next
	m.version++
	lm.ResourceVersion = strconv.Itoa(m.version)
	m.objects[uid] = lm
	m.mu.Unlock()
	// What a test has spoilt on purpose is beyond the schema's bounds.
	if err := errors.Join(statuscheck.Check(lm), statuscheck.CheckTransition(before, lm)); err != nil && m.spoil == nil {
		m.t.Errorf("in phase %s: %v", lm.Status.Phase, err)
	}
	for _, a := range m.agents {
		a.deliver(lm)
	}
}

// memoryRecorder is one agent's access to the API.
type memoryRecorder struct {
	api   *memoryAPI
	agent *testAgent
}

var _ Recorder = (*memoryRecorder)(nil)

func (r *memoryRecorder) Refresh(ctx context.Context, lm *v1alpha1.LiveMigration) (*v1alpha1.LiveMigration, error) {
	if err := r.reach(ctx); err != nil {
		return nil, err
	}
	return r.api.get(lm), nil
}

func (r *memoryRecorder) reach(ctx context.Context) error {
	r.api.mu.Lock()
	defer r.api.mu.Unlock()
	if r.api.away {
		return errors.New("the API server is away")
	}
	return ctx.Err()
}

func (r *memoryRecorder) RecordSource(ctx context.Context, lm *v1alpha1.LiveMigration, report SourceReport, ifUnchanged bool) error {
	return r.write(ctx, lm, ifUnchanged, func(now *v1alpha1.LiveMigration) {
		now.Status.Source, now.Status.Progress = report.Section.DeepCopy(), report.Progress.DeepCopy()
	})
}

func (r *memoryRecorder) RecordTarget(ctx context.Context, lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) error {
	section = section.DeepCopy()
	if r.api.spoil != nil && section.ReadyTime != nil {
		r.api.spoil(section)
	}
	return r.write(ctx, lm, false, func(now *v1alpha1.LiveMigration) { now.Status.Target = section })
}

func (r *memoryRecorder) write(ctx context.Context, lm *v1alpha1.LiveMigration, ifUnchanged bool, change func(*v1alpha1.LiveMigration)) error {
	if err := r.reach(ctx); err != nil {
		return err
	}
	r.api.mu.Lock()
	r.api.writes++
	n, before, after := r.api.writes, r.api.before, r.api.after
	r.api.mu.Unlock()
	if before != nil && before(n, r.agent) {
		return context.Canceled
	}
	if ifUnchanged && r.api.get(lm).ResourceVersion != lm.ResourceVersion {
		return ErrConflict
	}
	r.api.update(lm.UID, change)
	if after != nil && after(n, r.agent) {
		return context.Canceled
	}
	return nil
}

// migrate creates a migration of a guest from node-a to node-b.
func (w *world) migrate(guest string) *v1alpha1.LiveMigration {
	return w.migrateWith(guest, func(*v1alpha1.LiveMigration) {})
}

// migrateWith creates one that is changed before.
func (w *world) migrateWith(guest string, change func(*v1alpha1.LiveMigration)) *v1alpha1.LiveMigration {
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{Name: "m-" + guest[:4], Namespace: "default", UID: types.UID("uid-" + guest), Generation: 1},
		Spec:       v1alpha1.LiveMigrationSpec{Domain: guest, TargetNode: "node-b"},
		Status:     v1alpha1.LiveMigrationStatus{ObservedGeneration: -1},
	}
	change(lm)
	w.api.mu.Lock()
	w.api.objects[lm.UID] = lm
	w.api.mu.Unlock()
	w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
	return lm
}

// settle lets time pass until the migration has ended or its outcome is called
// unknown. The manager looks again each second, as its rechecks make it.
func (w *world) settle(lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	w.t.Helper()
	for range 600 {
		time.Sleep(time.Second)
		synctest.Wait()
		w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
		now := w.api.get(lm)
		if migration.Finished(now) || now.Status.Phase == v1alpha1.PhaseUnknown {
			synctest.Wait()
			return w.api.get(lm)
		}
	}
	w.t.Fatalf("the migration does not end: %+v", w.api.get(lm).Status)
	return nil
}

func reason(lm *v1alpha1.LiveMigration) string {
	return meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded).Reason
}

// requireOnce fails if the guest does not run exactly once, or was started off
// more than once.
func (w *world) requireOnce(host string) {
	w.t.Helper()
	if on := w.fleet.RunningOn(guestUUID); len(on) != 1 || on[0] != host {
		w.t.Errorf("the guest runs on %v, want it on %s", on, host)
	}
	if n := w.fleet.Count(fake.MethodMigrate, guestUUID); n > 1 {
		w.t.Errorf("the migration was started %d times", n)
	}
}

func running(d hypervisor.Domain) bool { return d.State == hypervisor.StateRunning }
