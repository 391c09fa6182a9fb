package migration

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestSupersedes: an agent stops where another process of it has gone further, and nowhere else.
func TestSupersedes(t *testing.T) {
	t.Parallel()
	checked := makeMigration("m").admitted().checked().obj().Status.Source
	started := makeMigration("m").started().obj().Status.Source
	ended := func(observation int64) *v1alpha1.SourceStatus {
		s := makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").obj().Status.Source
		s.End.Observation = observation
		return s
	}
	another := ended(9)
	another.AttemptID = "attempt-2"
	for _, c := range []struct {
		name            string
		recorded, known *v1alpha1.SourceStatus
		want            bool
	}{
		{"nothing is recorded", nil, started, false},
		{"nothing is known", started, nil, false},
		{"the same", started, started, false},
		{"the start", started, checked, true},
		{"what is known goes further", checked, started, false},
		{"the end", ended(1), started, true},
		{"the end is known already", started, ended(1), false},
		{"later news after the end", ended(2), ended(1), true},
		{"the same news", ended(2), ended(2), false},
		{"earlier news", ended(1), ended(2), false},
		{"another attempt", another, started, false},
	} {
		if got := Supersedes(c.recorded, c.known); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// TestSourceChanged: how far the copy has come is no news.
func TestSourceChanged(t *testing.T) {
	t.Parallel()
	now := new(metav1.NewMicroTime(epoch))
	for _, c := range []struct {
		name          string
		before, after *v1alpha1.SteeringStatus
		want          bool
	}{
		{"nothing", nil, nil, false},
		{"steering that says nothing", nil, &v1alpha1.SteeringStatus{}, false},
		{"the same", &v1alpha1.SteeringStatus{PausedTime: now}, &v1alpha1.SteeringStatus{PausedTime: now}, false},
		{
			"progress", &v1alpha1.SteeringStatus{MaxDowntimeMilliseconds: 300},
			&v1alpha1.SteeringStatus{MaxDowntimeMilliseconds: 450, LastProgressTime: now, LowestRemainingBytes: 7}, false,
		},
		{"a pause", nil, &v1alpha1.SteeringStatus{PausedTime: now}, true},
		{"a pause, and progress", &v1alpha1.SteeringStatus{LowestRemainingBytes: 7}, &v1alpha1.SteeringStatus{PausedTime: now}, true},
	} {
		before, after := makeMigration("m").started().obj().Status.Source, makeMigration("m").started().obj().Status.Source
		before.Steering, after.Steering = c.before, c.after
		if got := SourceChanged(before, after); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
		if after.JobStartedTime = now; !SourceChanged(before, after) {
			t.Errorf("%s: the start of the job is no news", c.name)
		}
	}
}

// TestWhatASectionSays of the present attempt.
func TestWhatASectionSays(t *testing.T) {
	t.Parallel()
	if got := AttemptID(makeMigration("m").obj()); got != "" {
		t.Errorf("the attempt is %q while there is none", got)
	}
	if got := AttemptID(makeMigration("m").admitted().obj()); got != "attempt-1" {
		t.Errorf("the attempt is %q", got)
	}
	old := makeMigration("m").started().obj()
	old.Status.Attempt.ID = "attempt-2"
	if CurrentSource(old) != nil || CurrentTarget(old) != nil || Started(old) {
		t.Error("the sections of an earlier attempt are taken for those of the present one")
	}
	old.Status.Attempt = nil
	if CurrentSource(old) != nil || CurrentTarget(old) != nil {
		t.Error("sections are taken for those of the present attempt while there is none")
	}
}

// TestInterrupted: post-copy is, from when it breaks until it goes on, or ends.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	broken := func() builder {
		b := makeMigration("m").started().inPostCopy()
		b.lm.Status.Source.Recovery = &v1alpha1.RecoveryStatus{BrokenTime: metav1.NewMicroTime(epoch)}
		return b
	}
	resumed, ended := broken(), makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/PostcopyFailed").inPostCopy()
	resumed.lm.Status.Source.Recovery.ResumedTime = new(metav1.NewMicroTime(epoch))
	ended.lm.Status.Source.Recovery = broken().lm.Status.Source.Recovery
	for name, c := range map[string]struct {
		source *v1alpha1.SourceStatus
		want   bool
	}{
		"nothing is known": {nil, false}, "it goes well": {makeMigration("m").started().inPostCopy().lm.Status.Source, false},
		"it is broken": {broken().lm.Status.Source, true}, "it goes on": {resumed.lm.Status.Source, false}, "it is over": {ended.lm.Status.Source, false},
	} {
		if got := Interrupted(c.source); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestPausedByUs: a guest is resumed only where the migration has paused it.
func TestPausedByUs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*v1alpha1.SourceStatus)
		want   bool
	}{
		"the migration has paused it":   {func(*v1alpha1.SourceStatus) {}, true},
		"its user had paused it before": {func(s *v1alpha1.SourceStatus) { s.GuestPaused = true }, false},
		"libvirt refused the pause":     {func(s *v1alpha1.SourceStatus) { s.Steering.Pause.Refused = true }, false},
		"nobody was to pause it":        {func(s *v1alpha1.SourceStatus) { s.Steering.Pause = nil }, false},
		"nothing was done about it":     {func(s *v1alpha1.SourceStatus) { s.Steering = nil }, false},
	} {
		source := makeMigration("m").started().pausedByUs().lm.Status.Source
		c.change(source)
		if got := PausedByUs(source); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if PausedByUs(nil) {
		t.Error("nobody is known to have paused it")
	}
}

