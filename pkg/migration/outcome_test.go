package migration

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestSideOf(t *testing.T) {
	for s, want := range map[string]Side{
		"":                               SideUnseen,
		"Absent":                         SideGone,
		"Running/Booted":                 SideLive,
		"Running/Migrated":               SideLive,
		"Running/MigrationCanceled":      SideLive,
		"Blocked/Unknown":                SideLive,
		"PMSuspended/Unknown":            SideLive,
		"Paused/User":                    SideLive,
		"Paused/Migration":               SideIncoming,
		"Paused/Migration+MigrationIn":   SideIncoming,
		"Paused/StartingUp":              SideIncoming,
		"Paused/StartingUp+MigrationIn":  SideIncoming,
		"Paused/User+MigrationIn":        SideIncoming,
		"Running/Migrated+MigrationIn":   SideLive,
		"Running/Booted+MigrationOut":    SideLeaving,
		"Paused/Migration+MigrationOut":  SideLeaving,
		"Paused/Postcopy":                SidePostcopy,
		"Paused/Postcopy+MigrationOut":   SidePostcopy,
		"Paused/PostcopyFailed":          SidePostcopy,
		"Running/Postcopy":               SidePostcopy,
		"Running/PostcopyFailed":         SidePostcopy,
		"Shutoff/Migrated":               SideMigrated,
		"Shutoff/Shutdown":               SideStopped,
		"Shutoff/Crashed":                SideStopped,
		"Shutoff/Unknown":                SideStopped,
		"Crashed/Unknown":                SideStopped,
		"Crashed/Panicked":               SideLive,
		"NoState/Unknown":                SideStopped,
		"a state that does not exist/x*": SideStopped,
	} {
		if got := SideOf(observed(s)); got != want {
			t.Errorf("SideOf(%q) = %s, want %s", s, got, want)
		}
	}
}

