package simulation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// act is something that a user, an administrator or fate does.
type act struct {
	// At is when, from the beginning or, where there is a moment, from that.
	At     time.Duration
	Moment moment
	Verb   string
	// Node, Other, Guest and Move say to what, as far as the verb needs it. A move is a
	// LiveMigration.
	Node, Other, Guest, Move int
	// Length is how long a fault lasts, or until what was done is undone.
	Length time.Duration
	// Kind is which of several.
	Kind int
}

func (a act) String() string {
	text := fmt.Sprintf("%-20s node-%d node-%d guest-%d move-%d for %s, kind %d", a.Verb, a.Node, a.Other, a.Guest, a.Move, a.Length, a.Kind)
	if a.Moment != always {
		text += " (from when it is " + string(a.Moment) + ")"
	}
	return text
}

// moment is one in the first migration of the act's guest that comes to it. Much that may go
// wrong does so only within some milliseconds of one.
type moment string

// The moments.
const (
	always    moment = ""
	preparing moment = "being prepared"
	copying   moment = "being copied"
	stopped   moment = "stopped for its switch-over"
	halved    moment = "in post-copy"
	switched  moment = "running on its target"
	over      moment = "over"
	// calm is that all faults have ended, for the whole world.
	calm moment = "calm again"
)

var momentOf = map[fake.Stage]moment{
	fake.StagePreparing: preparing, fake.StageCopying: copying, fake.StageStopped: stopped, fake.StagePostCopy: halved,
	fake.StageSwitched: switched, fake.StageOver: over,
}

// plan is all that happens to a world.
type plan struct {
	Seed          uint64
	Nodes, Guests int
	Acts          []act
}

// moves is how many LiveMigrations have names: some are made again under the same one.
const moves = 6

// newPlan makes a plan of a seed. Most of what happens comes soon after a LiveMigration is
// applied, and where it takes place: then there is something to break.
func newPlan(seed uint64) plan {
	luck := newPace(seed, "plan")
	p := plan{Seed: seed, Nodes: 3 + luck.number(4), Guests: 1 + luck.number(5)}
	for range 1 + luck.number(5) {
		a := p.newAct(luck, "apply", luck.length(time.Second, 40*time.Second))
		if home := a.Guest % p.Nodes; a.Node == home && luck.chance(85) {
			a.Node = a.Other
		}
		p.Acts = append(p.Acts, a)
	}
	applied := slices.Clone(p.Acts)
	for _, a := range applied {
		if luck.chance(40) {
			p.Acts = append(p.Acts, p.near(luck, "ends otherwise", a))
		}
		if luck.chance(50) {
			p.Acts = append(p.Acts, p.scene(luck, a)...)
		}
		if luck.chance(30) {
			// In time for a switch to post-copy, which much depends on.
			force := p.near(luck, "force-complete", a)
			force.At = (a.At + luck.length(time.Second, 3*time.Second)).Truncate(time.Millisecond)
			force.Move = a.Move
			p.Acts = append(p.Acts, force)
		}
	}
	verbs := allVerbs()
	names, total := verbNames(verbs)
	for range 2 + luck.number(12) {
		pick := luck.number(total)
		for _, name := range names {
			if pick -= verbs[name].weight; pick < 0 {
				p.Acts = append(p.Acts, p.near(luck, name, applied[luck.number(len(applied))]))
				break
			}
		}
	}
	p.Acts = append(p.Acts, p.crowd(newPace(seed, "plan/crowd"))...)
	p.Acts = append(p.Acts, p.regret(newPace(seed, "plan/regret"))...)
	p.Acts = append(p.Acts, p.last(newPace(seed, "plan/last"))...)
	p.Acts = append(p.Acts, p.hangs(newPace(seed, "plan/hangs"), applied)...)
	if quiet := newPace(seed, "plan/long ago"); quiet.chance(4) {
		p.Acts = p.longAgo(quiet)
	}
	slices.SortStableFunc(p.Acts, func(a, b act) int { return cmp.Compare(a.At, b.At) })
	return p
}

// lastMoves is how many LiveMigrations there are at most whose names come after the others'.
const lastMoves = 3

// crowd has users move all guests to one node at once, so that they need what it has at the
// same time. Its agent may be started again meanwhile, which has promised some of it then.
func (p *plan) crowd(luck *pace) (acts []act) {
	if !luck.chance(30) {
		return nil
	}
	node, at := luck.number(p.Nodes), luck.length(time.Second, 40*time.Second)
	for guest := range p.Guests {
		if home := guest % p.Nodes; home != node {
			a := p.newAct(luck, "apply", at+luck.length(0, 500*time.Millisecond))
			a.Node, a.Other, a.Guest, a.Move = node, home, guest, moves+lastMoves+guest
			acts = append(acts, a)
		}
	}
	if luck.chance(50) {
		again := p.newAct(luck, "agent killed", at+luck.length(100*time.Millisecond, time.Second))
		again.Node, again.Length = node, luck.length(10*time.Millisecond, 300*time.Millisecond)
		acts = append(acts, again)
	}
	return acts
}

