package migration

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestANodeThatWasDeletedCountsAsGone: the deletion of its Hypervisor is a person's word,
// after a minute in which no agent has put it back.
func TestANodeThatWasDeletedCountsAsGone(t *testing.T) {
	const failed, unknown = v1alpha1.CallFailed, v1alpha1.CallUnknown
	paused := makeMigration("m").ended(failed, "Other", "Paused/User").onTarget("Absent", false).pausedByUs()
	copyPaused := makeMigration("m").ended(unknown, "", "Paused/User").onTarget("Running/Migrated", true)
	copyPaused.lm.Status.Source.End.CopyPausedTime = new(metav1.NewMicroTime(epoch))
	for _, c := range []struct {
		name    string
		b       builder
		gone    []string
		unready []string
		phase   v1alpha1.LiveMigrationPhase
		reason  string
		says    string
	}{
		{"libvirt gave up, and the target is gone", makeMigration("m").ended(failed, "Other", "Running/Booted").onTarget("Running/Migrated", false),
			[]string{"node-b"}, nil, v1alpha1.PhaseFailed, "MigrationFailed", "still runs on node-a"},
		{"nobody knows how it ended, and the target is gone", makeMigration("m").ended(unknown, "", "Running/Booted").onTarget("Paused/Migration", true),
			[]string{"node-b"}, nil, v1alpha1.PhaseFailed, "Interrupted", "still runs on node-a"},
		{"both copies ran, and the target is gone", copyPaused, []string{"node-b"}, nil, v1alpha1.PhaseFailed, "Interrupted", "virsh resume"},
		{"the guest is paused for its migration, and the target is gone", paused, []string{"node-b"}, nil,
			v1alpha1.PhaseFailed, "MigrationFailed", "virsh resume"},
		{"the guest is held at its switch-over, and the target is gone", makeMigration("m").ended(unknown, "", "Paused/Migration").onTarget("Paused/Migration", true),
			[]string{"node-b"}, nil, v1alpha1.PhaseUnknown, "OutcomeUnknown", "to resume it on the source"},
		{"it runs on the target, and the source is gone", makeMigration("m").started().onTarget("Running/Migrated", false),
			[]string{"node-a"}, nil, v1alpha1.PhaseSucceeded, "Migrated", "runs on node-b"},
		{"the same, and the target is not read", makeMigration("m").started().onTarget("Running/Migrated", false),
			[]string{"node-a"}, []string{"node-b"}, v1alpha1.PhaseUnknown, "OutcomeUnknown", ""},
		{"both copies ran, and the source is gone", makeMigration("m").ended(unknown, "", "Running/Booted").onTarget("Running/Migrated", true),
			[]string{"node-a"}, nil, v1alpha1.PhaseSucceeded, "Migrated", "runs on node-b"},
		{"it has not arrived, and the source is gone", makeMigration("m").started().onTarget("Absent", false),
			[]string{"node-a"}, nil, v1alpha1.PhaseUnknown, "OutcomeUnknown", ""},
		{"the same, and the object is being deleted", makeMigration("m").started().onTarget("Absent", false).deleted(),
			[]string{"node-a"}, nil, v1alpha1.PhaseFailed, "GuestStopped", "neither on node-a nor on node-b"},
		{"a half of it is on the target, and the source is gone", makeMigration("m").started().onTarget("Running/Postcopy", false).inPostCopy(),
			[]string{"node-a"}, nil, v1alpha1.PhaseUnknown, "OutcomeUnknown", ""},
		{"both are gone, and the object is being deleted", makeMigration("m").started().onTarget("Running/Migrated", false).deleted(),
			[]string{"node-a", "node-b"}, nil, v1alpha1.PhaseFailed, "GuestStopped", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var nodes []Node
			for _, name := range []string{"node-a", "node-b"} {
				if !slices.Contains(c.gone, name) {
					nodes = append(nodes, Node{Name: name, Ready: !slices.Contains(c.unready, name), Since: epoch})
				}
			}
			b := c.b
			var last Summary
			for _, after := range []time.Duration{0, MissingTimeout - time.Second} {
				last = Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(nodes...)}, epoch.Add(after))
				take(b, last)
				if last.Status.CompletionTime != nil {
					t.Fatalf("settled after %s: %+v", after, last.Status.Conditions)
				}
				if last.Recheck.IsZero() || last.Recheck.After(epoch.Add(MissingTimeout)) {
					t.Fatalf("after %s it is looked at again at %s", after, last.Recheck)
				}
			}
			last = Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(nodes...)}, epoch.Add(MissingTimeout))
			if !last.Recheck.IsZero() && !last.Recheck.After(epoch.Add(MissingTimeout)) {
				t.Errorf("it is looked at again at %s, which is over", last.Recheck)
			}
			condition := last.Status.Conditions[0]
			if last.Status.Phase != c.phase || condition.Reason != c.reason || !strings.Contains(condition.Message, c.says) {
				t.Errorf("it is %s %s: %s", last.Status.Phase, condition.Reason, condition.Message)
			}
			if last.Status.Phase != v1alpha1.PhaseUnknown && !strings.Contains(condition.Message, c.gone[0]+" no longer has a Hypervisor") {
				t.Errorf("nobody is told why: %s", condition.Message)
			}
		})
	}
}

