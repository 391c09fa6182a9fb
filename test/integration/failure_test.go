//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// awaitFailed waits until a migration has failed for a reason, with a message.
func (m *move) awaitFailed(reason, message string) *v1alpha1.LiveMigration {
	m.t.Helper()
	lm := m.awaitReason(reason)
	if c := succeeded(lm); c.Status != metav1.ConditionFalse || c.Message != message {
		m.t.Errorf("Succeeded is %s: %s\nwant False: %s", c.Status, c.Message, message)
	}
	if lm.Status.Phase != v1alpha1.PhaseFailed {
		m.t.Errorf("the phase is %s", lm.Status.Phase)
	}
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	return lm
}

func TestAgentsRefuse(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	problem := &v1alpha1.Problem{Reason: v1alpha1.ReasonInvalidMigrateData, Message: "The migrate data does not fit the guest: graphics"}
	t.Run("the source at its check", func(t *testing.T) {
		m := w.in(t).migrate(g, "b")
		m.awaitReason(v1alpha1.ReasonCheckingSource)
		a.asSource(m, func(r *agent.SourceReport) { r.Section.Problem = problem })
		m.awaitFailed(problem.Reason, "The guest stays on "+a.node+". "+problem.Message)
	})
	t.Run("the source just before the start", func(t *testing.T) {
		m := w.in(t).migrate(g, "b")
		carryOut(m, successfulMove(m, g, a, b)[:2])
		a.asSource(m, func(r *agent.SourceReport) { r.Section.Problem = problem })
		m.awaitFailed(problem.Reason, "The guest stays on "+a.node+". "+problem.Message)
	})
	t.Run("the target", func(t *testing.T) {
		m := w.in(t).migrate(g, "b")
		carryOut(m, successfulMove(m, g, a, b)[:1])
		refusal := &v1alpha1.Problem{Reason: v1alpha1.ReasonTargetCheckFailed, Message: "Another guest has that name"}
		b.asTarget(m, func(s *v1alpha1.TargetStatus) { s.Problem = refusal })
		m.awaitFailed(refusal.Reason, "The guest stays on "+a.node+". "+refusal.Message)
	})
}

// TestLibvirtGivesUp ends a running migration in the ways in which libvirt does.
func TestLibvirtGivesUp(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	for _, c := range []struct {
		name            string
		end             func(*agent.SourceReport)
		reason, message string
	}{
		{
			"an error", sourceFailed(hypervisor.KindOther, "unable to connect to server at '192.0.2.2:49152'"), v1alpha1.ReasonMigrationFailed,
			"The guest still runs on " + a.node + "; libvirt reported an error: unable to connect to server at '192.0.2.2:49152'. " +
				"Fix the cause, or ask an administrator to, and then create another LiveMigration",
		},
		{
			"a danger", sourceFailed(hypervisor.KindUnsafe, "Migration without shared storage is unsafe"), v1alpha1.ReasonUnsafe,
			"The guest still runs on " + a.node + "; libvirt refused to migrate it because its disks might be damaged: Migration without shared storage is unsafe. " +
				"Ask an administrator to put the disks on storage that both hosts share or, if you know that both hosts see the same disks, create another LiveMigration " +
				"with options.allowUnsafe",
		},
		{
			"a restart", func(r *agent.SourceReport) {
				sourceFailed(hypervisor.KindConnectionLost, "end of file while reading data")(r)
				r.Section.End.Call = v1alpha1.CallUnknown
			}, v1alpha1.ReasonInterrupted,
			"The guest still runs on " + a.node + "; the migration was interrupted by a restart of libvirt or of the agent. " +
				"Create another LiveMigration to try again",
		},
		{
			"the guest powers off", func(r *agent.SourceReport) {
				sourceFailed(hypervisor.KindOther, "domain is not running")(r)
				r.Section.End.Domain = v1alpha1.DomainObservation{State: string(hypervisor.StateShutoff), Reason: "Shutdown"}
			}, v1alpha1.ReasonGuestStopped,
			"The guest stopped on " + a.node + " (Shutoff/Shutdown) while it was being migrated, and was not started on " + b.node +
				". It runs on neither host: ask an administrator to start it again on " + a.node,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := w.in(t).migrate(g, "b")
			carryOut(m, successfulMove(m, g, a, b)[:5])
			a.asSource(m, c.end)
			m.awaitReason(v1alpha1.ReasonConfirming)
			b.asTarget(m, seesNothing)
			m.awaitFailed(c.reason, c.message)
		})
	}
}