// regret has users cancel all that they have applied, at about the time at which it starts.
func (p *plan) regret(luck *pace) (acts []act) {
	if !luck.chance(20) {
		return nil
	}
	for _, applied := range p.Acts {
		if applied.Verb == "apply" {
			a := p.newAct(luck, "cancel", applied.At+luck.length(20*time.Millisecond, 400*time.Millisecond))
			a.Move = applied.Move
			acts = append(acts, a)
		}
	}
	return acts
}

// hangs has an agent hang where a LiveMigration takes place.
func (p *plan) hangs(luck *pace, applied []act) []act {
	if !luck.chance(15) {
		return nil
	}
	return []act{p.near(luck, "agent hangs", applied[luck.number(len(applied))])}
}

// longAgo is a world in which little else happens: the source hears of its target, and comes to
// do what is left to do only long after that. Its libvirt does not, and then its agent is away.
func (p *plan) longAgo(luck *pace) []act {
	moved := p.newAct(luck, "apply", luck.length(time.Second, 10*time.Second))
	if moved.Kind = 42; moved.Node == moved.Guest%p.Nodes { // It is no dry run, and does not give up.
		moved.Node = moved.Other
	}
	s := staging{plan: p, luck: luck, applied: moved, source: moved.Guest % p.Nodes, target: moved.Node}
	s.ends(fake.EndsSourceKept)
	s.add("libvirt hangs", copying, time.Millisecond, s.onSource, func(a *act) {
		a.Kind, a.Length = slices.Index(hanging(), fake.MethodUndefine), time.Minute+s.luck.length(0, time.Minute)
	})
	s.add("agent killed", over, 5*time.Second, s.onSource, func(a *act) { a.Length = 25*time.Second + s.luck.length(0, 15*time.Second) })
	// The faults do not end before that.
	return append(s.acts, moved, p.newAct(luck, "watches break", moved.At+75*time.Second))
}

// last returns what users do when nothing is broken any more, so that all of it has to be
// done in time. Some of it is for what still goes on, and some for a guest that is to move
// once more.
func (p *plan) last(luck *pace) (acts []act) {
	add := func(verb string, at time.Duration, move int) *act {
		a := p.newAct(luck, verb, at)
		a.Moment, a.Move = calm, move
		acts = append(acts, a)
		return &acts[len(acts)-1]
	}
	words := []string{"cancel", "force-complete", "delete"}
	for i := range moves {
		if luck.chance(50) {
			add(words[luck.number(len(words))], luck.length(0, 20*time.Second), i)
		}
	}
	for i := range 1 + luck.number(lastMoves) {
		applied := *add("apply", luck.length(20*time.Second, 40*time.Second), moves+i)
		if luck.chance(40) {
			add("ends otherwise", applied.At-time.Millisecond, 0).Guest = applied.Guest
		}
		if luck.chance(50) {
			add(words[luck.number(len(words))], applied.At+luck.length(time.Second, 6*time.Second).Truncate(time.Millisecond), applied.Move)
		}
	}
	return acts
}

// near returns an act that may have to do with a LiveMigration that was applied.
func (p *plan) near(luck *pace, verb string, applied act) act {
	a := p.newAct(luck, verb, luck.length(0, 2*time.Minute))
	if luck.chance(20) {
		return a
	}
	soon := []time.Duration{time.Second, 9 * time.Second, time.Minute}[luck.number(3)]
	a.At = (applied.At + luck.length(0, soon)).Truncate(time.Millisecond)
	if verb == "ends otherwise" {
		a.At = applied.At - time.Millisecond
	}
	a.Guest, a.Node, a.Other = applied.Guest, applied.Node, applied.Guest%p.Nodes
	if verb != "apply" {
		a.Move = applied.Move
	}
	if luck.chance(50) && a.Other != a.Node {
		a.Node, a.Other = a.Other, a.Node
	}
	if verb != "apply" && verb != "ends otherwise" && luck.chance(30) {
		a.Moment = []moment{preparing, copying, stopped, halved, switched, over}[luck.number(6)]
		a.At = luck.length(0, []time.Duration{50 * time.Millisecond, time.Second, 10 * time.Second}[luck.number(3)]).Truncate(time.Millisecond)
	}
	return a
}

func (p *plan) newAct(luck *pace, verb string, at time.Duration) act {
	a := act{
		Verb: verb, At: at.Truncate(time.Millisecond), Node: luck.number(p.Nodes), Guest: luck.number(p.Guests), Move: luck.number(moves), Kind: luck.number(100),
	}
	a.Other = (a.Node + 1 + luck.number(p.Nodes-1)) % p.Nodes
	longest := []time.Duration{2 * time.Second, 20 * time.Second, 100 * time.Second}[luck.number(3)]
	a.Length = luck.length(10*time.Millisecond, longest).Truncate(time.Millisecond)
	return a
}
