package migration

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// summarize does what the manager does with the migration of a builder, where all are
// the others that it knows of.
func summarize(b builder, now time.Time, nodes []Node, all ...*v1alpha1.LiveMigration) Summary {
	inv := NewInventory(nodes...)
	f := ManagerFacts{Object: b.obj(), Nodes: inv, NewAttempt: func() string { return "attempt-1" }}
	var claims []*Claim
	for _, lm := range append(all, b.obj()) {
		if Finished(lm) {
			continue
		}
		c := NewClaim(lm, now)
		if c.Stage == StageWaiting || LooksOnly(lm) {
			c.Resolve(Resolve(&lm.Spec, lm.Status.DomainUUID, inv, arrivalsOf(all), now))
		}
		claims = append(claims, c)
	}
	turns := Schedule(claims, DefaultLimits(), inv.Ready(), now)
	for i, c := range claims {
		if c.Object == b.obj() {
			f.Turn = turns[i]
		}
	}
	return Summarize(f, now)
}

// arrivalsOf returns what finished migrations say of where guests are.
func arrivalsOf(all []*v1alpha1.LiveMigration) Arrivals {
	return func(id string) (Arrival, bool) {
		for _, lm := range all {
			if a, ok := ArrivalOf(lm); ok && lm.Status.DomainUUID == id {
				return a, true
			}
		}
		return Arrival{}, false
	}
}

