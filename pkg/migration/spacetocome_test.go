package migration

import (
	"math"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestSpaceToCome: what occupied the source's disks, of those alone that have images of the
// migration's, and together no more than is still to be copied.
func TestSpaceToCome(t *testing.T) {
	t.Parallel()
	threeDisks := func() *v1alpha1.LiveMigration {
		b := makeMigration("m").started().copying(v1alpha1.TargetImageMade)
		b.lm.Status.Source.Guest.Disks = []v1alpha1.GuestDisk{{Name: "vda", AllocatedBytes: 1000}, {Name: "vdb", AllocatedBytes: 500}, {Name: "vdc", AllocatedBytes: 7}}
		b.lm.Status.Target.Images = []v1alpha1.TargetImage{
			{Name: "vda", Path: "/x/a", State: v1alpha1.TargetImageMade}, {Name: "vdb", Path: "/x/b", State: v1alpha1.TargetImagePlanned},
			{Name: "vdc", Path: "/y/c", State: v1alpha1.TargetImageShared},
		}
		return b.lm
	}
	copied := func(total, remaining int64) *v1alpha1.ProgressStatus {
		return &v1alpha1.ProgressStatus{Disk: &v1alpha1.TransferStatus{TotalBytes: total, RemainingBytes: remaining}}
	}
	both := func(remaining int64) SpaceClaim {
		return SpaceClaim{Images: map[string]int64{"/x/a": 1000, "/x/b": 500}, RemainingBytes: remaining}
	}
	all := both(mostBytes)
	for name, c := range map[string]struct {
		change func(*v1alpha1.LiveMigration)
		want   SpaceClaim
	}{
		"nothing is copied yet":     {func(*v1alpha1.LiveMigration) {}, all},
		"a part is":                 {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = copied(100, 25) }, both(25)},
		"all is":                    {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = copied(100, 0) }, both(0)},
		"of how much is not known":  {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = copied(0, 5) }, all},
		"of disks nothing is known": {func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = &v1alpha1.ProgressStatus{} }, all},
		"it has not started": {func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.StartRequestedTime, lm.Status.Progress = nil, copied(100, 25)
		}, all},
		"it is beyond all": {func(lm *v1alpha1.LiveMigration) { lm.Status.Source.Guest.Disks[0].AllocatedBytes = math.MaxInt64 }, SpaceClaim{
			Images: map[string]int64{"/x/a": mostBytes, "/x/b": 500}, RemainingBytes: mostBytes,
		}},
		"a disk is told of no more": {func(lm *v1alpha1.LiveMigration) {
			lm.Status.Source.Guest.Disks = lm.Status.Source.Guest.Disks[1:]
		}, SpaceClaim{Images: map[string]int64{"/x/b": 500}, RemainingBytes: mostBytes}},
		"the copy has ended": {func(lm *v1alpha1.LiveMigration) { lm.Status.Source.End = &v1alpha1.SourceEnd{} }, SpaceClaim{}},
		"the migration has ended": {func(lm *v1alpha1.LiveMigration) {
			*lm = *builder{lm}.finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded).lm
		}, SpaceClaim{}},
		"the source tells nothing":  {func(lm *v1alpha1.LiveMigration) { lm.Status.Source = nil }, SpaceClaim{}},
		"nor of the guest":          {func(lm *v1alpha1.LiveMigration) { lm.Status.Source.Guest = nil }, SpaceClaim{}},
		"no image is of its making": {func(lm *v1alpha1.LiveMigration) { lm.Status.Target.Images = lm.Status.Target.Images[2:] }, SpaceClaim{}},
	} {
		lm := threeDisks()
		c.change(lm)
		if got := SpaceToCome(lm, lm.Status.Target); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestWasReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format, seen string
		capacity     uint64
		want         bool
	}{
		{"qcow2", "qcow2", 100, false},
		{"qcow2", "qcow2", 101, true},
		{"qcow2", "raw", 100, true},
		{"raw", "raw", 100, false},
		{"raw", "raw", 99, true},
		{"raw", "qcow2", 5, false},
	} {
		d := v1alpha1.GuestDisk{Format: c.format, CapacityBytes: 100}
		if got := WasReplaced(d, hypervisor.ImageSight{Format: c.seen, CapacityBytes: c.capacity}); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

// TestMakesImages: as long as the target is not ready, and some were planned.
func TestMakesImages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state        v1alpha1.TargetImageState
		ready, makes bool
	}{
		{v1alpha1.TargetImagePlanned, false, true},
		{v1alpha1.TargetImageMade, false, true},
		{v1alpha1.TargetImageShared, false, false},
		{v1alpha1.TargetImagePlanned, true, false},
	} {
		lm := makeMigration("m").admitted().checked().ready().copying(c.state).obj()
		if !c.ready {
			lm.Status.Target.ReadyTime = nil
		}
		if got := MakesImages(lm, lm.Status.Target); got != c.makes {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

// TestMarkersServeUntilTheTargetHasLooked, or will not any more.
func TestMarkersServeUntilTheTargetHasLooked(t *testing.T) {
	t.Parallel()
	marked := func() builder {
		b := makeMigration("m").admitted().checked()
		b.lm.Status.Source.Storage = &v1alpha1.SourceStorage{Markers: []string{"/a/m"}}
		return b
	}
	abandoned, started, none := marked(), marked().ready(), marked().ready()
	abandoned.lm.Status.Attempt.AbandonedTime = new(metav1.NewMicroTime(epoch))
	none.lm.Status.Source.Storage.Markers = nil
	started.lm.Status.Source.StartRequestedTime = new(metav1.NewMicroTime(epoch))
	for name, c := range map[string]struct {
		lm  builder
		due bool
	}{
		"it has not looked":     {marked(), false},
		"it has":                {marked().ready(), true},
		"it is to be cancelled": {marked().deleted(), true},
		"it was given up":       {abandoned, true},
		"it has started":        {started, false},
		"there are none":        {none, false},
	} {
		if got := markersDue(c.lm.obj(), c.lm.obj().Status.Source); got != c.due {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestTheMostDisks that can be copied are as many as the API takes, with paths as long.
func TestTheMostDisks(t *testing.T) {
	t.Parallel()
	longest := "/" + strings.Repeat("p", maxPath-1)
	facts := make([]DiskFacts, maxDisks+1)
	for i := range facts {
		facts[i] = DiskFacts{Name: "vd" + strings.Repeat("a", i+1), Type: oneFile, SourcePath: "/a", Path: longest, Writable: true}
	}
	o := &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}
	chosen, blockers := ChooseDisks(o, facts[:maxDisks], NewMarkers("m"))
	if len(chosen) != maxDisks || len(blockers) != 0 || chosen[0].Obstacle != "" || chosen[0].Path != longest {
		t.Errorf("of the most, %d are chosen, %v", len(chosen), blockers)
	}
	if chosen, blockers := ChooseDisks(o, facts, NewMarkers("m")); len(chosen) != 0 || len(blockers) != 1 {
		t.Errorf("of one more, %d are chosen, %v", len(chosen), blockers)
	}
	facts[0].Path += "p"
	if chosen, _ := ChooseDisks(o, facts[:1], NewMarkers("m")); len(chosen) != 1 || chosen[0].Obstacle == "" || len(chosen[0].Path) != maxPath {
		t.Errorf("of a longer path, %+v", chosen)
	}
}

// TestWhyADiskIsNotCopied tells a medium that is not there from one that is in no file.
func TestWhyADiskIsNotCopied(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]DiskFacts{
		"":                        {Type: oneFile, Writable: true, SourcePath: "/a", Path: "/b"},
		"only reads it":           {Type: oneFile, SourcePath: "/a", Path: "/b"},
		"not in a file":           {Type: "block", Writable: true, SourcePath: "/a", Path: "/b"},
		"in a file on both hosts": {Type: oneFile, Writable: true, SourcePath: "/a"},
		"no medium":               {Type: oneFile, Writable: true},
	} {
		if got := notAFileToWrite(d); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("of %+v: %q, want %q", d, got, want)
		}
	}
}

// TestWhatSaysThatItGoesOn of a migration that has ended.
func TestWhatSaysThatItGoesOn(t *testing.T) {
	t.Parallel()
	condition := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status}
	}
	yes, no := condition(v1alpha1.ConditionSucceeded, metav1.ConditionTrue), condition(v1alpha1.ConditionSucceeded, metav1.ConditionFalse)
	stalled := condition(v1alpha1.ConditionStalled, metav1.ConditionTrue)
	for name, c := range map[string]struct {
		status v1alpha1.LiveMigrationStatus
		goes   bool
	}{
		"nothing, of a success":   {v1alpha1.LiveMigrationStatus{Conditions: []metav1.Condition{yes}}, false},
		"that it reconciles":      {v1alpha1.LiveMigrationStatus{Conditions: []metav1.Condition{yes, condition(v1alpha1.ConditionReconciling, metav1.ConditionTrue)}}, true},
		"a success that stalls":   {v1alpha1.LiveMigrationStatus{Conditions: []metav1.Condition{yes, stalled}}, true},
		"a failure that stalls":   {v1alpha1.LiveMigrationStatus{Conditions: []metav1.Condition{no, stalled}}, false},
		"a queue that it has had": {v1alpha1.LiveMigrationStatus{Conditions: []metav1.Condition{yes}, Queue: &v1alpha1.QueueStatus{}}, false},
		"what it waits for":       {v1alpha1.LiveMigrationStatus{Conditions: []metav1.Condition{yes}, Queue: &v1alpha1.QueueStatus{WaitingFor: "x"}}, true},
		"its place in the queue":  {v1alpha1.LiveMigrationStatus{Conditions: []metav1.Condition{yes}, Queue: &v1alpha1.QueueStatus{Position: 1}}, true},
	} {
		if got := saysItGoesOn(&c.status); got != c.goes {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestWhoIsRefusedLooksOn at the other side, as a dry run does, until both have said theirs.
func TestWhoIsRefusedLooksOn(t *testing.T) {
	t.Parallel()
	problem := &v1alpha1.Problem{Reason: v1alpha1.ReasonTargetCheckFailed}
	guest := &v1alpha1.SourceStatus{Guest: &v1alpha1.GuestFacts{}}
	refused := &v1alpha1.SourceStatus{Guest: guest.Guest, Problem: problem}
	for name, c := range map[string]struct {
		dry    bool
		source *v1alpha1.SourceStatus
		target *v1alpha1.TargetStatus
		want   bool
	}{
		"the target says nothing": {true, guest, nil, true},
		"it is ready":             {true, guest, &v1alpha1.TargetStatus{}, true},
		"it has a problem, too":   {true, guest, &v1alpha1.TargetStatus{Problem: problem}, false},
		"and tells of its host":   {true, guest, &v1alpha1.TargetStatus{Problem: problem, Endpoint: &v1alpha1.TargetEndpoint{}}, true},
		"the source says nothing": {true, nil, nil, false},
		"no dry run":              {false, guest, nil, false},
		"it is refused there":     {false, refused, nil, true},
		"it is refused here":      {false, guest, &v1alpha1.TargetStatus{Problem: problem, Endpoint: &v1alpha1.TargetEndpoint{}}, true},
		"and nothing is told":     {false, guest, &v1alpha1.TargetStatus{Problem: problem}, false},
		"all of that is known":    {false, &v1alpha1.SourceStatus{Guest: guest.Guest, Problem: problem, CheckedTime: new(metav1.NewMicroTime(epoch))}, nil, false},
		"nothing is known of it":  {true, &v1alpha1.SourceStatus{}, nil, false},
		"the source has checked":  {true, &v1alpha1.SourceStatus{Guest: guest.Guest, CheckedTime: new(metav1.NewMicroTime(epoch))}, nil, false},
	} {
		lm := &v1alpha1.LiveMigration{Spec: v1alpha1.LiveMigrationSpec{DryRun: new(c.dry)}}
		if got := looksOn(lm, c.source, c.target); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	source := &v1alpha1.SourceStatus{Problem: &v1alpha1.Problem{Reason: "A", Message: "One"}}
	if p := both(source, nil); p.Message != "One" {
		t.Errorf("of one, %+v", p)
	}
	if p := both(source, &v1alpha1.TargetStatus{Problem: &v1alpha1.Problem{Reason: "B", Message: "Two"}}); p.Reason != "A" || p.Message != "One. Two" {
		t.Errorf("of two, %+v", p)
	}
}
