package simulation

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apiruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// How long things take.
const (
	// tick is how often the observer looks where nothing else makes it.
	tick = 100 * time.Millisecond
	// settleMost is how long everything may take to settle once the faults have ended: a
	// few migrations may go one after the other, each until its longest deadline, which is
	// that of a copy which comes as near as can be without an end: 1600 seconds.
	settleMost = time.Hour
	// quiet is how long what has not ended is watched then before it is judged: longer than
	// any deadline that leads to an outcome that is not known.
	quiet = 3 * time.Minute
)

// world is a cluster, with all that happens in it.
type world struct {
	plan     plan
	verbs    map[string]verb
	seed     uint64
	scheme   *apiruntime.Scheme
	fleet    *fake.Fleet
	server   *server
	observer *observer
	hosts    []*host
	guests   []*guest
	limits   migration.Limits
	olderAPI bool

	managers []*process
	gone     []*process
	// started counts processes.
	started int
	// weather is what a process that is started now has between it and the API server.
	weather weather
	// mu guards ends, which are what ends the faults that are under way, or what is done
	// later, and awaiting, the acts that wait for a moment.
	mu       sync.Mutex
	ends     []ending
	awaiting []act
	// due is told when there is something in ends that nobody has reckoned with.
	due chan struct{}
	// people are the calls that administrators have made, and life ends them.
	people sync.WaitGroup
	life   context.Context
	say    func(format string, args ...any)
}

// ending is something that is done at a time.
type ending struct {
	at time.Time
	do func()
}

// host is a node with libvirt.
type host struct {
	name    string
	libvirt *fake.Host
	agent   *process
	skew    time.Duration
	backups backups
	// memory is how many bytes it has; 0 is not known.
	memory uint64
	// lost is whether it never comes back.
	lost bool
}

// guest is a virtual machine.
type guest struct {
	uuid, name string
	// memory is in bytes.
	memory uint64
	// mac is that of its interface that is a function of its host; empty where it has none.
	mac string
}

func (w *world) called(name string, n int) string { return fmt.Sprintf("%s-%d", name, n) }

// must takes an error that cannot be for a mistake in the simulation.
func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

// run runs a plan from its beginning to its end in a time of its own, and returns what the
// observer has to say.
func run(t *testing.T, p plan, say func(string, ...any)) *report {
	t.Helper()
	var out *report
	runtime.GC()
	seedGlobals(p.Seed)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(p, say)
		began := time.Now()
		for _, a := range p.Acts {
			if a.Moment != always {
				continue
			}
			w.passUntil(began.Add(a.At))
			if w.observer.broken() {
				break
			}
			w.do(a)
		}
		w.awaitMoments()
		w.settle()
		out = w.observer.report()
		w.end()
		synctest.Wait()
	})
	return out
}