// TestJudge goes through what the two sides may show when the job is over. Late
// is when the time for confirmation has passed.
func TestJudge(t *testing.T) {
	const ok, failed, unknown = v1alpha1.CallSucceeded, v1alpha1.CallFailed, v1alpha1.CallUnknown
	type want struct {
		verdict Verdict
		reason  string
	}
	for _, c := range []struct {
		name           string
		call           v1alpha1.CallResult
		kind           string
		source, target string
		deleted        bool
		now, late      want
	}{
		{name: "the guest has moved", call: ok, source: "Absent", target: "Running/Migrated*",
			now: want{VerdictSucceeded, "Migrated"}, late: want{VerdictSucceeded, "Migrated"}},
		{name: "the guest has moved, suspended by somebody", call: ok, source: "Absent", target: "Paused/User",
			now: want{VerdictSucceeded, "ArrivedNotRunning"}, late: want{VerdictSucceeded, "ArrivedNotRunning"}},
		{name: "the guest has moved though the call failed", call: failed, kind: "Other", source: "Shutoff/Migrated", target: "Running/Migrated",
			now: want{VerdictSucceeded, "Migrated"}, late: want{VerdictSucceeded, "Migrated"}},
		{name: "the guest has moved and nobody saw it", call: unknown, source: "Absent", target: "Running/Migrated",
			now: want{VerdictSucceeded, "Migrated"}, late: want{VerdictSucceeded, "Migrated"}},
		{name: "cancelled too late", call: ok, source: "Absent", target: "Running/Migrated", deleted: true,
			now: want{VerdictSucceeded, "Migrated"}, late: want{VerdictSucceeded, "Migrated"}},
		{name: "the source crashed after the guest had moved", call: failed, source: "Shutoff/Crashed", target: "Running/Migrated",
			now: want{VerdictSucceeded, "Migrated"}, late: want{VerdictSucceeded, "Migrated"}},
		{name: "a definition is left on the source", call: unknown, source: "Shutoff/Migrated*", target: "Running/Migrated*",
			now: want{verdict: VerdictPending}, late: want{VerdictSucceeded, "Migrated"}},
		{name: "the migration failed", call: failed, kind: "Other", source: "Running/Booted", target: "Absent",
			now: want{VerdictFailed, "MigrationFailed"}, late: want{VerdictFailed, "MigrationFailed"}},
		{name: "the migration failed and left a definition on the target", call: failed, kind: "Other", source: "Running/Booted*", target: "Shutoff/Failed*",
			now: want{verdict: VerdictPending}, late: want{VerdictFailed, "MigrationFailed"}},
		{name: "the guest stopped and left a definition on the target", call: failed, kind: "Other", source: "Shutoff/Crashed*", target: "Shutoff/Failed*",
			now: want{verdict: VerdictPending}, late: want{VerdictFailed, "GuestStopped"}},
		{name: "success was claimed but the guest is on the source", call: ok, source: "Running/Booted", target: "Absent",
			now: want{VerdictFailed, "MigrationFailed"}, late: want{VerdictFailed, "MigrationFailed"}},
		{name: "unsafe", call: failed, kind: "Unsafe", source: "Running/Booted", target: "Absent",
			now: want{VerdictFailed, "Unsafe"}, late: want{VerdictFailed, "Unsafe"}},
		{name: "interrupted", call: unknown, source: "Running/MigrationCanceled", target: "Absent",
			now: want{VerdictFailed, "Interrupted"}, late: want{VerdictFailed, "Interrupted"}},
		{name: "cancelled", call: failed, kind: "Aborted", source: "Running/Booted", target: "Absent", deleted: true,
			now: want{VerdictCancelled, "Cancelled"}, late: want{VerdictCancelled, "Cancelled"}},
		{name: "cancelled by a successor", call: unknown, source: "Running/Booted", target: "Absent", deleted: true,
			now: want{VerdictCancelled, "Cancelled"}, late: want{VerdictCancelled, "Cancelled"}},
		{name: "aborted by somebody else", call: failed, kind: "Aborted", source: "Running/Booted", target: "Absent",
			now: want{VerdictFailed, "MigrationFailed"}, late: want{VerdictFailed, "MigrationFailed"}},
		{name: "the guest powered off", call: failed, kind: "Other", source: "Shutoff/Shutdown*", target: "Absent",
			now: want{VerdictFailed, "GuestStopped"}, late: want{VerdictFailed, "GuestStopped"}},
		{name: "the guest powered off and success was claimed", call: ok, source: "Shutoff/Shutdown", target: "Absent",
			now: want{VerdictFailed, "GuestStopped"}, late: want{VerdictFailed, "GuestStopped"}},
		{name: "a shell is left on the target", call: failed, source: "Running/Booted", target: "Paused/Migration",
			now: want{verdict: VerdictPending}, late: want{VerdictUnknown, "OutcomeUnknown"}},
		{name: "the guest is on neither side", call: ok, source: "Absent", target: "Absent",
			now: want{verdict: VerdictPending}, late: want{VerdictUnknown, "OutcomeUnknown"}},
		{name: "the guest has left and not arrived", call: ok, source: "Shutoff/Migrated", target: "Paused/Migration",
			now: want{verdict: VerdictPending}, late: want{VerdictUnknown, "OutcomeUnknown"}},
		{name: "the guest is on both sides", call: failed, source: "Running/Booted", target: "Running/Migrated",
			now: want{VerdictUnknown, "OutcomeUnknown"}, late: want{VerdictUnknown, "OutcomeUnknown"}},
		{name: "the source is paused in post-copy", call: failed, source: "Paused/PostcopyFailed", target: "Running/PostcopyFailed",
			now: want{verdict: VerdictPending}, late: want{VerdictUnknown, "OutcomeUnknown"}},
		{name: "the guest powered off and a shell is left", call: failed, source: "Shutoff/Shutdown", target: "Paused/Migration",
			now: want{verdict: VerdictPending}, late: want{VerdictUnknown, "OutcomeUnknown"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := makeMigration("m").ended(c.call, c.kind, c.source).onTarget(c.target, true)
			b.lm.Status.Target.DefinedBefore = new(false)
			if c.deleted {
				b.deleted()
			}
			for _, moment := range []struct {
				name string
				now  time.Time
				want want
			}{{"at once", epoch, c.now}, {"late", epoch.Add(ConfirmTimeout), c.late}} {
				got := Judge(b.obj(), moment.now)
				if got.Verdict != moment.want.verdict || got.Reason != moment.want.reason && got.Verdict != VerdictPending {
					t.Errorf("%s: %s %s %q, want %v", moment.name, got.Verdict, got.Reason, got.Message, moment.want)
				}
				if got.Message == "" {
					t.Errorf("%s: no message", moment.name)
				}
				if got.Verdict == VerdictPending && got.Recheck.IsZero() {
					t.Errorf("%s: nothing ends the wait", moment.name)
				}
			}
		})
	}
}