// TestWhoAnswers: a side has answered once it was read after what the other showed was known
// there.
func TestWhoAnswers(t *testing.T) {
	t.Parallel()
	ended := func(source, targetAnswers, target, sourceAnswers int64) builder {
		return asked(makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Absent", true), source, targetAnswers, target, sourceAnswers)
	}
	unread := ended(1, 1, 1, 1)
	unread.lm.Status.Target.ConfirmedTime = nil
	for _, c := range []struct {
		name                         string
		b                            builder
		targetAnswers, sourceAnswers bool
	}{
		{"nothing is known", makeMigration("m"), false, false},
		{"the source has not ended", makeMigration("m").started(), false, false},
		{"both know what the other shows", ended(2, 2, 3, 3), true, true},
		{"both know more", ended(2, 3, 3, 4), true, true},
		{"the target does not know", ended(2, 1, 3, 3), false, true},
		{"the source does not know", ended(2, 2, 3, 2), true, false},
		{"the target was not read after the end", unread, false, true},
	} {
		source, target := c.b.lm.Status.Source, c.b.lm.Status.Target
		if got := TargetAnswers(source, target); got != c.targetAnswers {
			t.Errorf("%s: the target answers: %t", c.name, got)
		}
		if got := SourceAnswers(source, target); got != c.sourceAnswers {
			t.Errorf("%s: the source answers: %t", c.name, got)
		}
		if source != nil && (TargetAnswers(source, nil) || SourceAnswers(source, nil)) || TargetAnswers(nil, target) || SourceAnswers(nil, target) {
			t.Errorf("%s: one side answers alone", c.name)
		}
	}
}

// TestTheTargetIsReadBeforeTheEnd: then it answers nothing.
func TestTheTargetIsReadBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, source := range []*v1alpha1.SourceStatus{nil, makeMigration("m").started().lm.Status.Source} {
		target := &v1alpha1.TargetStatus{}
		if news := SeeTarget(target, source, *observed("Absent")); !news || target.AnswersSource != 0 || target.Observation != 1 {
			t.Errorf("it was read: %t, %+v", news, target)
		}
	}
}

// TestNoteIncoming: when a half was first seen or heard of is kept, and so is the run that it
// is.
func TestNoteIncoming(t *testing.T) {
	t.Parallel()
	later := epoch.Add(time.Minute)
	for _, c := range []struct {
		name   string
		target string
		id     int64
		heard  bool
		before *v1alpha1.TargetStatus
		want   time.Time
		wantID int64
	}{
		{"nothing is there", "Absent", 0, false, nil, time.Time{}, 0},
		{"somebody's guest", "Running/Booted", 7, false, nil, time.Time{}, 0},
		{"it was heard of", "Absent", 0, true, nil, later, 0},
		{"it was heard of, and is somebody's guest by now", "Running/Booted", 7, true, nil, later, 0},
		{"it waits there", "Paused/Migration", 7, false, nil, later, 7},
		{"its run is not known", "Paused/Migration", 0, false, &v1alpha1.TargetStatus{IncomingID: 3}, later, 3},
		{"it has arrived", "Running/Migrated", 7, false, nil, later, 7},
		{"it runs in post-copy", "Running/Postcopy", 7, false, nil, later, 7},
		{"it was seen before", "Paused/Migration", 7, true, &v1alpha1.TargetStatus{IncomingTime: new(metav1.NewMicroTime(epoch))}, epoch, 7},
		{"it moved on", "Shutoff/Migrated", 7, false, nil, time.Time{}, 0},
		{"it is suspended", "Paused/User", 7, false, nil, time.Time{}, 0},
	} {
		target := c.before
		if target == nil {
			target = &v1alpha1.TargetStatus{}
		}
		target.Domain = observed(c.target)
		target.Domain.ID = c.id
		NoteIncoming(target, &v1alpha1.TargetStatus{}, c.heard, later)
		var got time.Time
		if target.IncomingTime != nil {
			got = target.IncomingTime.Time
		}
		if !got.Equal(c.want) || target.IncomingID != c.wantID {
			t.Errorf("%s: at %s, run %d; want %s, %d", c.name, got, target.IncomingID, c.want, c.wantID)
		}
	}
	if ShowsIncoming(nil) {
		t.Error("what was not read shows a half")
	}
}