// TestRequestsThatCannotBeMet are for what there is not.
func TestRequestsThatCannotBeMet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	web, off, twice := w.newGuest("web"), w.newGuest("off"), w.newGuest("twice")
	db := w.newGuest("db")
	w.startAgent("a", web.running(), off.off(), twice.running())
	w.startAgent("b", twice.running(), db.running())
	w.startAgent("c")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b", "c")
	na, nb, nc := w.node("a"), w.node("b"), w.node("c")
	for _, c := range []struct {
		name            string
		spec            v1alpha1.LiveMigrationSpec
		reason, message string
	}{
		{
			"no such target", v1alpha1.LiveMigrationSpec{Domain: web.name, TargetNode: "x"}, v1alpha1.ReasonNodeNotFound,
			`No agent serves the target node "x", so the guest was not touched. Nodes with an agent: ` + na + ", " + nb + ", " + nc + ". Create another LiveMigration with the right targetNode, or ask an administrator to start the agent there",
		},
		{
			"no such source", v1alpha1.LiveMigrationSpec{Domain: web.name, SourceNode: "x", TargetNode: nb}, v1alpha1.ReasonNodeNotFound,
			`No agent serves the source node "x", so the guest was not touched. Nodes with an agent: ` + na + ", " + nb + ", " + nc + ". Create another LiveMigration with the right sourceNode, or ask an administrator to start the agent there",
		},
		{
			"no such guest", v1alpha1.LiveMigrationSpec{Domain: "nobody", TargetNode: nb}, v1alpha1.ReasonDomainNotFound,
			"No node lists a guest \"nobody\". Check the spelling, or ask an administrator whether the agent on its node is running",
		},
		{
			"a guest that is off", v1alpha1.LiveMigrationSpec{Domain: off.name, TargetNode: nb}, v1alpha1.ReasonDomainNotRunning,
			"The guest \"" + off.name + "\" is not running (Shutoff on " + na + "), and only a running guest can be moved live. Ask an administrator to start it there, and then create another LiveMigration",
		},
		{
			"a guest that is elsewhere", v1alpha1.LiveMigrationSpec{Domain: db.uuid, SourceNode: na, TargetNode: nc}, v1alpha1.ReasonDomainNotOnSource,
			"The guest \"" + db.uuid + "\" runs on " + nb + ", not on " + na + ". Nothing was touched. Create another LiveMigration with the right sourceNode, or without one",
		},
		{
			"a guest that runs twice", v1alpha1.LiveMigrationSpec{Domain: twice.name, TargetNode: nb}, v1alpha1.ReasonDomainOnSeveralNodes,
			"The guest \"" + twice.name + "\" is active on " + na + " and " + nb +
				" at the same time. Nothing was touched. Ask an administrator to find out from the guest's console which copy is right, and to destroy the other with `virsh destroy`",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			lm := w.newMigration(web, "b")
			lm.Spec = c.spec
			m := w.follow(lm)
			// What agents publish may be late: there is a grace period.
			m.awaitReason(v1alpha1.ReasonResolving)
			lm = m.awaitFailed(c.reason, c.message)
			if lm.Status.Attempt != nil {
				t.Error("the migration went ahead")
			}
		})
	}
}

// TestNameOfSeveralGuests is refused at once: no news can settle it.
func TestNameOfSeveralGuests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.newGuest("web")
	two := guest{name: one.name, uuid: w.newGuest("other").uuid}
	a, b := w.startAgent("a", one.running()), w.startAgent("b", two.running())
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	places := []string{one.uuid + " on " + a.node, two.uuid + " on " + b.node}
	slices.Sort(places)
	w.migrate(one, "b").awaitFailed(v1alpha1.ReasonDomainAmbiguous, fmt.Sprintf(
		"2 guests are named %q: %s. Nothing was touched. Create another LiveMigration with the UUID of the guest to move as domain, or with the node it runs on as sourceNode", one.name, strings.Join(places, ", ")))
}

