//go:build linux

package main

import (
	"slices"
	"syscall"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// Short faults are over before anybody gives up; long ones outlast libvirt's
// keepalive between two hosts, which is 30 seconds.
const (
	short = 3 * time.Second
	long  = 35 * time.Second
	// stallPatience is how long libvirt may not answer, or not do what it was asked to, before
	// an administrator is asked to look.
	stallPatience = migration.StallTimeout
)

// block is a part of the table: a fault at several phases, each with what it may
// come to.
type block struct {
	fault fault
	cases []at
}

// at is a phase and what a fault at it may come to.
type at struct {
	phase   phase
	allowed []ending
}

// on gives several phases the same endings.
func on(phases []phase, allowed ...ending) []at {
	out := make([]at, 0, len(phases))
	for _, p := range phases {
		out = append(out, at{p, allowed})
	}
	return out
}

// groups of phases.
var (
	beforeSwitch = []phase{starting, firstPass, laterPass}
	copying      = []phase{firstPass, laterPass}
	atSwitch     = []phase{switchOver, arrival}
	afterwards   = []phase{confirming, finished}
)

// cases puts parts of the table together.
func cases(parts ...[]at) []at {
	var out []at
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// preCopyTable is what the daemons, the network and the guest may do to a
// migration that copies first and switches then.
func preCopyTable() []block {
	return slices.Concat(daemonTable(), apiTable(), libvirtTable(), networkTable(), certificateTable(), guestTable())
}

// daemonTable: Virtferry's own processes are not in the way of a migration.
func daemonTable() []block {
	return []block{
		{killed("source agent", sourceAgent, moved, stayed), cases(
			on([]phase{preparing}, moved),
			// It may die between the record of the start and the call.
			on([]phase{starting}, moved, stayed),
			on(copying, moved), on(atSwitch, moved), on(afterwards, moved))},
		{killed("target agent", targetAgent, moved), cases(
			on([]phase{preparing, starting, firstPass, switchOver, arrival, confirming, finished}, moved))},
		{killed("manager", theManager, moved), on([]phase{preparing, starting, firstPass, arrival, confirming, finished}, moved)},
		{hung("source agent", short, sourceAgent, moved), on([]phase{firstPass, switchOver}, moved)},
		{hung("target agent", short, targetAgent, moved), on([]phase{firstPass, arrival}, moved)},
		{hung("manager", short, theManager, moved), on([]phase{firstPass, arrival}, moved)},
	}
}

// apiTable: without the API server nobody sees the migration go on. If the answer to
// the record of the start gets lost, it is not started: that might be twice.
func apiTable() []block {
	return []block{
		{apiServerKilled(), cases(
			on([]phase{preparing, firstPass, arrival, finished}, moved), on([]phase{starting}, moved, stayed))},
		{etcdKilled(), cases(
			on([]phase{preparing, firstPass, arrival, finished}, moved), on([]phase{starting}, moved, stayed))},
		{apiServerHung(short), on([]phase{firstPass, arrival}, moved)},
		{cutOffAPI("source agent", short, sourceAgent, moved, stayed), cases(
			on([]phase{starting}, moved, stayed), on([]phase{firstPass, arrival}, moved))},
		{cutOffAPI("source agent", long, sourceAgent, moved), on([]phase{firstPass}, moved)},
		{cutOffAPI("target agent", short, targetAgent, moved), on([]phase{preparing, firstPass, arrival}, moved)},
		{cutOffAPI("manager", short, theManager, moved), on([]phase{firstPass, confirming}, moved)},
	}
}

// libvirtTable: a libvirtd that ends takes a migration with it, unless that was
// over but for the word of it.
func libvirtTable() []block {
	return []block{
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource, moved, stayed), cases(
			on([]phase{preparing}, moved), on(beforeSwitch, stayed),
			on(atSwitch, moved, stayed), on(afterwards, moved))},
		{libvirtdKilled("source libvirtd terminated", syscall.SIGTERM, theSource, moved, stayed), on([]phase{firstPass}, stayed)},
		// As where its package is upgraded.
		{libvirtdKilled("target libvirtd terminated", syscall.SIGTERM, theTarget, moved, stayed, held), cases(
			on(copying, stayed), on([]phase{confirming}, moved))},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget, moved, stayed, held), cases(
			on([]phase{preparing}, moved), on(beforeSwitch, stayed),
			on(atSwitch, moved, stayed, held), on(afterwards, moved))},
		{libvirtdHung("source libvirtd", short, theSource, moved), on([]phase{starting, firstPass, arrival}, moved)},
		{libvirtdHung("source libvirtd", long, theSource, moved, stayed), on([]phase{firstPass}, moved, stayed)},
		{libvirtdHung("target libvirtd", short, theTarget, moved), on([]phase{preparing, firstPass, arrival}, moved)},
		{libvirtdHung("target libvirtd", long, theTarget, moved, stayed, held), on([]phase{firstPass}, stayed)},
	}
}