// TestBrought: a guest that runs where a half was seen is what was brought, unless it is known
// to be another run.
func TestBrought(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		half           bool
		incomingID, id int64
		want           bool
	}{
		{"no half was seen", false, 0, 4, false},
		{"the runs are not known", true, 0, 0, true},
		{"that of the half is not known", true, 0, 4, true},
		{"that of the guest is not known", true, 3, 0, true},
		{"the same run", true, 3, 3, true},
		{"another run", true, 3, 4, false},
	} {
		target := &v1alpha1.TargetStatus{Domain: observed("Running/Unpaused"), IncomingID: c.incomingID}
		target.Domain.ID = c.id
		if c.half {
			target.IncomingTime = new(metav1.NewMicroTime(epoch))
		}
		if got := Brought(target); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// TestShowsWhole: libvirt alone says that all of a guest has arrived, and when its job has
// ended.
func TestShowsWhole(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]bool{
		"Running/Migrated": true, "Running/Migrated+MigrationIn": false, "Running/Postcopy": false, "Running/Unpaused": false,
		"Paused/Migrated": false, "Shutoff/Migrated": false, "Absent": false,
	} {
		if got := ShowsWhole(observed(domain)); got != want {
			t.Errorf("%s: %t", domain, got)
		}
	}
}

// TestHasLeft, and how: what is said of a switch-over.
func TestHasLeft(t *testing.T) {
	t.Parallel()
	const failed, ok = v1alpha1.CallFailed, v1alpha1.CallSucceeded
	for _, c := range []struct {
		name string
		b    builder
		left bool
		how  v1alpha1.SwitchoverReason
	}{
		{"libvirt says so", makeMigration("m").ended(ok, "", "Absent"), true, v1alpha1.SwitchoverConverged},
		{"the source shows it", makeMigration("m").ended(failed, "", "Shutoff/Migrated"), true, v1alpha1.SwitchoverConverged},
		{"it stayed", makeMigration("m").ended(failed, "", "Running/Booted").whole(), false, v1alpha1.SwitchoverConverged},
		{"all of it has arrived in post-copy", makeMigration("m").ended(failed, "", "Paused/PostcopyFailed").inPostCopy().whole(), true, v1alpha1.SwitchoverPostCopy},
		{"a half of it has", makeMigration("m").ended(failed, "", "Paused/PostcopyFailed").inPostCopy(), false, v1alpha1.SwitchoverPostCopy},
		{"it was paused for that", makeMigration("m").ended(ok, "", "Absent").pausedByUs(), true, v1alpha1.SwitchoverPaused},
	} {
		if got := HasLeft(c.b.lm.Status.Source, c.b.lm.Status.Target); got != c.left {
			t.Errorf("%s: it has left: %t", c.name, got)
		}
		before := &v1alpha1.ProgressStatus{Percent: 99}
		if got := NoteSwitchover(before, c.b.lm.Status.Source); got.Switchover != c.how || got.Percent != 99 || before.Switchover != "" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if NoteSwitchover(nil, c.b.lm.Status.Source) != nil {
			t.Errorf("%s: there is progress where there was none", c.name)
		}
	}
}

// TestNobodysJob: before anything was started, no job is ours, and none is taken for somebody
// else's.
func TestNobodysJob(t *testing.T) {
	t.Parallel()
	job := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut, Elapsed: time.Hour}
	for _, section := range []*v1alpha1.SourceStatus{nil, makeMigration("m").admitted().checked().lm.Status.Source} {
		if Foreign(section, epoch, job, epoch) || Ours(section, epoch, job, epoch) {
			t.Errorf("of %+v", section)
		}
	}
}