func TestSummarize(t *testing.T) {
	good := []Node{node("node-a", "web=Running/Booted"), node("node-b")}
	moved := []Node{node("node-a"), node("node-b", "web=Running/Migrated")}
	stuck := makeMigration("m").admitted().checked()
	sourceProblem := makeMigration("m").admitted()
	sourceProblem.lm.Status.Source = &v1alpha1.SourceStatus{
		AttemptID: "attempt-1", Problem: &v1alpha1.Problem{Reason: v1alpha1.ReasonInvalidMigrateData, Message: "Bad data"},
	}
	targetProblem := makeMigration("m").admitted().checked()
	targetProblem.lm.Status.Target = &v1alpha1.TargetStatus{
		AttemptID: "attempt-1", Problem: &v1alpha1.Problem{Reason: v1alpha1.ReasonTargetCheckFailed, Message: "No room"},
	}
	copying := makeMigration("m").started()
	copying.lm.Status.Source.JobStartedTime = new(metav1.NewMicroTime(epoch))
	justMoved := makeMigration("old").admitted().finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded).obj()
	for _, c := range []struct {
		name    string
		b       builder
		after   time.Duration
		nodes   []Node
		all     []*v1alpha1.LiveMigration
		phase   v1alpha1.LiveMigrationPhase
		reason  string
		message string
	}{
		{"new", makeMigration("m"), 0, good, nil, v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource, "node-a"},
		{"new, guest unknown yet", makeMigration("m"), 0, []Node{node("node-b")}, nil, v1alpha1.PhasePending, v1alpha1.ReasonResolving, "No node lists"},
		{"new, deleted", makeMigration("m").deleted(), 0, good, nil, v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "before it started"},
		{"new, there already by the list", makeMigration("m"), 0, moved, nil, v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingTarget, "checking with the agent there"},
		{"new, another goes first", makeMigration("m").created(1), 0, good, []*v1alpha1.LiveMigration{makeMigration("o").admitted().obj()},
			v1alpha1.PhasePending, v1alpha1.ReasonWaitingForOtherMigration, "default/o"},
		{"new, the guest arrived on node-b just now but the lists are old", makeMigration("m"), time.Second, good, []*v1alpha1.LiveMigration{justMoved},
			v1alpha1.PhasePending, v1alpha1.ReasonResolving, "just been moved to node-b"},
		{"new, the guest arrived on node-b long ago and went back", makeMigration("m"), NewsDelay, good, []*v1alpha1.LiveMigration{justMoved},
			v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource, ""},
		{"checking", makeMigration("m").admitted(), 0, good, nil, v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource, "node-a"},
		{"preparing", makeMigration("m").admitted().checked(), 0, good, nil, v1alpha1.PhasePreparing, v1alpha1.ReasonPreparingTarget, "node-b"},
		{"ready", makeMigration("m").admitted().checked().ready(), 0, good, nil, v1alpha1.PhasePreparing, v1alpha1.ReasonStarting, "node-a"},
		{"preparing, deleted", makeMigration("m").admitted().checked().ready().deleted(), 0, good, nil,
			v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "before it started"},
		{"source refuses", sourceProblem, 0, good, nil, v1alpha1.PhaseFailed, v1alpha1.ReasonInvalidMigrateData, "The guest stays on node-a. Bad data"},
		{"target refuses", targetProblem, 0, good, nil, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "The guest stays on node-a. No room"},
		{"target silent", stuck, PrepareTimeout, []Node{good[0], lost(good[1])}, nil, v1alpha1.PhaseFailed, v1alpha1.ReasonNodeNotReady, "The guest stays on node-a; nothing was started, because the agent on node-b was not ready within 60 seconds; node-b is not ready: gone fishing"},
		{"source silent", makeMigration("m").admitted(), PrepareTimeout, good, nil, v1alpha1.PhaseFailed, v1alpha1.ReasonNodeNotReady, "the agent on node-a was not ready"},
		{"dry run, ready", makeMigration("m").admitted().checked().ready().dry(), 0, good, nil,
			v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource, "Checking on node-a what the guest becomes on node-b"},
		{"dry run, passed", makeMigration("m").planned(), 0, good, nil, v1alpha1.PhaseSucceeded, v1alpha1.ReasonChecksPassed,
			"Dry run: the guest can be moved from node-a to node-b; nothing was touched"},
		{"dry run, passed while the manager was away", makeMigration("m").planned(), time.Hour, good, nil, v1alpha1.PhaseSucceeded, v1alpha1.ReasonChecksPassed, ""},
		{"dry run, passed with warnings", makeMigration("m").planned("a", "b"), 0, good, nil, v1alpha1.PhaseSucceeded, v1alpha1.ReasonChecksPassed,
			"see status.source.warnings for what to check on node-b first"},
		{"dry run, deleted at the last moment", makeMigration("m").planned().deleted(), 0, good, nil, v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, ""},
		{"dry run, source silent although the target is ready", makeMigration("m").admitted().checked().ready().dry(), PrepareTimeout, good, nil,
			v1alpha1.PhaseFailed, v1alpha1.ReasonNodeNotReady, "the agent on node-a was not ready"},
		{"started", makeMigration("m").started(), time.Hour, good, nil, v1alpha1.PhasePreparing, v1alpha1.ReasonStarting, "node-a"},
		{"copying", copying, time.Hour, good, nil, v1alpha1.PhaseMigrating, v1alpha1.ReasonMigrating, "from node-a to node-b"},
		{"copying, agent lost", copying, time.Hour, []Node{lost(good[0]), good[1]}, nil,
			v1alpha1.PhaseMigrating, v1alpha1.ReasonMigrating, "node-a is not ready: gone fishing"},
		{"copying, deleted", makeMigration("m").started().deleted(), 0, good, nil, v1alpha1.PhaseCancelling, v1alpha1.ReasonCancelling, "node-a"},
		{"ended", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted"), 0, good, nil, v1alpha1.PhaseConfirming, v1alpha1.ReasonConfirming, ""},
		{"failed", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").onTarget("Absent", true), 0, good, nil,
			v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed, "still runs on node-a; libvirt reported an error: libvirt says no"},
		{"succeeded", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", false), 0, good, nil,
			v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "runs on node-b"},
		{"unknown", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Absent", true), ConfirmTimeout, good, nil,
			v1alpha1.PhaseUnknown, v1alpha1.ReasonOutcomeUnknown, "does not run on the target"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := summarize(c.b, epoch.Add(c.after), c.nodes, c.all...)
			condition := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionSucceeded)
			if got.Status.Phase != c.phase || condition == nil || condition.Reason != c.reason || !strings.Contains(condition.Message, c.message) {
				t.Errorf("got %s %+v, want %s %s with %q", got.Status.Phase, condition, c.phase, c.reason, c.message)
			}
			ends := c.phase == v1alpha1.PhaseSucceeded || c.phase == v1alpha1.PhaseFailed || c.phase == v1alpha1.PhaseCancelled
			if ends != (got.Status.CompletionTime != nil) {
				t.Errorf("completionTime is %v", got.Status.CompletionTime)
			}
			if got.Status.Source != nil || got.Status.Target != nil || got.Status.Progress != nil {
				t.Error("the summary holds what the manager does not own")
			}
		})
	}
}

