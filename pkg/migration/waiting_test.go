package migration

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// says is the message of the condition Succeeded.
func says(s Summary) string {
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Message
	}
	return ""
}

// turned lets the manager decide on a migration that has a turn.
func (b builder) turned(turn Turn, now time.Time) Summary {
	return Summarize(ManagerFacts{Object: b.lm, Nodes: NewInventory(twoNodes()...), Turn: turn, NewAttempt: func() string { return "attempt-1" }}, now)
}

// TestWhatIsKnownAtFirst of a migration is recorded, and what was recorded stays.
func TestWhatIsKnownAtFirst(t *testing.T) {
	t.Parallel()
	b := makeMigration("m")
	st := b.turned(Turn{Admit: true, Grant: true, Resolution: Resolution{DomainUUID: guestUUID, DomainName: "web", SourceNode: "node-a", TargetNode: "node-b"}}, epoch).Status
	if st.DomainUUID != guestUUID || st.DomainName != "web" || st.StartTime == nil || !st.StartTime.Time.Equal(epoch) {
		t.Errorf("it is %s %s since %v", st.DomainUUID, st.DomainName, st.StartTime)
	}
	if st.Attempt == nil || st.Attempt.CopyGrantedTime == nil || !st.Attempt.CopyGrantedTime.Time.Equal(epoch) {
		t.Errorf("the attempt is %+v", st.Attempt)
	}
	waiting := b.turned(Turn{WaitingFor: v1alpha1.SlotSource, Position: 1, Resolution: Resolution{DomainUUID: guestUUID, DomainName: "web"}}, epoch).Status
	b.lm.Status = waiting
	later := b.turned(Turn{WaitingFor: v1alpha1.SlotSource, Position: 1}, epoch.Add(time.Hour)).Status
	if later.DomainUUID != guestUUID || later.DomainName != "web" || !later.StartTime.Time.Equal(epoch) {
		t.Errorf("an hour later it is %s %s since %v", later.DomainUUID, later.DomainName, later.StartTime)
	}
}

// TestAnAttemptHasTheTargetsStorageMappings, whatever becomes of these.
func TestAnAttemptHasTheTargetsStorageMappings(t *testing.T) {
	t.Parallel()
	nodes := twoNodes()
	want := v1alpha1.StorageMapping{Kind: v1alpha1.StorageKindDirectory, From: "/a", To: "/b"}
	mappings := []v1alpha1.StorageMapping{want}
	for i := range nodes {
		if nodes[i].Name == "node-b" {
			nodes[i].StorageMappings = mappings
		}
	}
	turn := Turn{Admit: true, Resolution: Resolution{DomainUUID: guestUUID, DomainName: "web", SourceNode: "node-a", TargetNode: "node-b"}}
	facts := ManagerFacts{Object: makeMigration("m").lm, Nodes: NewInventory(nodes...), Turn: turn, NewAttempt: func() string { return "attempt-1" }}
	st := Summarize(facts, epoch).Status
	mappings[0].To = "/c"
	if got := st.Attempt.StorageMappings; len(got) != 1 || got[0] != want {
		t.Errorf("the attempt has %v", got)
	}
	facts.Turn.Resolution.SourceNode, facts.Turn.Resolution.TargetNode = "node-b", "node-a"
	if got := Summarize(facts, epoch).Status.Attempt.StorageMappings; got != nil {
		t.Errorf("the source's are taken: %v", got)
	}
}

// TestWhoWaitsForAnUnknownOutcome is told what may end that: nothing does by itself.
func TestWhoWaitsForAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	other := makeMigration("other").started()
	waits := func() string { return says(makeMigration("m").turned(Turn{Before: other.lm}, epoch)) }
	const waiting = "Waiting for the LiveMigration default/other of the same guest to end"
	if got := waits(); got != waiting {
		t.Errorf("while the other one goes on, it says %q", got)
	}
	other.lm.Status.Phase = v1alpha1.PhaseUnknown
	if got, want := waits(), waiting+". Its outcome is unknown: ask an administrator to do what its condition Stalled says"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// TestWhatAMigrationWaitsFor is told, and who comes before it.
func TestWhatAMigrationWaitsFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		turn Turn
		want string
	}{
		{"the first", Turn{WaitingFor: v1alpha1.SlotSource, Position: 1}, "node-a already sends as many guests as it may at a time; this migration is next"},
		{"the second", Turn{WaitingFor: v1alpha1.SlotTarget, Position: 2}, "node-b already receives as many guests as it may at a time; 1 is ahead of it"},
		{"the fifth", Turn{WaitingFor: v1alpha1.SlotCluster, Position: 5}, "the cluster already moves as many guests as it may at a time; 4 are ahead of it"},
		{"the sixth", Turn{WaitingFor: v1alpha1.SlotSource, Position: 6}, "node-a already sends as many guests as it may at a time; at most 9 are ahead of it"},
		{"one that is not kept a slot", Turn{WaitingFor: v1alpha1.SlotSource, Position: 2, KeptFree: true}, "the next one is kept free for a migration that has waited longer; 1 is ahead of it"},
		{"nothing in particular", Turn{}, ""},
		{"a person", Turn{Halted: true}, ""},
	} {
		want := "aiting for a slot: " + c.want
		switch {
		case c.turn.Halted:
			want = "aiting for a slot: Virtferry cannot admit any migration at the moment; ask an administrator to repair what the manager's log says"
		case c.want == "":
			want = "aiting for the next free slot"
		}
		recheck := time.Time{}
		if c.turn.Position == 1 {
			recheck = epoch.Add(queueRecheck)
		}
		prepared := makeMigration("m").admitted().checked().ready()
		prepared.lm.Status.Attempt.CopyGrantedTime = nil
		if got := prepared.turned(c.turn, epoch.Add(time.Hour)); says(got) != "Both nodes are ready; w"+want || got.Status.Phase != v1alpha1.PhasePreparing {
			t.Errorf("%s, prepared: %s %q", c.name, got.Status.Phase, says(got))
		}
		c.turn.Resolution = Resolution{SourceNode: "node-a", TargetNode: "node-b"}
		got := makeMigration("m").turned(c.turn, epoch)
		if says(got) != "W"+want || got.Status.Phase != v1alpha1.PhasePending {
			t.Errorf("%s: %s %q", c.name, got.Status.Phase, says(got))
		}
		if !got.Recheck.Equal(recheck) {
			t.Errorf("%s: it is looked at again at %s", c.name, got.Recheck)
		}
	}
}