func TestOnlySuccessGoesWithoutConfirmation(t *testing.T) {
	for _, source := range []string{"Running/Booted", "Shutoff/Shutdown", "Shutoff/Migrated", "Absent", "Paused/PostcopyFailed"} {
		for _, target := range []string{"Absent", "Shutoff/Shutdown", "Paused/Migration", "Running/Migrated"} {
			b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", source).onTarget(target, false)
			moved := target == "Running/Migrated" && source != "Running/Booted" && source != "Paused/PostcopyFailed"
			if got := Judge(b.obj(), epoch).Verdict; got != VerdictPending && !moved {
				t.Errorf("%s and %s, which was seen before the end, give %s", source, target, got)
			}
		}
	}
}

// TestCleaningUpIsProvablySafe goes through all combinations of sides: a shell
// is removed only while the guest lives on the source, a definition only while
// it lives on the target.
func TestCleaningUpIsProvablySafe(t *testing.T) {
	states := []string{
		"", "Absent", "Running/Booted", "Running/Booted*", "Running/Migrated", "Running/Migrated*", "Paused/User", "Paused/Migration", "Paused/Migration+MigrationOut",
		"Paused/Postcopy", "Running/Postcopy", "Running/PostcopyFailed", "Paused/PostcopyFailed", "Shutoff/Migrated*", "Shutoff/Shutdown*", "Shutoff/Crashed",
	}
	for _, source := range states[1:] {
		for _, target := range states {
			for _, late := range []time.Duration{0, ConfirmTimeout, -1} {
				b := makeMigration("m").ended(v1alpha1.CallUnknown, "", source).onTarget(target, true)
				whole := late < 0
				if whole {
					b.inPostCopy().whole()
				}
				b.lm.Status.Target.DefinedBefore = new(false)
				got := Judge(b.obj(), epoch.Add(late))
				sourceSide, targetSide := SideOf(observed(source)), SideOf(observed(target))
				if got.RemoveIncoming && (sourceSide != SideLive || targetSide != SideIncoming) {
					t.Errorf("source %s, target %s: the target's copy would be removed", source, target)
				}
				if got.DestroySource && !(whole && sourceSide == SidePostcopy) && (source != "Paused/Migration" || targetSide != SideLive) {
					t.Errorf("source %s, target %s: the source's copy would be destroyed", source, target)
				}
				if got.PauseSource && (sourceSide != SideLive || targetSide != SideLive && targetSide != SideLeaving) {
					t.Errorf("source %s, target %s: the source's guest would be paused", source, target)
				}
				if got.UndefineTarget && (targetSide != SideStopped || source[len(source)-1] != '*') {
					t.Errorf("source %s, target %s: the target's definition would be removed", source, target)
				}
				if got.UndefineSource && (target[len(target)-1] != '*' || targetSide != SideLive || !slices.Contains([]Side{SideMigrated, SideStopped}, sourceSide)) {
					t.Errorf("source %s, target %s: the source's definition would be removed", source, target)
				}
			}
		}
	}
}