func newWorld(p plan, say func(string, ...any)) *world {
	luck := newPace(p.Seed, "world")
	w := &world{plan: p, seed: p.Seed, server: newServer(), say: say, olderAPI: luck.chance(30), due: make(chan struct{}, 1), verbs: allVerbs()}
	for _, a := range p.Acts {
		if a.Moment != always && a.Moment != calm {
			w.awaiting = append(w.awaiting, a)
		}
	}
	var err error
	w.scheme, err = newScheme()
	w.must(err)
	began := time.Now()
	if say == nil {
		w.say = func(string, ...any) {}
	} else {
		w.say = func(format string, args ...any) {
			say("%8.3f  %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}
	}
	w.limits = migration.Limits{Source: 1 + luck.number(2), Target: 1 + luck.number(2), Cluster: luck.number(3), Preparing: luck.number(3)}
	w.observer = newObserver(w)
	w.server.witness = w.observer.noteChange
	w.fleet = fake.NewFleet(fake.WithBandwidth(64<<20), fake.WithWitness(w.observer.noteEffect), fake.WithStages(w.noteStage))
	life, stop := context.WithCancel(context.Background())
	w.life = life
	w.later(24*time.Hour, stop)
	for i := range p.Nodes {
		name := w.called("node", i)
		w.hosts = append(w.hosts, &host{
			name: name, libvirt: w.fleet.Host(name), backups: backups{running: map[string]chan struct{}{}, last: map[string]bool{}},
		})
	}
	for i, n := range w.hosts {
		giveCPUs(n.libvirt)
		giveFunctions(n.libvirt, i)
	}
	for i := range p.Guests {
		w.addGuest(i, luck)
	}
	room := newPace(p.Seed, "world/room")
	for _, n := range w.hosts {
		if room.chance(25) {
			n.memory = w.usedOn(n.name) + uint64(100+room.number(300))<<20
		}
	}
	w.startManager()
	for _, n := range w.hosts {
		w.startAgent(n)
	}
	w.pass(3 * time.Second)
	return w
}

// addGuest puts a guest on a node. Some write to their memory faster than it is copied.
func (w *world) addGuest(i int, luck *pace) {
	g := &guest{uuid: fmt.Sprintf("11111111-1111-4111-8111-%012d", i), name: w.called("guest", i)}
	def := fake.Guest{
		UUID: g.uuid, Name: g.name, Persistent: luck.chance(75), MemoryBytes: uint64(32+luck.number(200)) << 20,
		DirtyBytesPerSecond: []uint64{0, 20 << 20, 90 << 20, 300 << 20}[luck.number(4)],
	}
	if luck.chance(10) {
		def.State, def.Reason = hypervisor.StatePaused, hypervisor.ReasonUser
	}
	g.memory = def.MemoryBytes
	at, has := w.hosts[i%len(w.hosts)], nthPlace(i/len(w.hosts))
	def.LiveXML = definition(def, has)
	if def.Persistent {
		def.PersistentXML = def.LiveXML
	}
	w.addDevices(i, i%len(w.hosts), g, &def)
	has.function = functionIn(def.LiveXML)
	w.guests = append(w.guests, g)
	w.observer.begin(g, def.State == hypervisor.StatePaused)
	w.observer.notePlace(at.name, g.uuid, has, false)
	at.libvirt.AddGuest(def)
}

// hostNamed returns a host.
func (w *world) hostNamed(name string) *host {
	return w.hosts[slices.IndexFunc(w.hosts, func(n *host) bool { return n.name == name })]
}

// do has an act happen.
func (w *world) do(a act) {
	w.say("%s", a)
	// What was true for a moment only, until this happens, was true.
	w.observer.look()
	w.verbs[a.Verb].do(w, a)
}

// later does something after some time, or when the faults end.
func (w *world) later(length time.Duration, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, ending{at: time.Now().Add(length), do: do})
}

// awaitMoments lets the acts happen that wait for a moment, if it comes within a minute.
func (w *world) awaitMoments() {
	waiting := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.awaiting)
	}
	if waiting() == 0 {
		return
	}
	for i := 0; i < 60 && waiting() > 0 && !w.observer.broken(); i++ {
		w.pass(time.Second)
	}
	// What follows on the last of them.
	w.pass(10 * time.Second)
}

// noteStage has the acts follow that have waited for a guest's migration to come so far.
func (w *world) noteStage(uuid string, stage fake.Stage) {
	w.observer.noteStage(uuid, stage)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaiting = slices.DeleteFunc(w.awaiting, func(a act) bool {
		if w.guests[a.Guest].uuid != uuid || a.Moment != momentOf[stage] {
			return false
		}
		w.ends = append(w.ends, ending{at: time.Now().Add(a.At), do: func() { w.do(a) }})
		select {
		case w.due <- struct{}{}:
		default:
		}
		return true
	})
}

// pass lets time pass, in which the observer looks, and does what is due.
func (w *world) pass(length time.Duration) { w.passUntil(time.Now().Add(length)) }