func TestPatienceEnds(t *testing.T) {
	b := makeMigration("m")
	first := summarize(b, epoch, []Node{node("node-b")})
	if want := epoch.Add(ResolveGrace); !first.Recheck.Equal(want) {
		t.Fatalf("recheck at %s, want %s", first.Recheck, want)
	}
	b.lm.Status = first.Status
	last := summarize(b, first.Recheck, []Node{node("node-b")})
	if last.Status.Phase != v1alpha1.PhaseFailed {
		t.Errorf("the phase is %s when the patience has ended", last.Status.Phase)
	}
}

// TestGuestLeftBeforeTheCheck: the list that the manager went by was old.
func TestGuestLeftBeforeTheCheck(t *testing.T) {
	b := makeMigration("m").admitted()
	b.lm.Status.Source = &v1alpha1.SourceStatus{
		AttemptID: "attempt-1", Problem: &v1alpha1.Problem{Reason: v1alpha1.ReasonDomainNotOnSource, Message: "Left"},
	}
	nodes := []Node{node("node-a"), node("node-b"), node("node-c", "web=Running/Migrated")}
	again := summarize(b, epoch.Add(time.Second), nodes)
	if again.Status.Attempt != nil || again.Status.Phase != v1alpha1.PhasePending {
		t.Fatalf("the attempt is not taken back: %+v", again.Status)
	}
	b.lm.Status = again.Status
	next := summarize(b, epoch.Add(time.Second), nodes)
	if next.Status.SourceNode != "node-c" || next.Status.Attempt == nil {
		t.Errorf("the guest is not looked for again: %+v", next.Status)
	}
	b.lm.Status = next.Status
	b.lm.Status.Source = &v1alpha1.SourceStatus{
		AttemptID: "attempt-1", Problem: &v1alpha1.Problem{Reason: v1alpha1.ReasonDomainNotOnSource, Message: "Left again"},
	}
	late := summarize(b, epoch.Add(time.Second+ResolveGrace), nodes)
	if late.Status.Phase != v1alpha1.PhaseFailed {
		t.Errorf("the search has no end: %+v", late.Status)
	}
}

func TestTheEndIsFinal(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true).
		finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded)
	b.onTarget("Shutoff/Shutdown", true).deleted()
	b.lm.Generation = 7
	got := summarize(b, epoch.Add(time.Hour), nil)
	if got.Status.Phase != v1alpha1.PhaseSucceeded || !meta.IsStatusConditionTrue(got.Status.Conditions, v1alpha1.ConditionSucceeded) {
		t.Errorf("the end has changed: %+v", got.Status)
	}
	if got.Status.ObservedGeneration != 7 {
		t.Errorf("observedGeneration is %d, want 7", got.Status.ObservedGeneration)
	}
}

// TestTheEndAddsNothing: what the manager sees of the end later is not remembered.
func TestTheEndAddsNothing(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Migrated*").onTarget("Running/Migrated*", true).
		finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded)
	a := b.obj().Status.Attempt
	a.EndSeenTime, a.ConfirmationSeenTime, a.CleanUpTime = nil, nil, nil
	before := a.DeepCopy()
	if got := summarize(b, epoch.Add(time.Hour), nil).Status.Attempt; !reflect.DeepEqual(got, before) {
		t.Errorf("the attempt was %+v, and is %+v", before, got)
	}
}