// TestDefinitionsThatWereThereStay: only one that came with the migration goes, and
// only where the source has the guest's own.
func TestDefinitionsThatWereThereStay(t *testing.T) {
	const here, givenUp = "Running/Booted*", "Shutoff/Failed*"
	for _, c := range []struct {
		name, source, target string
		before               *bool
		arrived, want        bool
	}{
		{"it came with the migration", here, givenUp, new(false), false, true},
		{"it was there before", here, givenUp, new(true), false, false},
		{"nobody has looked whether it was", here, givenUp, nil, false, false},
		{"it is the only one", "Running/Booted", givenUp, new(false), false, false},
		{"half of the guest had arrived, and was given up", here, givenUp, new(false), true, true},
		{"the guest had arrived, and may be at home there", here, "Shutoff/Shutdown*", new(false), true, false},
	} {
		b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", c.source).onTarget(c.target, true)
		b.lm.Status.Target.DefinedBefore = c.before
		if c.arrived {
			b.arrived()
		}
		got := Judge(b.obj(), epoch)
		if got.UndefineTarget != c.want || (got.Verdict == VerdictPending) != c.want {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}

// TestTheOnlyDefinitionStays: somebody has defined a transient guest on its source, or
// undefined it on its target.
func TestTheOnlyDefinitionStays(t *testing.T) {
	got := Judge(makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Shutoff/Migrated*").onTarget("Running/Migrated", true).obj(), epoch)
	if got.UndefineSource || got.Verdict != VerdictSucceeded || !strings.Contains(got.Message, "only definition is on node-a") {
		t.Errorf("got %+v", got)
	}
	for source, target := range map[string]string{"Absent": "Running/Migrated", "Shutoff/Migrated": "Running/Migrated*", "Shutoff/Migrated*": "Running/Migrated*"} {
		got := Judge(makeMigration("m").ended(v1alpha1.CallSucceeded, "", source).onTarget(target, true).obj(), epoch.Add(ConfirmTimeout))
		if got.Verdict != VerdictSucceeded || strings.Contains(got.Message, "only definition") {
			t.Errorf("%s and %s: got %+v", source, target, got)
		}
	}
}

// TestCleaningUpHasATimeOfItsOwn: it begins when there is something to clean up, which
// may be long after the sides were first seen.
func TestCleaningUpHasATimeOfItsOwn(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Booted*").onTarget("Running/Migrated*", true).summarized(epoch)
	if b.lm.Status.Phase != v1alpha1.PhaseUnknown {
		t.Fatalf("two copies are %s", b.lm.Status.Phase)
	}
	later := epoch.Add(time.Hour)
	b.lm.Status.Source.End.Domain = *observed("Shutoff/Destroyed*")
	for after, want := range map[time.Duration]Verdict{0: VerdictPending, ConfirmTimeout - time.Second: VerdictPending, ConfirmTimeout: VerdictSucceeded} {
		if got := Judge(b.summarized(later).obj(), later.Add(after)); got.Verdict != want || !got.UndefineSource {
			t.Errorf("after %s: got %+v, want %s", after, got, want)
		}
	}
}

// TestAGuestThatArrivedDidNotStopOnItsSource: what has stopped there was an old copy.
func TestAGuestThatArrivedDidNotStopOnItsSource(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Destroyed*").onTarget("Shutoff/Shutdown*", true).arrived()
	b.lm.Status.Target.DefinedBefore = new(false)
	if got := Judge(b.obj(), epoch.Add(ConfirmTimeout)); got.Verdict != VerdictUnknown || got.UndefineTarget {
		t.Errorf("got %+v", got)
	}
}

// TestPatienceIsTheManagers: neither node's clock decides how long the sides may take.
func TestPatienceIsTheManagers(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		b := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Shutoff/Migrated").onTarget("Absent", true)
		b.lm.Status.Attempt.EndSeenTime, b.lm.Status.Attempt.ConfirmationSeenTime = nil, nil
		b.lm.Status.Source.End.Time = metav1.NewMicroTime(epoch.Add(off))
		b.lm.Status.Target.ConfirmedTime = new(metav1.NewMicroTime(epoch.Add(off)))
		b.summarized(epoch)
		for after, want := range map[time.Duration]Verdict{BriefTimeout - time.Second: VerdictPending, BriefTimeout: VerdictUnknown} {
			if got := Judge(b.summarized(epoch.Add(time.Second)).obj(), epoch.Add(after)).Verdict; got != want {
				t.Errorf("clocks off by %s: %s after %s", off, got, after)
			}
		}
	}
}

func TestMessagesSayWhatToDo(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Absent", true)
	got := Judge(b.obj(), epoch.Add(ConfirmTimeout))
	for _, part := range []string{"node-a", "node-b", "absent", "virsh domstate", guestUUID} {
		if !strings.Contains(got.Message, part) {
			t.Errorf("the message %q lacks %q", got.Message, part)
		}
	}
}

func TestSectionsOfAnotherAttemptDoNotCount(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true)
	b.lm.Status.Attempt.ID = "attempt-2"
	if got := Judge(b.obj(), epoch.Add(ConfirmTimeout)).Verdict; got != VerdictPending {
		t.Errorf("an old attempt's end gives %s", got)
	}
}

// TestOutcomeTableIsComplete: each combination of sides has one row, and one only.
func TestOutcomeTableIsComplete(t *testing.T) {
	sides := []Side{
		SideUnseen, SideGone, SideMigrated, SideStopped, SideLive, SideStarted, SideRestarted, SideLeaving, SideIncoming, SideHeld, SidePostcopy, SideStale,
	}
	for _, source := range sides {
		for _, target := range sides {
			// A target holds nothing: only a source's guest can be held, or stale. And only
			// a target's can have been started where it was to arrive.
			if target == SideHeld || target == SideStale || source == SideStarted || source == SideRestarted {
				continue
			}
			rows := 0
			for _, row := range outcomeTable {
				if slices.Contains(row.source, source) && slices.Contains(row.target, target) {
					rows++
				}
			}
			if rows != 1 {
				t.Errorf("%s and %s have %d rows", source, target, rows)
			}
		}
	}
}

// TestNothingIsDoneInDoubt: whatever the sides show, nothing is resumed, removed or
// undefined unless the guest is provably whole on one side and not on the other.
func TestNothingIsDoneInDoubt(t *testing.T) {
	for _, row := range outcomeTable {
		if row.verdict != VerdictUnknown {
			continue
		}
		for _, source := range row.source {
			for _, target := range row.target {
				if row.removeIncoming && (source != SideLive || target != SideIncoming) {
					t.Errorf("%s and %s: the target's copy would be removed", source, target)
				}
			}
		}
		if row.meaning == "" {
			t.Errorf("%v and %v: nobody is told what it means", row.source, row.target)
		}
	}
}

func (b builder) pausedByUs() builder {
	b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Pause: &v1alpha1.SteeringStep{Reason: "Requested"}}
	return b
}

