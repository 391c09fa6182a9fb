package fake

import (
	"slices"
	"sync"
)

// Stage is how far a migration has come.
type Stage int

// The stages, in their order.
const (
	// StagePreparing has a job at the source, and nothing at the destination.
	StagePreparing Stage = iota + 1
	// StageCopying begins when the destination has its half, with the first
	// pass over the guest's memory.
	StageCopying
	// StageStopped has all copied. The guest runs nowhere.
	StageStopped
	// stageSwitching is on the way to post-copy: the guest runs nowhere, and
	// nothing can be rolled back any more.
	stageSwitching
	// StagePostCopy has the guest at the destination and the rest of its memory
	// at the source. A migration that does not switch to post-copy leaves it
	// out, and one that does leaves StageStopped out.
	StagePostCopy
	// StageSwitched has the guest at the destination, while the source still
	// has its half and its job.
	StageSwitched
	// StageFinished has all done but for the return of Migrate.
	StageFinished
	// StageOver has the migration ended, well or not. There is no gate at it.
	StageOver
)

type gateKey struct {
	uuid  string
	stage Stage
}

// Gate holds a migration at a stage.
type Gate struct {
	reached, released chan struct{}
	reach, release    func()
}

// Hold makes the next migration of a domain stop when it reaches a stage, until
// the gate is released. One that is aborted or fails does not wait for it.
func (f *Fleet) Hold(uuid string, stage Stage) *Gate {
	g := &Gate{reached: make(chan struct{}), released: make(chan struct{})}
	g.reach = sync.OnceFunc(func() { close(g.reached) })
	g.release = sync.OnceFunc(func() { close(g.released) })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gates[gateKey{uuid, stage}] = g
	return g
}

// Reached returns a channel that is closed once a migration waits at the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Release lets the migration go on. It may be called early, and again.
func (g *Gate) Release() { g.release() }

// Ending is how a migration ends.
type Ending string

// The endings. Each names the kind of error that Migrate returns.
const (
	// EndsWell moves the guest; there is no error.
	EndsWell Ending = ""
	// EndsPoweredOff has the guest switch itself off; KindOther.
	EndsPoweredOff Ending = "PoweredOff"
	// EndsCrashed has the guest's emulator die at the source; KindOther.
	EndsCrashed Ending = "Crashed"
	// EndsTargetLost has the destination's half die: the guest goes on at the
	// source; KindOther.
	EndsTargetLost Ending = "TargetLost"
	// EndsShellLeft has the two hosts lose each other: the guest goes on at the
	// source, and the destination keeps a paused half of it; KindPeerLost.
	EndsShellLeft Ending = "ShellLeft"
	// EndsBothRunning has the last message between the hosts get lost: the guest
	// runs on both sides; KindPeerLost.
	EndsBothRunning Ending = "BothRunning"
	// EndsSourceKept moves the guest, but the source keeps its definition
	// although it should not, and says nothing; KindConnectionLost.
	EndsSourceKept Ending = "SourceKept"
	// EndsPostCopyBroken has the post-copy phase break when half of it is copied,
	// see BreakPostCopy: Migrate fails with KindOther, and what becomes of it is
	// up to RecoverPostCopy. A migration that does not switch to post-copy ends
	// well.
	EndsPostCopyBroken Ending = "PostCopyBroken"
	// EndsGuestLost has the destination's emulator die when half of the post-copy
	// phase is over: what of the guest's memory was there is lost, and the source
	// keeps a half that nothing can use; KindOther. A migration that does not
	// switch to post-copy ends well.
	EndsGuestLost Ending = "GuestLost"
	// EndsUnheard has the source's emulator never hear that all of the guest has
	// arrived in post-copy: the guest runs at the destination, and the source keeps a
	// half that waits for ever; KindPeerLost. A migration that does not switch
	// to post-copy ends well.
	EndsUnheard Ending = "Unheard"
	// EndsHeld has the source's daemon die at the switch-over: the guest runs at the
	// destination, and the source keeps its copy paused; KindConnectionLost. So are the
	// next two, and a guest that its user has paused ends well by all three of them.
	EndsHeld Ending = "Held"
	// EndsBothHeld has the destination wait for the switch-over as well, and
	// EndsHeldAlone the destination's half gone.
	EndsBothHeld  Ending = "BothHeld"
	EndsHeldAlone Ending = "HeldAlone"
	// EndsNeither leaves the guest on neither side; KindOther.
	EndsNeither Ending = "Neither"

	endsAborted      Ending = "aborted"
	endsDestroyed    Ending = "destroyed"
	endsDaemonKilled Ending = "daemonKilled"
	endsNowhere      Ending = "nowhere"
)

// atSwitch reports whether an ending needs the switch to have happened.
func (e Ending) atSwitch() bool {
	return slices.Contains([]Ending{
		EndsWell, EndsBothRunning, EndsSourceKept, EndsPostCopyBroken, EndsGuestLost, EndsUnheard, EndsHeld, EndsBothHeld, EndsHeldAlone,
	}, e)
}

// Script says how a migration ends.
type Script struct {
	Ending Ending
	// AfterPass is the pass over the guest's memory after which an ending comes
	// that prevents the switch, 0 being the first. A migration that would switch
	// before ends there.
	AfterPass uint64
}

// ScriptNext sets how the next migration of a domain ends.
func (f *Fleet) ScriptNext(uuid string, script Script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts[uuid] = script
}