func TestUnknownGivesWayToTheTruth(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Absent", true)
	b.lm.Status.Conditions = summarize(b, epoch.Add(ConfirmTimeout), nil).Status.Conditions
	b.onTarget("Running/Migrated", true)
	got := summarize(b, epoch.Add(time.Hour), nil)
	if got.Status.Phase != v1alpha1.PhaseSucceeded || meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionStalled) != nil {
		t.Errorf("the outcome stays %s: %+v", got.Status.Phase, got.Status.Conditions)
	}
}

func TestDowntimeComesFromTheSideThatKnows(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Running/Migrated", true)
	b.lm.Status.Target.DowntimeMilliseconds = new(int64(42))
	if got := summarize(b, epoch, nil).Status.DowntimeMilliseconds; got == nil || *got != 42 {
		t.Errorf("the downtime is %v, want the target's", got)
	}
	b.lm.Status.Progress = &v1alpha1.ProgressStatus{DowntimeMilliseconds: new(int64(41))}
	if got := summarize(b, epoch, nil).Status.DowntimeMilliseconds; got == nil || *got != 41 {
		t.Errorf("the downtime is %v, want the source's", got)
	}
}

// TestSourceThatIsGone: nobody reports the end of a migration whose source is away
// for long, and nobody can say how it ended. When it is back, it can.
func TestSourceThatIsGone(t *testing.T) {
	b := makeMigration("m").started().onTarget("Paused/Migration+MigrationIn", false)
	b.lm.Status.Source.JobStartedTime = new(metav1.NewMicroTime(epoch))
	nodes := twoNodes()
	summarize := func(now time.Time) Summary {
		return Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(nodes...)}, now)
	}
	if got := summarize(epoch).Status.Phase; got != v1alpha1.PhaseMigrating {
		t.Errorf("at first it is %s", got)
	}
	nodes[0].Ready, nodes[0].Message, nodes[0].Since = false, "its agent is lost", epoch
	before := summarize(epoch.Add(ConfirmTimeout - time.Second))
	if before.Status.Phase != v1alpha1.PhaseMigrating || !before.Recheck.Equal(epoch.Add(ConfirmTimeout)) {
		t.Errorf("for a while it is %s, to be looked at again at %s", before.Status.Phase, before.Recheck)
	}
	after := summarize(epoch.Add(ConfirmTimeout))
	if c := after.Status.Conditions[0]; after.Status.Phase != v1alpha1.PhaseUnknown || !strings.Contains(c.Message, "its agent is lost") {
		t.Errorf("then it is %s: %s", after.Status.Phase, c.Message)
	}
	nodes[0].Ready = true
	if got := summarize(epoch.Add(time.Hour)).Status.Phase; got != v1alpha1.PhaseMigrating {
		t.Errorf("when it is back it is %s", got)
	}
}

// TestASourceThatIsGone: its Hypervisor was removed with its node, and nobody will ever
// report the end.
func TestASourceThatIsGone(t *testing.T) {
	b := makeMigration("m").started()
	summarize := func(after time.Duration, nodes ...Node) {
		st := Summarize(ManagerFacts{Object: b.lm, Nodes: NewInventory(nodes...)}, epoch.Add(after)).Status
		st.Source, st.Target = b.lm.Status.Source, b.lm.Status.Target
		b.lm.Status = st
	}
	target := Node{Name: "node-b", Ready: true}
	for _, c := range []struct {
		after time.Duration
		nodes []Node
		want  v1alpha1.LiveMigrationPhase
	}{
		{0, []Node{target}, v1alpha1.PhasePreparing},
		{ConfirmTimeout - time.Second, []Node{target}, v1alpha1.PhasePreparing},
		{ConfirmTimeout, []Node{target}, v1alpha1.PhaseUnknown},
		{2 * ConfirmTimeout, []Node{{Name: "node-a", Ready: true}, target}, v1alpha1.PhasePreparing},
		{3 * ConfirmTimeout, []Node{target}, v1alpha1.PhasePreparing},
	} {
		summarize(c.after, c.nodes...)
		if b.lm.Status.Phase != c.want {
			t.Errorf("after %s with %d nodes it is %s, want %s: %v", c.after, len(c.nodes), b.lm.Status.Phase, c.want, b.lm.Status.Conditions)
		}
		if c.want == v1alpha1.PhaseUnknown && !strings.Contains(b.lm.Status.Conditions[0].Message, "node-a no longer has a Hypervisor") {
			t.Errorf("the message is %q", b.lm.Status.Conditions[0].Message)
		}
	}
}