func (w *world) passUntil(then time.Time) {
	for time.Now().Before(then) {
		timer := time.NewTimer(min(tick, time.Until(then), w.nextDue()))
		select {
		case <-timer.C:
		case <-w.due:
		}
		timer.Stop()
		w.doDue(time.Now())
		w.observer.look()
		w.observer.checkDeadlines()
	}
}

// nextDue is how long it is until something is due.
func (w *world) nextDue() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := tick
	for _, e := range w.ends {
		next = min(next, time.Until(e.at))
	}
	return next
}

// doDue does what is due at a time, in its order.
func (w *world) doDue(now time.Time) {
	for {
		w.mu.Lock()
		slices.SortStableFunc(w.ends, func(a, b ending) int { return a.at.Compare(b.at) })
		if len(w.ends) == 0 || now.Before(w.ends[0].at) {
			w.mu.Unlock()
			return
		}
		e := w.ends[0]
		w.ends = slices.Clone(w.ends[1:])
		w.mu.Unlock()
		e.do()
	}
}

// settle ends all faults and waits until there is nothing left to happen.
func (w *world) settle() {
	w.say("the faults end")
	w.mu.Lock()
	w.awaiting = nil
	w.mu.Unlock()
	w.doDue(time.Now().Add(time.Hour))
	w.heal()
	began := time.Now()
	w.observer.calmSince = began
	w.pass(grace)
	w.lastActs()
	for time.Since(began) < settleMost && !w.observer.broken() {
		w.pass(time.Second)
		if w.observer.restless() == "" {
			break
		}
		if w.observer.stuck(quiet) {
			break
		}
	}
	w.observer.judgeEnd()
}

// lastActs has happen what users do when nothing is broken any more.
func (w *world) lastActs() {
	began := time.Now()
	for _, a := range w.plan.Acts {
		if a.Moment != calm {
			continue
		}
		w.passUntil(began.Add(a.At))
		if w.observer.broken() {
			return
		}
		if a.Verb == "apply" && w.fleet.Copies(w.guests[a.Guest].uuid)[w.hosts[a.Node].name].Active() {
			a.Node, a.Other = a.Other, a.Node
		}
		w.do(a)
	}
	// Until managers have seen the last of them.
	w.pass(5 * time.Second)
}

// heal puts everything back that a fault may have left: each node has one agent, and the
// cluster one manager.
func (w *world) heal() {
	w.everyWire(func(x *wire) { x.set(func(now *weather) { *now = weather{} }) })
	w.weather = weather{}
	for _, n := range w.hosts {
		w.reconnect(n)
		if n.agent == nil {
			w.startAgent(n)
		}
	}
	for len(w.managers) > 1 {
		w.stopManager(0)
	}
	if len(w.managers) == 0 {
		w.startManager()
	}
}

// reconnect has a host's daemon be there again, unless the host is lost.
func (w *world) reconnect(n *host) {
	if !n.lost {
		n.libvirt.Reconnect()
	}
}

// stopManager kills one of the managers.
func (w *world) stopManager(i int) {
	p := w.managers[i]
	w.managers = append(w.managers[:i:i], w.managers[i+1:]...)
	p.kill()
	w.gone = append(w.gone, p)
}

// everyWire does something with the way to the API server of each process.
func (w *world) everyWire(do func(*wire)) {
	for _, p := range w.managers {
		do(p.wire)
	}
	for _, n := range w.hosts {
		if n.agent != nil {
			do(n.agent.wire)
		}
	}
}

// end ends all processes, so that nothing is left of the world.
func (w *world) end() {
	w.doDue(time.Now().Add(100 * time.Hour))
	for len(w.managers) > 0 {
		w.stopManager(0)
	}
	for _, n := range w.hosts {
		w.stopAgent(n, true)
	}
	w.fleet.Close()
	for _, p := range w.gone {
		p.ended.Wait()
	}
	w.people.Wait()
	time.Sleep(10 * time.Minute)
}