// networkTable: a short interruption is sat out, a long one ends the migration.
func networkTable() []block {
	return []block{
		{networkCut(short, moved, stayed), cases(
			on([]phase{preparing}, moved), on(beforeSwitch, moved), on(atSwitch, moved), on([]phase{confirming}, moved))},
		{networkCut(long, moved, stayed, held), cases(
			on([]phase{preparing}, moved, stayed), on([]phase{firstPass}, stayed), on(atSwitch, moved, stayed, held))},
	}
}

// certificateTable: what is encrypted already goes on, what is about to be fails, and where the
// agents see in time that it cannot be encrypted, it is not.
func certificateTable() []block {
	return []block{
		{certificatesEnd("source", theSource, moved, stayed), cases(on([]phase{preparing}, moved, stayed), on([]phase{firstPass, arrival}, moved))},
		{certificatesEnd("target", theTarget, moved, stayed), cases(on([]phase{preparing}, moved, stayed), on([]phase{firstPass, arrival}, moved))},
	}
}

// guestTable is what happens to the guest itself.
func guestTable() []block {
	return []block{
		{guestSays("guest powers off", "poweroff", false, stopped, moved, movedThenStopped, lost), cases(
			on([]phase{preparing}, stopped), on(beforeSwitch, stopped),
			on([]phase{switchOver}, moved, stopped, movedThenStopped, lost), on([]phase{finished}, movedThenStopped))},
		{guestSays("guest panics and reboots", "panic", true, moved), on(copying, moved)},
		{qemuKilled("source", theSource, stopped, moved, lost), cases(
			on([]phase{preparing}, stopped), on(beforeSwitch, stopped),
			on([]phase{switchOver}, moved, stopped, lost), on([]phase{arrival}, moved), on([]phase{finished}, moved))},
		{qemuKilled("target", theTarget, stayed, moved, movedThenStopped, lost), cases(
			on(beforeSwitch, stayed),
			on([]phase{switchOver}, stayed, lost),
			on([]phase{arrival}, stayed, lost, movedThenStopped), on([]phase{confirming}, lost, movedThenStopped), on([]phase{finished}, movedThenStopped))},
		{somebody("somebody suspends the guest", theSource, "suspend", moved, movedPaused), on(beforeSwitch, moved, movedPaused)},
		{somebody("somebody destroys the guest", theSource, "destroy", stopped, moved), on([]phase{firstPass}, stopped)},
		{somebody("somebody destroys the copy", theTarget, "destroy", stayed, movedThenStopped, moved), on([]phase{firstPass}, stayed)},
	}
}