func (b builder) arrived() builder {
	b.lm.Status.Target.IncomingTime, b.lm.Status.Target.ArrivedTime = new(metav1.NewMicroTime(epoch)), new(metav1.NewMicroTime(epoch))
	return b
}

// TestWhatWePausedIsResumed where the guest is, and only there, and what its user
// had paused is not.
func TestWhatWePausedIsResumed(t *testing.T) {
	type want struct {
		source, target bool
		now, late      Verdict
	}
	for _, c := range []struct {
		name string
		b    builder
		want want
	}{
		{"failed", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/User").onTarget("Absent", true).pausedByUs(),
			want{source: true, now: VerdictPending, late: VerdictFailed}},
		{"failed after it was seen on the target, but libvirt is sure", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/User").
			onTarget("Absent", true).pausedByUs().arrived(), want{source: true, now: VerdictPending, late: VerdictFailed}},
		{"nobody knows how it failed", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/User").onTarget("Absent", true).pausedByUs(),
			want{source: true, now: VerdictPending, late: VerdictFailed}},
		{"nobody knows how it failed, and it ran on the target", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/User").
			onTarget("Absent", true).pausedByUs().arrived(), want{now: VerdictFailed, late: VerdictFailed}},
		{"resumed already", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Unpaused").onTarget("Absent", true).pausedByUs(),
			want{now: VerdictFailed, late: VerdictFailed}},
		{"paused by its user", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/User").onTarget("Absent", true),
			want{now: VerdictFailed, late: VerdictFailed}},
		{"held by libvirt", makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/Migration").onTarget("Absent", true).pausedByUs(),
			want{now: VerdictPending, late: VerdictUnknown}},
		{"the target was not looked at", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/User").onTarget("Absent", false).pausedByUs(),
			want{now: VerdictPending, late: VerdictUnknown}},
		{"a shell is left", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/User").onTarget("Paused/Migration", true).pausedByUs(),
			want{now: VerdictPending, late: VerdictUnknown}},
		{"moved, and paused there", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Paused/User", true).pausedByUs(),
			want{target: true, now: VerdictPending, late: VerdictSucceeded}},
		{"moved, and runs there", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true).pausedByUs(),
			want{now: VerdictSucceeded, late: VerdictSucceeded}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, late := Judge(c.b.obj(), epoch), Judge(c.b.obj(), epoch.Add(ConfirmTimeout))
			if got := (want{now.ResumeSource, now.ResumeTarget, now.Verdict, late.Verdict}); got != c.want {
				t.Errorf("got %+v, want %+v: %s", got, c.want, now.Message)
			}
			if now.RemoveIncoming {
				t.Error("what may be the guest would be removed")
			}
		})
	}
}