// TestADryRunBringsNoGuest: where a guest is does not follow from one that has passed.
func TestADryRunBringsNoGuest(t *testing.T) {
	if a, ok := ArrivalOf(makeMigration("m").planned().finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded).obj()); ok {
		t.Errorf("the guest is said to have come to %s", a.Node)
	}
}

// TestADryRunTellsWhatWouldBeKept speaks of what has not happened.
func TestADryRunTellsWhatWouldBeKept(t *testing.T) {
	got := summarize(makeMigration("m").planned("the path /x"), epoch, []Node{node("node-a", "web=Running/Booted"), node("node-b")})
	if n := got.Status.Notices; len(n) != 1 || n[0].Reason != v1alpha1.NoticeHostPartsKept || !strings.Contains(n[0].Message, "would be kept as they are") {
		t.Errorf("the notices are %+v", n)
	}
}

// TestAnOldLookSettlesNothing: the target's agent looked when it was asked, and the manager
// was away for an hour after that.
func TestAnOldLookSettlesNothing(t *testing.T) {
	b := makeMigration("m").admitted()
	b.lm.Status.SourceNode = ""
	b.lm.Status.Target = &v1alpha1.TargetStatus{
		AttemptID: "attempt-1", ConfirmedTime: new(metav1.NewMicroTime(epoch)), Domain: observed("Running/Booted"),
	}
	nodes := []Node{node("node-a"), node("node-b", "web=Shutoff/Shutdown")}
	if got := summarize(b, epoch.Add(time.Second), nodes); got.Status.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("what was seen just now leaves it %s", got.Status.Phase)
	}
	if got := summarize(b, epoch.Add(time.Hour), nodes); got.Status.Phase != v1alpha1.PhasePending || got.Status.Attempt != nil {
		t.Errorf("what was seen an hour ago makes it %s", got.Status.Phase)
	}
}

// TestWhenTheEndWasSeen is recorded as it is seen, and not again.
func TestWhenTheEndWasSeen(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Absent", false)
	a := b.lm.Status.Attempt
	a.EndSeenTime, a.ConfirmationSeenTime = nil, nil
	nodes := twoNodes()
	second := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	for _, c := range []struct {
		after             int
		confirmed         bool
		end, confirmation int // -1 is not at all.
	}{{1, false, 1, -1}, {2, false, 1, -1}, {3, true, 1, 3}, {4, true, 1, 3}} {
		b.onTarget("Absent", false)
		if b.lm.Status.Target.ConfirmedTime = nil; c.confirmed {
			b.lm.Status.Target.ConfirmedTime = new(metav1.NewMicroTime(epoch))
		}
		take(b, Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(nodes...)}, second(c.after)))
		at := func(got *metav1.MicroTime, want int) bool {
			return want < 0 && got == nil || want >= 0 && got != nil && got.Time.Equal(second(want))
		}
		if a := b.lm.Status.Attempt; !at(a.EndSeenTime, c.end) || !at(a.ConfirmationSeenTime, c.confirmation) {
			t.Errorf("after %d s, confirmed %t: the end was seen at %v, and the confirmation at %v", c.after, c.confirmed, a.EndSeenTime, a.ConfirmationSeenTime)
		}
	}
}