// take writes what the manager has decided.
func take(b builder, s Summary) {
	st := &b.lm.Status
	source, target, progress := st.Source, st.Target, st.Progress
	*st = s.Status
	st.Source, st.Target, st.Progress = source, target, progress
}

// TestANodeThatComesBackWasNotGone: somebody has deleted a Hypervisor whose agent lives.
func TestANodeThatComesBackWasNotGone(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Booted").onTarget("Running/Migrated", true)
	all := []Node{{Name: "node-a", Ready: true}, {Name: "node-b", Ready: true}}
	take(b, Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(all[:1]...)}, epoch))
	if b.lm.Status.Attempt.TargetMissingTime == nil {
		t.Error("nobody has noticed")
	}
	take(b, Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(all...)}, epoch.Add(time.Second)))
	if b.lm.Status.Attempt.TargetMissingTime != nil {
		t.Error("it still counts as missing")
	}
	take(b, Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(all[:1]...)}, epoch.Add(MissingTimeout)))
	if b.lm.Status.Phase != v1alpha1.PhaseUnknown {
		t.Errorf("the phase is %s", b.lm.Status.Phase)
	}
}

// TestAGuestThatNeverLeftStayed, also where the target is never seen again.
func TestAGuestThatNeverLeftStayed(t *testing.T) {
	for _, c := range []struct {
		name      string
		b         builder
		neverLeft bool
		now, late Verdict
	}{
		{"it never left", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").onTarget("Paused/Migration", false), true, VerdictPending, VerdictFailed},
		{"the same, and the call's result is not known", makeMigration("m").ended(v1alpha1.CallUnknown, "PeerLost", "Running/Booted").onTarget("Absent", false),
			true, VerdictPending, VerdictFailed},
		{"nobody knows whether it left", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").onTarget("Absent", false), false, VerdictPending, VerdictUnknown},
		{"it never left, and has stopped since", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Shutoff/Shutdown").onTarget("Absent", false), true, VerdictPending, VerdictUnknown},
		{"it never left, and what it left on the target is being removed", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").
			onTarget("Paused/Migration", true), true, VerdictPending, VerdictUnknown},
		{"it never left, and somebody has started it on the target", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").
			onTarget("Running/Booted", false), true, VerdictPending, VerdictUnknown},
		{"it never left, and another copy leaves the target", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").
			onTarget("Running/Booted/MigrationOut", false), true, VerdictPending, VerdictUnknown},
	} {
		c.b.lm.Status.Source.End.NeverLeft = c.neverLeft
		now, late := Judge(c.b.obj(), epoch), Judge(c.b.obj(), epoch.Add(ConfirmTimeout))
		if now.Verdict != c.now || late.Verdict != c.late {
			t.Errorf("%s: %s, then %s: %s", c.name, now.Verdict, late.Verdict, late.Message)
		}
		if late.Verdict == VerdictFailed && !strings.Contains(late.Message, "node-b has not reported since") {
			t.Errorf("%s: %s", c.name, late.Message)
		}
		side := SideOf(c.b.lm.Status.Target.Domain)
		if another := side == SideLive || side == SideLeaving; another != strings.Contains(late.Message, "this is what node-b showed when it last reported") {
			t.Errorf("%s: %s", c.name, late.Message)
		}
	}
}

// TestADeletedObjectEndsWhereNothingIsLeft on either side.
func TestADeletedObjectEndsWhereNothingIsLeft(t *testing.T) {
	gone := func() builder {
		return makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Migrated").onTarget("Absent", true)
	}
	for _, c := range []struct {
		name string
		b    builder
		want Verdict
	}{
		{"it is kept", gone(), VerdictUnknown},
		{"it is being deleted", gone().deleted(), VerdictFailed},
		{"it is being deleted, and a shell is left", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Paused/Migration", true).deleted(), VerdictUnknown},
		{"it is being deleted, and the target was not read", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Absent", false).deleted(), VerdictUnknown},
	} {
		if got := Judge(c.b.obj(), epoch.Add(BriefTimeout-time.Second)); got.Verdict != VerdictPending {
			t.Errorf("%s: at once %+v", c.name, got)
		}
		if got := Judge(c.b.obj(), epoch.Add(ConfirmTimeout)); got.Verdict != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestATargetThatIsGoneDuringTheCopy: what becomes of that, the source's agent will say. Where
// the target has never reported, there is nothing of it to presume.
func TestATargetThatIsGoneDuringTheCopy(t *testing.T) {
	source := NewInventory(Node{Name: "node-a", Ready: true})
	gone := func(b builder) builder {
		b.lm.Status.Attempt.TargetMissingTime = new(metav1.NewMicroTime(epoch.Add(-MissingTimeout)))
		return b
	}
	copying := gone(makeMigration("m").started().onTarget("Paused/Migration", false))
	copying.lm.Status.Source.JobStartedTime = new(metav1.NewMicroTime(epoch))
	if got := Summarize(ManagerFacts{Object: copying.obj(), Nodes: source}, epoch).Status; got.Phase != v1alpha1.PhaseMigrating {
		t.Errorf("while it is copied it is %s: %v", got.Phase, got.Conditions)
	}
	unseen := gone(makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted"))
	unseen.lm.Status.Target = nil
	if got := Summarize(ManagerFacts{Object: unseen.obj(), Nodes: source}, epoch.Add(time.Hour)).Status; got.Phase != v1alpha1.PhaseUnknown {
		t.Errorf("after the end it is %s: %v", got.Phase, got.Conditions)
	}
}

// TestWhenANodeCountsAsGone is when the manager looks again, unless something else is due
// before.
func TestWhenANodeCountsAsGone(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").onTarget("Absent", false)
	b.lm.Status.Attempt.ConfirmationSeenTime = nil
	for _, c := range []struct {
		source, target, want time.Duration // Since when they have been missing; 0 is not at all.
	}{
		{0, 0, ConfirmTimeout},
		{0, -20 * time.Second, MissingTimeout - 20*time.Second},
		{-20 * time.Second, 0, MissingTimeout - 20*time.Second},
		{-20 * time.Second, -30 * time.Second, MissingTimeout - 30*time.Second},
		{-30 * time.Second, -20 * time.Second, MissingTimeout - 30*time.Second},
		{0, 20 * time.Second, ConfirmTimeout},
	} {
		var nodes []Node
		for name, since := range map[string]time.Duration{"node-a": c.source, "node-b": c.target} {
			missing := &b.lm.Status.Attempt.SourceMissingTime
			if name == "node-b" {
				missing = &b.lm.Status.Attempt.TargetMissingTime
			}
			if *missing = nil; since == 0 {
				nodes = append(nodes, Node{Name: name, Ready: true})
			} else {
				*missing = new(metav1.NewMicroTime(epoch.Add(since)))
			}
		}
		if got := Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(nodes...)}, epoch).Recheck; !got.Equal(epoch.Add(c.want)) {
			t.Errorf("%+v: it is looked at again at %s, want %s", c, got, epoch.Add(c.want))
		}
	}
}

// TestCopyIsOver on the target: its word counts where the source is lost.
func TestCopyIsOver(t *testing.T) {
	started := func(domain string) builder {
		b := makeMigration("m").started().onTarget(domain, false)
		b.lm.Status.Target.IncomingTime = new(metav1.NewMicroTime(epoch))
		return b
	}
	ended := func(b builder) builder {
		b.lm.Status.Target.IncomingEndedTime = new(metav1.NewMicroTime(epoch))
		return b
	}
	arrived := func(b builder) builder {
		b.lm.Status.Target.ArrivedTime = new(metav1.NewMicroTime(epoch))
		return b
	}
	for name, c := range map[string]struct {
		b    builder
		want bool
	}{
		"nothing has come yet":        {makeMigration("m").started().onTarget("Absent", false), false},
		"the half is there":           {started("Paused/Migration"), false},
		"it is gone":                  {ended(started("Absent")), true},
		"it has stopped":              {ended(started("Shutoff/Failed")), true},
		"it is not known to be gone":  {started("Absent"), false},
		"another half has come since": {ended(started("Paused/Migration")), false},
		"the guest has arrived":       {arrived(started("Running/Migrated")), true},
		"the rest of it is coming":    {arrived(started("Running/Migrated+MigrationIn")), false},
		"it has gone on in post-copy": {ended(started("Absent").inPostCopy()), false},
		"the target says nothing":     {makeMigration("m").started(), false},
	} {
		if got := CopyIsOver(c.b.obj()); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