// postCopyTable is what may happen to a guest whose memory follows it. From the
// switch on, it needs both halves.
func postCopyTable() []block {
	all := []phase{switchOrdered, switching, switched, inPostCopy}
	later := []phase{switched, inPostCopy}
	return []block{
		{killed("source agent", sourceAgent), on(all, moved)},
		{killed("target agent", targetAgent), on([]phase{switchOrdered, inPostCopy}, moved)},
		{killed("manager", theManager), on([]phase{inPostCopy}, moved)},
		{apiServerKilled(), on([]phase{switchOrdered, inPostCopy}, moved)},
		{etcdKilled(), on([]phase{inPostCopy}, moved)},
		{cutOffAPI("source agent", short, sourceAgent), on([]phase{inPostCopy}, moved)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), cases(
			on([]phase{switchOrdered}, moved, stayed),
			// The target's half, which has not run yet, goes with the connection.
			on([]phase{switching}, moved, stayed, lostHalfOnSource), on(later, moved))},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget), cases(
			on([]phase{switchOrdered}, moved, stayed),
			// It may end before it has written down that the guest runs there, and then stops the
			// guest when it comes back: the one half, or all of it if the emulators were quicker.
			on([]phase{switching, switched}, moved, lostHalfOnSource, lost), on([]phase{inPostCopy}, moved))},
		{libvirtdHung("source libvirtd", short, theSource), on([]phase{inPostCopy}, moved)},
		{libvirtdHung("target libvirtd", short, theTarget), on([]phase{inPostCopy}, moved)},
		{networkCut(short), on(all, moved)},
		{networkCut(long), on(later, moved)},
		{both(networkCut(long), status("the recovery", inPhase(v1alpha1.PhaseRecovering)), killed("source agent", sourceAgent)), on([]phase{inPostCopy}, moved)},
		// The target gets all of the guest, and cannot tell.
		{sourceDeaf(), on(later, moved)},
		{qemuKilled("source", theSource), cases(
			on([]phase{switching}, stopped, lostHalfOnTarget, lostPausedOnTarget, lost),
			on(later, lostHalfOnTarget, lostPausedOnTarget, lost))},
		{qemuKilled("target", theTarget), on([]phase{switching, switched, inPostCopy}, lostHalfOnSource, lost)},
		{guestSays("guest powers off", "poweroff", false), on([]phase{inPostCopy}, lostHalfOnSource, lost, movedThenStopped)},
		{cancelRequested(), on([]phase{inPostCopy}, moved)},
		{deleted(), on([]phase{inPostCopy}, moved)},
		// It stands still from then on, wherever it is; libvirt may refuse.
		{somebody("somebody suspends the guest", theSource, "suspend"), on([]phase{switchOrdered, switching}, moved, movedPaused)},
		{somebody("somebody suspends the guest there", theTarget, "suspend"), on([]phase{switched, inPostCopy}, moved, movedPaused)},
	}
}

// pausedTable is a choice of the above with a guest that its user has paused: it
// stays so, wherever it is in the end.
func pausedTable() []block {
	return []block{
		{killed("source agent", sourceAgent), on([]phase{firstPass}, movedPaused)},
		{killed("target agent", targetAgent), on([]phase{firstPass, confirming}, movedPaused)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), on([]phase{firstPass}, stayedPaused)},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget), on([]phase{firstPass}, stayedPaused)},
		{qemuKilled("target", theTarget), on([]phase{firstPass}, stayedPaused)},
		{cancelRequested(), on([]phase{firstPass}, cancelledPaused)},
		{forceRequested(), on([]phase{firstPass}, movedPaused)},
	}
}

// pauseTable: whoever pauses the guest for its migration resumes it.
func pauseTable() []block {
	all := []phase{pauseOrdered, paused}
	return []block{
		{killed("source agent", sourceAgent), on(all, moved)},
		{killed("target agent", targetAgent), on([]phase{paused}, moved)},
		{killed("manager", theManager), on([]phase{paused}, moved)},
		{apiServerKilled(), on([]phase{paused}, moved)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), on(all, stayed)},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget), on(all, stayed)},
		{networkCut(short), on([]phase{paused}, moved)},
		{networkCut(long), on([]phase{paused}, stayed)},
		{qemuKilled("target", theTarget), on([]phase{paused}, stayed)},
		{qemuKilled("source", theSource), on([]phase{paused}, stopped)},
		{cancelRequested(), on([]phase{paused}, wasCancelled, moved)},
	}
}

// requestTable: users ask, and things break while what they asked for is done.
func requestTable() []block {
	return []block{
		{cancelRequested(), cases(
			on([]phase{preparing, starting, firstPass, laterPass}, wasCancelled),
			on(atSwitch, moved, wasCancelled), on([]phase{finished}, moved))},
		{forceRequested(), on([]phase{preparing, starting, laterPass, arrival}, moved)},
		{lostCall(), on([]phase{preparing}, moved, stayed)},
		{sourceHangs(), on([]phase{firstPass}, wasCancelled)},
		{targetHangs(), on([]phase{firstPass}, wasCancelled)},
		{deleted(), cases(
			on([]phase{preparing, starting, firstPass}, wasCancelled), on([]phase{switchOver}, moved, wasCancelled))},
		{killed("source agent", sourceAgent), on([]phase{cancelling}, wasCancelled)},
		{killed("target agent", targetAgent), on([]phase{cancelling}, wasCancelled)},
		{killed("manager", theManager), on([]phase{cancelling}, wasCancelled)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), on([]phase{cancelling}, wasCancelled)},
		// The request may reach the agent when the guest has moved.
		{apiServerKilled(), on([]phase{cancelling}, wasCancelled, moved)},
	}
}

