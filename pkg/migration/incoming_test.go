package migration

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhenWhatWasBroughtIsOver: since that was first seen, and only of something that was
// brought, or that turns out to have been there before.
func TestWhenWhatWasBroughtIsOver(t *testing.T) {
	t.Parallel()
	earlier, later := new(metav1.NewMicroTime(epoch)), epoch.Add(time.Minute)
	for name, c := range map[string]struct {
		target        string
		id            int64
		known, before *v1alpha1.TargetStatus
		want          time.Time
	}{
		"nothing has come":                {"Absent", 0, &v1alpha1.TargetStatus{}, &v1alpha1.TargetStatus{}, time.Time{}},
		"somebody's guest is there":       {"Running/Booted", 7, &v1alpha1.TargetStatus{}, &v1alpha1.TargetStatus{}, time.Time{}},
		"it has gone":                     {"Absent", 0, &v1alpha1.TargetStatus{IncomingTime: earlier}, &v1alpha1.TargetStatus{}, later},
		"it went earlier":                 {"Absent", 0, &v1alpha1.TargetStatus{IncomingTime: earlier, IncomingEndedTime: earlier}, &v1alpha1.TargetStatus{}, epoch},
		"it is there":                     {"Paused/Migration", 7, &v1alpha1.TargetStatus{IncomingTime: earlier}, &v1alpha1.TargetStatus{}, time.Time{}},
		"it is there again":               {"Paused/Migration", 7, &v1alpha1.TargetStatus{IncomingTime: earlier, IncomingEndedTime: earlier}, &v1alpha1.TargetStatus{}, time.Time{}},
		"it stands paused":                {"Paused/User", 7, &v1alpha1.TargetStatus{IncomingTime: earlier, IncomingID: 7}, &v1alpha1.TargetStatus{}, time.Time{}},
		"another run stands paused":       {"Paused/User", 8, &v1alpha1.TargetStatus{IncomingTime: earlier, IncomingID: 7}, &v1alpha1.TargetStatus{}, later},
		"it is what was there before":     {"Paused/Migration", 7, &v1alpha1.TargetStatus{}, seenRun("Running/Booted", 7), later},
		"what was there, seen once more":  {"Paused/Migration", 7, &v1alpha1.TargetStatus{IncomingEndedTime: earlier}, seenRun("Running/Booted", 7), epoch},
		"another run than was there":      {"Paused/Migration", 8, &v1alpha1.TargetStatus{}, seenRun("Running/Booted", 7), time.Time{}},
		"it starts up, but not with that": {"Paused/StartingUp", 7, &v1alpha1.TargetStatus{IncomingTime: earlier}, &v1alpha1.TargetStatus{}, time.Time{}},
	} {
		c.known.Domain = observed(c.target)
		c.known.Domain.ID = c.id
		NoteIncoming(c.known, c.before, false, later)
		var got time.Time
		if at := c.known.IncomingEndedTime; at != nil {
			got = at.Time
		}
		if !got.Equal(c.want) {
			t.Errorf("%s: it is over since %s, want %s", name, got, c.want)
		}
	}
}

// seenRun is what was seen of a run.
func seenRun(target string, id int64) *v1alpha1.TargetStatus {
	out := &v1alpha1.TargetStatus{Domain: observed(target)}
	out.Domain.ID = id
	return out
}

// TestWhatIsStartingUpIsBroughtOnlyByAMigration: libvirt says the same of what is booted.
func TestWhatIsStartingUpIsBroughtOnlyByAMigration(t *testing.T) {
	t.Parallel()
	for job, want := range map[string]bool{"": false, "Start": false, "Backup": false, "MigrationIn": true} {
		d := observed("Paused/StartingUp")
		d.Job = job
		if got := ShowsIncoming(d); got != want {
			t.Errorf("with the job %q: %t", job, got)
		}
	}
}

// TestWhatIsLeftOnBothNodesIsTold, and waited for.
func TestWhatIsLeftOnBothNodesIsTold(t *testing.T) {
	t.Parallel()
	const images, markers = "images that were made for it are left", "marker files"
	for _, c := range []struct {
		state          v1alpha1.TargetImageState
		markers        []string
		images, marked bool
	}{
		{v1alpha1.TargetImageMade, []string{"/a/m"}, true, true},
		{v1alpha1.TargetImageMade, nil, true, false},
		{v1alpha1.TargetImageShared, []string{"/a/m"}, false, true},
		{v1alpha1.TargetImageShared, nil, false, false},
	} {
		b := makeMigration("m").admitted().checked().ready().copying(c.state)
		b.lm.Status.Source.Storage.Images, b.lm.Status.Source.Storage.Markers = nil, c.markers
		s := &summarizer{ManagerFacts: ManagerFacts{Object: b.deleted().obj()}}
		s.lm, s.now = s.Object, epoch
		s.out.Status = *s.lm.Status.DeepCopy()
		if _, wait := s.clearUp("it was cancelled"); wait != (c.images || c.marked) {
			t.Errorf("%s, %v: it waits: %t", c.state, c.markers, wait)
		}
		s.now = epoch.Add(2 * ConfirmTimeout)
		said, wait := s.clearUp("it was cancelled")
		if wait || strings.Contains(said, images) != c.images || strings.Contains(said, markers) != c.marked {
			t.Errorf("%s, %v: it says %q, and waits: %t", c.state, c.markers, said, wait)
		}
	}
}