// TestAbortsSayWhy: the reason of an abort of ours is the migration's.
func TestAbortsSayWhy(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallFailed, "Aborted", "Running/Booted").onTarget("Absent", true)
	b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{
		Abort: &v1alpha1.SteeringStep{Reason: v1alpha1.ReasonWillNotConverge, Message: "it writes 9 MiB/s"},
	}
	got := Judge(b.obj(), epoch)
	if got.Verdict != VerdictFailed || got.Reason != v1alpha1.ReasonWillNotConverge || !strings.Contains(got.Message, "9 MiB/s") {
		t.Errorf("got %+v", got)
	}
	// libvirt does not always own up to an abort.
	b.lm.Status.Source.Steering.Abort.Reason, b.lm.Status.Source.End.ErrorKind = v1alpha1.ReasonCancelled, "Other"
	if got := Judge(b.deleted().obj(), epoch); got.Verdict != VerdictCancelled {
		t.Errorf("cancelled: got %+v", got)
	}
}

// TestInterruptedPostCopyPends until the guest is known to be lost: not on the target
// after the source had switched.
func TestInterruptedPostCopyPends(t *testing.T) {
	inPostCopy := func(state string, lost bool) builder {
		b := makeMigration("m").started().onTarget(state, false).inPostCopy()
		if lost {
			b.lm.Status.Target.LostTime = new(metav1.NewMicroTime(epoch))
		}
		return b
	}
	for state, want := range map[string]Verdict{
		"Running/PostcopyFailed": VerdictPending, "Running/Postcopy": VerdictPending, "Running/Migrated": VerdictPending,
		"Shutoff/Crashed": VerdictUnknown, "Absent": VerdictUnknown,
	} {
		if got := Judge(inPostCopy(state, true).obj(), epoch.Add(time.Hour)); got.Verdict != want {
			t.Errorf("%s: got %s %q, want %s", state, got.Verdict, got.Message, want)
		}
		if got := Judge(inPostCopy(state, false).obj(), epoch.Add(time.Hour)); got.Verdict != VerdictPending {
			t.Errorf("%s, seen before the switch: got %s", state, got.Verdict)
		}
	}
	unseen := makeMigration("m").started().inPostCopy()
	unseen.lm.Status.Target = nil
	notSwitched := inPostCopy("Absent", true)
	notSwitched.lm.Status.Source.Steering = nil
	for name, b := range map[string]builder{"no target has reported": unseen, "the guest has not switched": notSwitched} {
		if got := Judge(b.obj(), epoch.Add(time.Hour)); got.Verdict != VerdictPending {
			t.Errorf("%s: got %s", name, got.Verdict)
		}
	}
	ended := makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Shutoff/Destroyed").onTarget("Absent", true).inPostCopy()
	if got := Judge(ended.obj(), epoch); got.Reason != v1alpha1.ReasonGuestStopped || !strings.Contains(got.Message, "in post-copy") {
		t.Errorf("lost and cleared away: got %+v", got)
	}
	// It arrived, and somebody has moved it on: whoever started it anew would run it twice.
	if got := Judge(ended.whole().obj(), epoch.Add(time.Hour)); got.Verdict != VerdictUnknown || strings.Contains(got.Message, "again") {
		t.Errorf("arrived and moved on: got %+v", got)
	}
}

// TestOnlyPausesAreUndone: a guest that stands still because its disk fails is not
// resumed.
func TestOnlyPausesAreUndone(t *testing.T) {
	moved := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Paused/IOError", true).pausedByUs()
	stayed := makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/IOError").onTarget("Absent", true).pausedByUs()
	for _, b := range []builder{moved, stayed} {
		if got := Judge(b.obj(), epoch); got.ResumeSource || got.ResumeTarget || got.Verdict == VerdictPending {
			t.Errorf("got %+v", got)
		}
	}
}

// TestLateReportsLeaveTimeToCleanUp: the end is reported long after it came, as after
// an outage of the API server.
func TestLateReportsLeaveTimeToCleanUp(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Shutoff/Migrated*").onTarget("Running/Migrated*", true)
	b.lm.Status.Source.End.Time = metav1.NewMicroTime(epoch.Add(-10 * time.Minute))
	if got := Judge(b.obj(), epoch); got.Verdict != VerdictPending || !got.UndefineSource {
		t.Errorf("got %+v", got)
	}
}