// transientTable is a choice of the above with a guest that has no definition to
// outlive it.
func transientTable() []block {
	return []block{
		{killed("source agent", sourceAgent), on([]phase{firstPass, arrival}, moved)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), cases(
			on([]phase{firstPass}, stayed), on([]phase{arrival}, moved, stayed))},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget), cases(
			on([]phase{firstPass}, stayed), on([]phase{arrival}, moved, stayed, held))},
		// Of a transient domain that has crashed nothing is left to tell.
		{qemuKilled("source", theSource), on([]phase{firstPass}, stopped, lost)},
		{qemuKilled("target", theTarget), on([]phase{firstPass}, stayed)},
		{guestSays("guest powers off", "poweroff", false), on([]phase{firstPass}, stopped)},
	}
}

// companyTable is a choice of the above with other migrations under way, both ways:
// what hits one leaves the others alone, and no fault makes more of them copy at
// once than the hosts bear.
func companyTable() []block {
	during := []phase{firstPass}
	return []block{
		{killed("source agent", sourceAgent), on(during, moved)},
		{killed("target agent", targetAgent), on(during, moved)},
		{killed("manager", theManager), on(during, moved)},
		{apiServerKilled(), on(during, moved)},
		{etcdKilled(), on(during, moved)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), on(during, stayed)},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget), on(during, stayed)},
		{libvirtdHung("source libvirtd", short, theSource), on(during, moved)},
		{networkCut(short), on(during, moved)},
		{networkCut(long), on(during, stayed)},
		{qemuKilled("source", theSource), on(during, stopped)},
		{qemuKilled("target", theTarget), on(during, stayed)},
		{cancelRequested(), on(during, wasCancelled)},
		{forceRequested(), on(during, moved)},
	}
}

// diskTable is what may happen to a guest with a disk that only its host has: the target makes
// an image, which is removed again unless the guest comes, and the source's is whole in any case.
func diskTable() []block {
	both := []phase{makingImages, copyingDisks}
	during := []phase{copyingDisks}
	return []block{
		{killed("target agent", targetAgent), cases(on(both, moved), on([]phase{finished}, moved))},
		{killed("source agent", sourceAgent), cases(on(both, moved), on([]phase{finished}, moved))},
		{killed("manager", theManager), on(both, moved)},
		{apiServerKilled(), cases(on([]phase{makingImages}, moved, stayed), on(during, moved))},
		{libvirtdKilled("target libvirtd killed", syscall.SIGKILL, theTarget), cases(on([]phase{makingImages}, moved, stayed), on(during, stayed))},
		{libvirtdHung("target libvirtd", short, theTarget), on(both, moved)},
		{libvirtdKilled("source libvirtd killed", syscall.SIGKILL, theSource), on(during, stayed)},
		{networkCut(long), on(during, stayed)},
		{qemuKilled("target", theTarget), on(during, stayed)},
		{diskFull(), on(during, stayed)},
		{storageMapped(), on(both, moved)},
		{cancelRequested(), on(both, wasCancelled)},
		{deleted(), on(both, wasCancelled)},
	}
}

// deadTable: where the target can never be asked again, what the source's libvirt says
// for certain is enough, and else the word of a person. A source that is gone once the
// guest has moved has no say any more.
func deadTable() []block {
	return []block{
		{sourceSwitchedOff(), on([]phase{finished}, moved)},
		{targetFails(), on(copying, stayed)},
		{targetDies(), on([]phase{firstPass}, stayed)},
		{targetDiesAfterTwoRan(), on([]phase{arrival}, stayed, moved)},
	}
}

// table returns all cases.
func table() []scenario {
	parts := []struct {
		blocks  []block
		guest   guestKind
		company bool
	}{
		{blocks: slices.Concat(preCopyTable(), pauseTable(), requestTable(), postCopyTable(), deadTable())},
		{blocks: transientTable(), guest: guestKind{transient: true}},
		{blocks: pausedTable(), guest: guestKind{paused: true}},
		{blocks: companyTable(), company: true},
		{blocks: diskTable(), guest: guestKind{disk: true}},
		{blocks: freezeTable(), guest: guestKind{frozen: true}},
	}
	var out []scenario
	for _, part := range parts {
		for _, b := range part.blocks {
			for _, c := range b.cases {
				out = append(out, scenario{fault: b.fault, phase: c.phase, guest: part.guest, company: part.company, allowed: c.allowed})
			}
		}
	}
	return out
}