// TestASourceThatIsAway, with what is said of a target on which something runs.
func TestASourceThatIsAway(t *testing.T) {
	nodes := twoNodes()
	nodes[0].Ready, nodes[0].Message, nodes[0].Since = false, "its agent is lost", epoch
	for _, target := range []string{"Running/Booted", "Running/Unpaused", "Running/Migrated", "Absent"} {
		b := makeMigration("m").started().onTarget(target, false)
		got := Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(nodes...)}, epoch.Add(ConfirmTimeout))
		if got.Status.Phase != v1alpha1.PhaseUnknown || !strings.Contains(got.Status.Conditions[0].Message, "the source has not reported on the guest") {
			t.Errorf("%s: it is %s: %v", target, got.Status.Phase, got.Status.Conditions)
		}
	}
}

// TestAStallIsTold, until it is over.
func TestAStallIsTold(t *testing.T) {
	for reason, says := range map[v1alpha1.StallReason]string{
		v1alpha1.StallNoAnswer:         "libvirt on node-a has not answered about the guest since 2026-01-01 00:00:00 UTC",
		v1alpha1.StallAbortIneffective: "libvirt on node-a was asked at 2026-01-01 00:00:00 UTC to abort the migration, and has not ended it",
	} {
		b := makeMigration("m").started()
		b.lm.Status.Source.Stall = &v1alpha1.StallStatus{Time: metav1.NewMicroTime(epoch), Reason: reason}
		got := summarize(b, epoch, twoNodes())
		if c := got.Status.Conditions[0]; got.Status.Phase != v1alpha1.PhaseUnknown || !strings.Contains(c.Message, says) {
			t.Errorf("%s: it is %s: %s", reason, got.Status.Phase, c.Message)
		}
		b.whole()
		if got := summarize(b, epoch, twoNodes()); got.Status.Phase == v1alpha1.PhaseUnknown {
			t.Errorf("%s, and all of the guest is on the target: it is %s", reason, got.Status.Phase)
		}
		b.lm.Status.Target.WholeTime, b.lm.Status.Source.Stall = nil, nil
		if got := summarize(b, epoch, twoNodes()); got.Status.Phase == v1alpha1.PhaseUnknown {
			t.Errorf("%s, and it is over: it is %s", reason, got.Status.Phase)
		}
	}
}

// TestWhatIsGoingOn is told.
func TestWhatIsGoingOn(t *testing.T) {
	copying := func() builder {
		b := makeMigration("m").started()
		b.lm.Status.Source.JobStartedTime = new(metav1.NewMicroTime(epoch))
		return b
	}
	paused := func(recorded, seen bool) builder {
		b := copying()
		b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{}
		if recorded {
			b.lm.Status.Source.Steering.Pause = &v1alpha1.SteeringStep{Message: "it takes too long"}
		}
		if seen {
			b.lm.Status.Source.Steering.PausedTime = new(metav1.NewMicroTime(epoch))
		}
		return b
	}
	broken := func(attempts int32, failure string) builder {
		b := copying().inPostCopy()
		b.lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{BrokenTime: metav1.NewMicroTime(epoch), Attempts: attempts, LastError: failure}
		return b
	}
	withheld := func() builder {
		b := broken(0, "")
		b.lm.Status.Source.Recovery.WithheldReason = "Update it"
		return b
	}
	const (
		plain   = "Copying the guest from node-a to node-b"
		halves  = "The guest runs on node-b; the rest of its memory is being copied from node-a"
		network = "to check the network between them, and to destroy neither copy: each has a part of the guest's memory"
	)
	for _, c := range []struct {
		name  string
		b     builder
		phase v1alpha1.LiveMigrationPhase
		want  string
	}{
		{"copying", copying(), v1alpha1.PhaseMigrating, plain},
		{"steered", paused(false, false), v1alpha1.PhaseMigrating, plain},
		{"being paused", paused(true, false), v1alpha1.PhaseMigrating, plain},
		{"paused", paused(true, true), v1alpha1.PhaseMigrating, plain + "; the guest is paused until it has been copied: it takes too long"},
		{"a guest that stands still", paused(false, true), v1alpha1.PhaseMigrating, plain},
		{"in post-copy", copying().inPostCopy(), v1alpha1.PhasePostCopy, halves},
		{"in post-copy, and to be cancelled", copying().inPostCopy().deleted(), v1alpha1.PhasePostCopy, halves + ". It is too late to cancel: neither host has the whole guest until that is done"},
		{"whole", copying().inPostCopy().whole(), v1alpha1.PhasePostCopy, "All of the guest has arrived on node-b; waiting for libvirt on node-a to notice"},
		{"whole, before the switch was seen", copying().whole(), v1alpha1.PhaseMigrating, plain},
		{"interrupted", broken(0, ""), v1alpha1.PhaseRecovering, network},
		{"interrupted, and not to be resumed", withheld(), v1alpha1.PhaseRecovering, "memory that has not arrived. Update it. The migration is resumed some seconds after that. Destroy neither copy: each has a part of the guest's memory"},
		{"interrupted, and tried again", broken(3, "no route"), v1alpha1.PhaseRecovering, network + ". Attempt 3 to resume it failed: no route"},
	} {
		got := Summarize(ManagerFacts{Object: c.b.obj(), Nodes: NewInventory(twoNodes()...)}, epoch)
		if message := says(got); got.Status.Phase != c.phase || !strings.HasSuffix(message, c.want) {
			t.Errorf("%s: %s %q, want %s %q", c.name, got.Status.Phase, message, c.phase, c.want)
		}
	}
}