// TestHowLongTheAgentsMayTake: to prepare a migration, and then to start it once it has its
// slot, for which it may wait for ever.
func TestHowLongTheAgentsMayTake(t *testing.T) {
	t.Parallel()
	prepared := func(granted time.Duration) builder {
		b := makeMigration("m").admitted().checked().ready()
		b.lm.Status.Attempt.CopyGrantedTime = nil
		if granted > 0 {
			b.lm.Status.Attempt.CopyGrantedTime = new(metav1.NewMicroTime(epoch.Add(granted)))
		}
		return b
	}
	for _, c := range []struct {
		name    string
		b       builder
		after   time.Duration
		want    v1alpha1.LiveMigrationPhase
		recheck time.Duration
	}{
		{"in time", makeMigration("m").admitted(), PrepareTimeout - 1, v1alpha1.PhasePreparing, PrepareTimeout},
		{"too late", makeMigration("m").admitted(), PrepareTimeout, v1alpha1.PhaseFailed, 0},
		{"one side alone", makeMigration("m").admitted().checked(), PrepareTimeout - 1, v1alpha1.PhasePreparing, PrepareTimeout},
		{"both sides, and no slot for hours", prepared(0), 9 * time.Hour, v1alpha1.PhasePreparing, 0},
		{"a slot came after an hour", prepared(time.Hour), time.Hour + PrepareTimeout - 1, v1alpha1.PhasePreparing, time.Hour + PrepareTimeout},
		{"and nobody used it", prepared(time.Hour), time.Hour + PrepareTimeout, v1alpha1.PhaseFailed, 0},
		{"a dry run of which nothing is known", makeMigration("m").admitted().dry(), PrepareTimeout - 1, v1alpha1.PhasePreparing, PrepareTimeout},
		{"a dry run that passed", makeMigration("m").planned(), PrepareTimeout - 1, v1alpha1.PhaseSucceeded, 0},
		{"cancelled", makeMigration("m").admitted().deleted(), PrepareTimeout - 1, v1alpha1.PhaseCancelled, 0},
	} {
		got := c.b.turned(Turn{}, epoch.Add(c.after))
		want := time.Time{}
		if c.recheck > 0 {
			want = epoch.Add(c.recheck)
		}
		if got.Status.Phase != c.want || !got.Recheck.Equal(want) {
			t.Errorf("%s: %s, to be looked at again at %s, want %s and %s", c.name, got.Status.Phase, got.Recheck, c.want, want)
		}
	}
	// A slot that is given is recorded, once.
	b := prepared(0)
	if got := b.turned(Turn{Grant: true}, epoch.Add(time.Hour)).Status.Attempt.CopyGrantedTime; got == nil || !got.Time.Equal(epoch.Add(time.Hour)) {
		t.Errorf("the slot was given at %v", got)
	}
	if got := b.turned(Turn{}, epoch.Add(time.Hour)).Status.Attempt.CopyGrantedTime; got != nil {
		t.Errorf("a slot that was not given is recorded: %v", got)
	}
	if got := prepared(time.Hour).turned(Turn{Grant: true}, epoch.Add(time.Hour+time.Second)).Status.Attempt.CopyGrantedTime; !got.Time.Equal(epoch.Add(time.Hour)) {
		t.Errorf("a slot that was given already is given anew: %v", got)
	}
	// A guest that has just left is looked for again, for which the agents' time does not count.
	b = makeMigration("m").admitted()
	b.lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "attempt-1", Problem: &v1alpha1.Problem{Reason: v1alpha1.ReasonDomainNotOnSource, Message: "Left"}}
	if got := b.turned(Turn{}, epoch.Add(time.Second)); !got.Recheck.Equal(epoch.Add(time.Second + ResolveGrace)) {
		t.Errorf("a guest that has left is looked for again at %s", got.Recheck)
	}
}

// TestAPassedDryRunSaysWhatToCheck, where there is something.
func TestAPassedDryRunSaysWhatToCheck(t *testing.T) {
	t.Parallel()
	const passed = "Dry run: the guest can be moved from node-a to node-b; nothing was touched"
	if got := says(makeMigration("m").planned().turned(Turn{}, epoch)); got != passed {
		t.Errorf("without warnings: %q", got)
	}
	if got := says(makeMigration("m").planned("a").turned(Turn{}, epoch)); got != passed+"; see status.source.warnings for what to check on node-b first" {
		t.Errorf("with one: %q", got)
	}
}