func TestGuestThatIsThereAlready(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	b := w.startAgent("b", g.running())
	w.startManager(clock.RealClock{})
	w.awaitReady("b")
	m := w.migrate(g, "b")
	m.awaitReason(v1alpha1.ReasonCheckingTarget)
	b.asTarget(m, sees(hypervisor.StateRunning, true))
	lm := m.awaitReason(v1alpha1.ReasonAlreadyOnTarget)
	if c := succeeded(lm); c.Status != metav1.ConditionTrue || c.Message != "The guest runs on "+b.node+" already; nothing was touched" {
		t.Errorf("Succeeded is %s: %s", c.Status, c.Message)
	}
	if lm.Status.SourceNode != "" {
		t.Errorf("the source is %s", lm.Status.SourceNode)
	}
}

// TestGuestThatOnlyAnOldListHas on the target: its agent is asked, and the guest is
// looked for again.
func TestGuestThatOnlyAnOldListHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a"), w.startAgent("b", g.running())
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	m := w.migrate(g, "b")
	m.awaitReason(v1alpha1.ReasonCheckingTarget)
	b.asTarget(m, seesNothing)
	m.awaitReason(v1alpha1.ReasonResolving)
	b.leaves(g)
	a.arrives(g)
	m.await("an attempt from where it is", func(lm *v1alpha1.LiveMigration) bool {
		return lm.Status.Attempt != nil && lm.Status.SourceNode == a.node
	})
	carryOut(m, successfulMove(m, g, a, b))
}

// TestGuestIsLookedForAgain: the source's agent does not find the guest, because
// the list that the manager went by was old.
func TestGuestIsLookedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b, c := w.startAgent("a", g.running()), w.startAgent("b"), w.startAgent("c")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b", "c")
	m := w.migrate(g, "b")
	m.awaitReason(v1alpha1.ReasonCheckingSource)
	a.leaves(g)
	a.asSource(m, func(r *agent.SourceReport) {
		r.Section.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonDomainNotOnSource, Message: "The guest does not run here any more"}
	})
	m.awaitReason(v1alpha1.ReasonResolving)
	c.arrives(g)
	m.await("a new attempt", func(lm *v1alpha1.LiveMigration) bool {
		return lm.Status.Attempt != nil && lm.Status.SourceNode == c.node
	})
	carryOut(m, successfulMove(m, g, c, b))
}

// TestAgentsThatAreSilent fail a migration that was let go ahead 58 seconds ago.
func TestAgentsThatAreSilent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		acts   int
		silent string
	}{
		{"the source's", 0, "a"},
		{"the target's", 1, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := w.newGuest("web")
			a, b := w.startAgent("a", g.running()), w.startAgent("b")
			stop := w.startManager(shiftedClock{ahead: 2*time.Second - migration.PrepareTimeout})
			w.awaitReady("a", "b")
			m := w.migrate(g, "b")
			m.awaitReason(v1alpha1.ReasonCheckingSource)
			carryOut(m, successfulMove(m, g, a, b)[:c.acts])
			stop()
			w.startManager(clock.RealClock{})
			m.awaitFailed(v1alpha1.ReasonNodeNotReady, "The guest stays on "+a.node+"; nothing was started, because the agent on "+w.node(c.silent)+
				" was not ready within 60 seconds. Ask an administrator to check that agent's log, and then create another LiveMigration")
		})
	}
}

// TestAgentsGiveReasonsThatFit a condition: a status with another is refused as a whole,
// and the migration would never end.
func TestAgentsGiveReasonsThatFit(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:4])
	for _, reason := range []string{"not a reason", "-", "Grund:", "Größe"} {
		step := v1alpha1.SteeringStep{Time: *microNow(), Reason: reason, Message: "No"}
		for what, err := range map[string]error{
			"problem of the source": a.tryAsSource(m.latest(), false, func(r *agent.SourceReport) {
				r.Section.Problem = &v1alpha1.Problem{Reason: reason, Message: "No"}
			}),
			"problem of the target": b.tryAsTarget(m.latest(), func(s *v1alpha1.TargetStatus) {
				s.Problem = &v1alpha1.Problem{Reason: reason, Message: "No"}
			}),
			"abort": a.tryAsSource(m.latest(), false, func(r *agent.SourceReport) {
				r.Section.Steering = &v1alpha1.SteeringStatus{Abort: &step}
			}),
		} {
			if !apierrors.IsInvalid(err) {
				t.Errorf("%s for the reason %q: the answer is %v", what, reason, err)
			}
		}
	}
}