// TestWithheldTellsOfTheTargetsAgent: only it can tell that libvirt was updated there.
func TestWithheldTellsOfTheTargetsAgent(t *testing.T) {
	t.Parallel()
	b := makeMigration("m").started().inPostCopy()
	b.lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{BrokenTime: metav1.NewMicroTime(epoch), WithheldReason: "Update it"}
	nodes := twoNodes()
	nodes[1].Ready, nodes[1].Message, nodes[1].Since = false, "its agent is lost", epoch
	got := Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(nodes...)}, epoch)
	if c := got.Status.Conditions[0]; !strings.Contains(c.Message, "node-b is not ready: its agent is lost") {
		t.Errorf("the message is %q", c.Message)
	}
}

// TestHowLongARefusalWaits for what the other agent has against the guest: that one may not be
// there, or be too old to look.
func TestHowLongARefusalWaits(t *testing.T) {
	t.Parallel()
	nodes := []Node{node("node-a", "web=Running/Booted"), node("node-b")}
	for name, c := range map[string]struct {
		change func(lm *v1alpha1.LiveMigration)
		after  time.Duration
		ends   bool
	}{
		"the target has not looked":    {func(*v1alpha1.LiveMigration) {}, LookOnTime - time.Millisecond, false},
		"it never looks":               {func(*v1alpha1.LiveMigration) {}, LookOnTime, true},
		"a dry run has more time":      {func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }, LookOnTime, false},
		"everything has been said":     {func(lm *v1alpha1.LiveMigration) { lm.Status.Source.CheckedTime = new(metav1.NewMicroTime(epoch)) }, 0, true},
		"it is cancelled":              {func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = &metav1.Time{Time: epoch} }, 0, true},
		"nothing is told of the guest": {func(lm *v1alpha1.LiveMigration) { lm.Status.Source.Guest = nil }, 0, true},
	} {
		b := makeMigration("m").admitted().checked()
		b.lm.Status.Source.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonSourceCheckFailed, Message: "No"}
		c.change(b.lm)
		got := summarize(b, epoch.Add(c.after), nodes)
		if ended := got.Status.CompletionTime != nil; ended != c.ends {
			t.Errorf("%s: it ends: %t, %v", name, ended, got.Status.Conditions)
		}
		if want := epoch.Add(LookOnTime); !c.ends && c.after < LookOnTime && !got.Recheck.Equal(want) {
			t.Errorf("%s: it is looked at again at %s, want %s", name, got.Recheck, want)
		}
	}
}