// TestImagesOnATargetThatIsSilentAreTold, if any may be there.
func TestImagesOnATargetThatIsSilentAreTold(t *testing.T) {
	t.Parallel()
	for state, told := range map[v1alpha1.TargetImageState]bool{v1alpha1.TargetImageMade: true, v1alpha1.TargetImageShared: false} {
		lm := makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").copying(state).obj()
		out := stayedUnconfirmed(lm, lm.Status.Source, epoch.Add(time.Hour))
		if out.Verdict != VerdictFailed || strings.Contains(out.Message, "images that were made") != told {
			t.Errorf("%s: %s: %s", state, out.Verdict, out.Message)
		}
	}
}

// TestAResumptionThatIsWithheld is one of a post-copy that is interrupted, for a reason.
func TestAResumptionThatIsWithheld(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source *v1alpha1.SourceStatus
		want   bool
	}{
		{nil, false},
		{&v1alpha1.SourceStatus{}, false},
		{&v1alpha1.SourceStatus{Recovery: &v1alpha1.RecoveryStatus{}}, false},
		{&v1alpha1.SourceStatus{Recovery: &v1alpha1.RecoveryStatus{WithheldReason: "it crashes"}}, true},
		{&v1alpha1.SourceStatus{Recovery: &v1alpha1.RecoveryStatus{WithheldReason: "it crashes", ResumedTime: new(metav1.NewMicroTime(epoch))}}, false},
	} {
		if got := ResumeWithheld(c.source); got != c.want {
			t.Errorf("%+v: %t", c.source, got)
		}
	}
}

// TestACopyThatLeavesHasNotRunOnBoth: while it leaves the source again, what is there
// is no copy that has stayed.
func TestACopyThatLeavesHasNotRunOnBoth(t *testing.T) {
	t.Parallel()
	target := &v1alpha1.TargetStatus{IncomingTime: new(metav1.NewMicroTime(epoch)), ArrivedTime: new(metav1.NewMicroTime(epoch)), Domain: observed("Absent")}
	for job, want := range map[string]bool{"": true, "MigrationOut": false} {
		source := &v1alpha1.SourceStatus{End: &v1alpha1.SourceEnd{Domain: *observed("Running/MigrationCanceled")}}
		source.End.Domain.Job = job
		if got := ranOnBoth(source, target); got != want {
			t.Errorf("with the job %q: %t", job, got)
		}
	}
}

// TestWhatAnotherMigrationHasLeft on the source: a half, of a guest that ours was not moving in
// post-copy, and that has not come to the target in any way.
func TestWhatAnotherMigrationHasLeft(t *testing.T) {
	t.Parallel()
	now := new(metav1.NewMicroTime(epoch))
	failed := &v1alpha1.SourceStatus{End: &v1alpha1.SourceEnd{Call: v1alpha1.CallFailed}}
	unknown := &v1alpha1.SourceStatus{End: &v1alpha1.SourceEnd{Call: v1alpha1.CallUnknown}}
	seen := &v1alpha1.SourceStatus{JobStartedTime: now, End: failed.End}
	ours := &v1alpha1.SourceStatus{Steering: &v1alpha1.SteeringStatus{PostCopyTime: now}, End: failed.End}
	shows := func(domain string) *v1alpha1.TargetStatus { return &v1alpha1.TargetStatus{Domain: observed(domain)} }
	arrived := &v1alpha1.TargetStatus{IncomingTime: now, ArrivedTime: now, Domain: observed("Absent")}
	came := &v1alpha1.TargetStatus{IncomingTime: now, Domain: observed("Absent")}
	for name, c := range map[string]struct {
		source *v1alpha1.SourceStatus
		target *v1alpha1.TargetStatus
		side   Side
		want   bool
	}{
		"a half of ours":                        {ours, shows("Absent"), SidePostcopy, false},
		"a half, and the target is silent":      {failed, nil, SidePostcopy, true},
		"a half, and the target has nothing":    {failed, shows("Absent"), SidePostcopy, true},
		"a half, and the target has the other":  {failed, shows("Running/Postcopy"), SidePostcopy, false},
		"a half, and the guest has arrived":     {failed, arrived, SidePostcopy, false},
		"a shell, and libvirt has refused ours": {failed, shows("Absent"), SideIncoming, true},
		"a shell, and the target is silent":     {failed, nil, SideIncoming, true},
		"a shell, and ours was seen":            {seen, shows("Absent"), SideIncoming, false},
		"a shell, and nobody knows":             {unknown, shows("Absent"), SideIncoming, false},
		"a shell, and something has come":       {failed, came, SideIncoming, false},
		"a shell, and something is coming":      {failed, shows("Paused/Migration"), SideIncoming, false},
		"a guest":                               {failed, shows("Absent"), SideLive, false},
	} {
		if got := leftByAnother(c.source, c.target, c.side); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestAGuestThatNeverStoodStill runs on the source, and libvirt has not had to let it go on.
func TestAGuestThatNeverStoodStill(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]bool{
		"Running/Booted": true, "Running/Migrated": true, "Running/MigrationCanceled": false, "Running/Unpaused": false, "Paused/Migration": false, "Absent": false,
	} {
		if got := neverStoodStill(&v1alpha1.SourceStatus{End: &v1alpha1.SourceEnd{Domain: *observed(domain)}}); got != want {
			t.Errorf("%s: %t", domain, got)
		}
	}
	if neverStoodStill(nil) || neverStoodStill(&v1alpha1.SourceStatus{}) {
		t.Error("so does one of which the end is not known")
	}
}
