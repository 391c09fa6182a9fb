package simulation

import (
	"slices"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// Some of what can happen takes several acts in a row, which chance alone would hardly ever
// bring together: a scene. Each is one that leads to a row of the outcome table.

// scene returns the acts of one that happens to a LiveMigration which is applied.
func (p *plan) scene(luck *pace, applied act) []act {
	s := staging{plan: p, luck: luck, applied: applied, source: applied.Guest % p.Nodes, target: applied.Node}
	scenes := []func(){
		s.startedBeside, s.stoppedThenStarted, s.leftThenStarted, s.held, s.heldThenStarted, s.heldThenLeft, s.bothThenLeft,
		s.shellThenStopped, s.halfDestroyed, s.onwardAtOnce, s.againByHand, s.againUnheard, s.sourceGone,
		s.bothThenResumed, s.slowly, s.slowly, s.twoLead, s.twoLead, s.backedUp, s.halvesPart,
	}
	scenes[luck.number(len(scenes))]()
	return s.acts
}

// staging is a scene that is made.
type staging struct {
	*plan
	luck           *pace
	applied        act
	source, target int
	acts           []act
}

// add adds an act that happens some time after a moment.
func (s *staging) add(verb string, m moment, most time.Duration, change ...func(*act)) {
	a := s.newAct(s.luck, verb, s.luck.length(0, max(most, time.Millisecond)))
	a.Moment, a.Guest, a.Move, a.Node, a.Other = m, s.applied.Guest, s.applied.Move, s.target, s.source
	for _, c := range change {
		c(&a)
	}
	s.acts = append(s.acts, a)
}

// away has the target's agent not be heard of from the preparation on, for a while after
// which it reports what it sees then.
func (s *staging) away(verb string) {
	s.add(verb, preparing, time.Millisecond, func(a *act) { a.Length += 5 * time.Second })
}

// ends sets how the migration ends.
func (s *staging) ends(e fake.Ending) {
	s.add("ends otherwise", preparing, 0, endsAs(e), func(a *act) { a.Moment, a.At = always, s.applied.At-time.Millisecond })
}

func endsAs(e fake.Ending) func(*act) {
	return func(a *act) { a.Kind = slices.Index(endings(), e) }
}

// defined has the target know an old definition of the guest, which can be started.
func (s *staging) defined() {
	s.add("virsh define", always, 0, func(a *act) { a.At = s.applied.At - 2*time.Millisecond })
}

func (s *staging) onSource(a *act) { a.Node, a.Other = s.source, s.target }

// onward has the guest go from the target to a third node.
func (s *staging) onward(a *act) {
	a.Node, a.Other = s.target, (s.target+1)%s.Nodes
	if a.Other == s.source {
		a.Other = (a.Other + 1) % s.Nodes
	}
}

func postCopy(a *act) { a.Kind = 1 }

// startedBeside: somebody starts the guest on the target, before its half is there.
func (s *staging) startedBeside() {
	s.defined()
	s.add("virsh start", preparing, 400*time.Millisecond)
}

func (s *staging) stoppedThenStarted() {
	s.defined()
	s.away("node without API")
	s.add("guest stops", preparing, 400*time.Millisecond)
	s.add("virsh start", over, time.Second)
}

func (s *staging) leftThenStarted() {
	s.defined()
	s.ends(fake.EndsNeither)
	s.away("agent killed")
	s.add("virsh start", over, time.Second)
}

func (s *staging) held() {
	s.ends([]fake.Ending{fake.EndsHeld, fake.EndsBothHeld, fake.EndsHeldAlone}[s.luck.number(3)])
}

func (s *staging) heldThenStarted() {
	s.defined()
	s.ends(fake.EndsHeldAlone)
	if s.luck.chance(50) {
		// Otherwise it has seen the half.
		s.away("agent killed")
	}
	s.add("virsh start", over, time.Second)
}

func (s *staging) heldThenLeft() {
	s.ends(fake.EndsHeld)
	s.add("virsh migrate", over, 300*time.Millisecond, s.onward)
}

func (s *staging) bothThenLeft() {
	s.ends(fake.EndsBothRunning)
	s.add("virsh migrate", over, 5*time.Second, s.onward)
}

// bothThenResumed: a person resumes the copy that was paused because the guest ran twice.
func (s *staging) bothThenResumed() {
	s.ends(fake.EndsBothRunning)
	s.add("virsh resume", over, 8*time.Second, s.onSource)
}

// slowly: everybody hears late of what others do while the migration is prepared. Either it
// is cancelled then, or its manager hears nothing at all of its start.
func (s *staging) slowly() {
	const most = 3 * time.Second
	s.slow()
	if s.luck.chance(60) {
		s.add("cancel", always, 0, s.soon(most))
		return
	}
	s.add("watches stall", always, 0, s.soon(most), s.ofManager, func(a *act) { a.Length = 90 * time.Second })
}

// slow has everything take its time on the way to the API server and back.
func (s *staging) slow() {
	s.add("API slow", always, 0, s.soon(0), func(a *act) { a.Kind, a.Length = 20+a.Kind/4, 15*time.Second })
}

// twoLead: two managers lead, each of which hears late of what the other does, more guests
// are to be moved than may, and it changes whose turn it is just as one is over.
func (s *staging) twoLead() {
	s.add("two managers", always, 0, s.soon(0), func(a *act) { a.Length = 20 * time.Second })
	s.slow()
	for i := range s.Guests {
		s.add("apply", always, 0, s.soon(time.Second), func(a *act) {
			// No dry run, and none with a priority yet.
			a.Guest, a.Move, a.Kind = (s.applied.Guest+i)%s.Guests, (s.applied.Move+i)%moves, a.Kind-a.Kind%4
		})
	}
	s.add("edit", over, time.Second, func(a *act) { a.Move, a.Kind = (s.applied.Move+2)%moves, 99 })
}

// backedUp: somebody backs the guest up before its migration begins or when it has failed,
// which an agent has not seen.
func (s *staging) backedUp() {
	if s.luck.chance(50) {
		s.add("virsh backup", always, 0, s.soon(100*time.Millisecond), s.onSource)
		return
	}
	s.ends(fake.EndsTargetLost)
	s.add("agent killed", copying, time.Second, s.onSource)
	s.add("virsh backup", over, time.Second, s.onSource)
}

// halvesPart: while the guest is in two halves, the connection between them breaks, or the
// two daemons lose each other.
func (s *staging) halvesPart() {
	s.add("force-complete", copying, 10*time.Millisecond)
	s.add([]string{"post-copy breaks", "libvirts part"}[s.luck.number(2)], halved, 200*time.Millisecond)
}

// soon has an act happen soon after the LiveMigration is applied, whatever comes of it, or
// just before that.
func (s *staging) soon(most time.Duration) func(*act) {
	return func(a *act) {
		a.At = s.applied.At - time.Millisecond
		if most > 0 {
			a.At = (s.applied.At + s.luck.length(time.Millisecond, most)).Truncate(time.Millisecond)
		}
	}
}

// ofManager has a manager's watches stall.
func (s *staging) ofManager(a *act) { a.Kind = 0 }

func (s *staging) shellThenStopped() {
	s.ends(fake.EndsShellLeft)
	s.add("guest stops", over, 5*time.Second)
}

func (s *staging) halfDestroyed() {
	s.add("force-complete", copying, 10*time.Millisecond)
	s.add("virsh destroy", halved, time.Second, s.onSource)
}

func (s *staging) onwardAtOnce() { s.add("virsh migrate", switched, 500*time.Millisecond, s.onward) }

// againByHand: the migration is cancelled, and somebody makes it by hand before the target's
// agent can report.
func (s *staging) againByHand() {
	s.away("node without API")
	s.add("cancel", copying, time.Millisecond)
	s.add("virsh migrate", over, time.Second, s.onSource, postCopy)
}

func (s *staging) againUnheard() {
	s.away("node without API")
	s.add("cancel", copying, time.Millisecond)
	s.add("ends otherwise", over, 0, endsAs(fake.EndsUnheard))
	s.add("virsh migrate", over, time.Second, s.onSource, postCopy)
}

// sourceGone: the source's host dies for longer than anybody waits for its report.
func (s *staging) sourceGone() {
	s.add("host dies", copying, 5*time.Second, s.onSource, func(a *act) { a.Length = 3 * time.Minute })
}