// TestAGuestThatSeemsToBeThere: the word of the target's agent settles it, if it is fresh.
func TestAGuestThatSeemsToBeThere(t *testing.T) {
	t.Parallel()
	const there, left = true, false
	looked := func(domain string, confirmed bool) builder {
		b := makeMigration("m").admitted()
		b.lm.Status.SourceNode = ""
		if domain != "" {
			b.lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "attempt-1"}
			b.onTarget(domain, confirmed)
		}
		return b
	}
	searched := looked("Shutoff/Shutdown", true)
	searched.lm.Status.ResolvingTime = new(metav1.NewMicroTime(epoch))
	for _, c := range []struct {
		name   string
		b      builder
		listed bool
		after  time.Duration
		phase  v1alpha1.LiveMigrationPhase
		reason string
		says   string
	}{
		{"not looked at", looked("", false), there, PrepareTimeout - 1, "Preparing", "CheckingTarget", "seems to be on node-b already; checking"},
		{"never looked at", looked("", false), there, PrepareTimeout, "Failed", "NodeNotReady", "did not confirm that within 60 seconds"},
		{"not confirmed", looked("Running/Booted", false), there, PrepareTimeout - 1, "Preparing", "CheckingTarget", "checking"},
		{"never confirmed", looked("Running/Booted", false), there, PrepareTimeout, "Failed", "NodeNotReady", "did not confirm"},
		{"it runs there", looked("Running/Booted", true), there, PrepareTimeout - 1, "Succeeded", "AlreadyOnTarget", "The guest runs on node-b already; nothing was touched"},
		{"it is paused there", looked("Paused/User", true), there, 0, "Succeeded", "AlreadyOnTarget", "The guest is on node-b already (Paused/User); nothing was touched"},
		{"it ran there a while ago", looked("Running/Booted", true), there, PrepareTimeout, "Pending", "Resolving", "out of date; looking for the guest again"},
		{"it is not there, and is still listed", looked("Shutoff/Shutdown", true), there, 0, "Preparing", "Resolving", "finds it Shutoff/Shutdown; waiting for the list"},
		{"it is not there, and no longer listed", looked("Shutoff/Shutdown", true), left, 0, "Pending", "Resolving", "finds it Shutoff/Shutdown; looking for the guest again"},
		{"it is not there, though listed for long", searched, there, ResolveGrace, "Failed", "DomainNotRunning", "finds it Shutoff/Shutdown. Nothing was touched"},
		{"it is being moved on", looked("Running/Booted+MigrationOut", true), there, 0, "Preparing", "Resolving", "finds it Running/Booted and being migrated away; waiting"},
		{"a shell of it is there", looked("Paused/Migration", true), there, 0, "Preparing", "Resolving", "finds it Paused/Migration; waiting"},
		{"cancelled", looked("Running/Booted", true).deleted(), there, 0, "Cancelled", "Cancelled", "not touched"},
	} {
		got := c.b.turned(Turn{Resolution: Resolution{AlreadyOnTarget: c.listed}}, epoch.Add(c.after))
		condition := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionSucceeded)
		if got.Status.Phase != c.phase || condition.Reason != c.reason || !strings.Contains(condition.Message, c.says) {
			t.Errorf("%s: %s %s: %s", c.name, got.Status.Phase, condition.Reason, condition.Message)
		}
		if (got.Status.Attempt == nil) != (c.phase == v1alpha1.PhasePending) {
			t.Errorf("%s: the attempt is %+v", c.name, got.Status.Attempt)
		}
		if c.reason == v1alpha1.ReasonCheckingTarget && !got.Recheck.Equal(epoch.Add(PrepareTimeout)) {
			t.Errorf("%s: it is looked at again at %s", c.name, got.Recheck)
		}
	}
}

// TestAPromiseCounts until the status says it.
func TestAPromiseCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		copying bool
		guest   string
		source  string
		stage   Stage
		isGuest string
	}{
		{"to copy", true, "ABCDEF00-1111-4111-8111-111111111111", "node-a", StageCopying, "abcdef00-1111-4111-8111-111111111111"},
		{"to prepare", false, "", "node-a", StagePreparing, "web"},
		{"to look", true, "", "", StageEnding, "web"},
	} {
		claim := NewClaim(makeMigration("m").obj(), epoch)
		claim.Promise(c.copying, c.guest, c.source, "node-b")
		if claim.Stage != c.stage || claim.Guest != c.isGuest || claim.Source != c.source || claim.Target != "node-b" {
			t.Errorf("%s: %+v", c.name, claim)
		}
	}
}

// TestHowManyGoOnInAll where migrations are spread over all nodes.
func TestHowManyGoOnInAll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limits                    Limits
		nodes, copying, preparing int
	}{
		{DefaultLimits(), 5, 5, 10},
		{DefaultLimits(), 0, 0, 0},
		{Limits{Source: 2, Target: 3, Preparing: 4}, 5, 5, 20},
		{Limits{Source: 2, Target: 3, Cluster: 99, Preparing: 4}, 5, 10, 20},
		{Limits{Source: 4, Target: 3, Cluster: 99, Preparing: 4}, 5, 15, 20},
		{Limits{Source: 4, Target: 3, Cluster: 7, Preparing: 4}, 5, 7, 20},
	} {
		if copying, preparing := c.limits.InAll(c.nodes); copying != c.copying || preparing != c.preparing {
			t.Errorf("%+v on %d nodes: %d and %d, want %d and %d", c.limits, c.nodes, copying, preparing, c.copying, c.preparing)
		}
	}
}
