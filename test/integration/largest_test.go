//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/migration"
)

// name64 is the name of a disk as long as the API takes it.
func name64(i int) v1alpha1.DiskName { return v1alpha1.DiskName(fmt.Sprintf("vd%030d", i)) }

// mostMappings are as many mappings of storage as there may be, of the longest directories.
func mostMappings() []v1alpha1.StorageMapping {
	var out []v1alpha1.StorageMapping
	for i := range 64 {
		out = append(out, v1alpha1.StorageMapping{Kind: v1alpha1.StorageKindDirectory, From: "/" + long(i, 511), To: "/" + long(64+i, 511)})
	}
	return out
}

// texts are as many of the longest texts.
func texts(n, length int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = long(i, length)
	}
	return out
}

// fullGuest is all that a source may have to tell of a guest, with paths of some length, and
// fullTarget what a target says of it.
func fullGuest(path int) *v1alpha1.GuestFacts {
	g := &v1alpha1.GuestFacts{Name: long(0, 256), HostUUID: "00000000-0000-4000-8000-000000000000", StorageMappings: mostMappings()}
	for i := range 64 {
		file := "/" + long(i, path-1)
		g.Disks = append(g.Disks, v1alpha1.GuestDisk{
			Name: name64(i), Path: file, Format: "qcow2", Marker: long(i, 128), CapacityBytes: v1alpha1.MaxInteger, AllocatedBytes: v1alpha1.MaxInteger, Obstacle: long(i, 256),
			Backing: &v1alpha1.DiskBacking{Path: file, Format: "qcow2"},
		})
		g.MACAddresses = append(g.MACAddresses, v1alpha1.MACAddress(fmt.Sprintf("52:54:00:00:00:%02x", i)))
	}
	for i := range 128 {
		g.DiskFiles = append(g.DiskFiles, v1alpha1.DiskFile{Disk: name64(i), Role: v1alpha1.DiskFileDefinition, Path: "/" + long(i, path-1), Marker: long(i, 128), ChangeTime: microNow()})
		g.Secrets = append(g.Secrets, v1alpha1.SecretReference{Usage: &v1alpha1.SecretUsage{Type: "volume", Name: long(i, 256)}})
	}
	return g
}

func fullTarget(path int) *v1alpha1.TargetStatus {
	t := &v1alpha1.TargetStatus{AttemptID: "1", ReadyTime: microNow(), Host: &v1alpha1.TargetHost{LibvirtVersion: "9.0.0"}}
	for i := range 64 {
		t.Images = append(t.Images, v1alpha1.TargetImage{
			Name: name64(i), Path: "/" + long(i, path-1), State: v1alpha1.TargetImageRemoved, PlannedTime: microNow(), AvailableBytes: v1alpha1.MaxInteger, Marked: true,
		})
	}
	for i := range 128 {
		t.DiskFiles = append(t.DiskFiles, v1alpha1.TargetDiskFile{Path: "/" + long(i, path-1), State: v1alpha1.TargetDiskFilePresent, ChangeTime: microNow()})
	}
	return t
}

// fullStorage is what a source adds until the start.
func fullStorage(path int) *v1alpha1.SourceStorage {
	s := &v1alpha1.SourceStorage{}
	for i := range 64 {
		s.Images = append(s.Images, v1alpha1.SourceImage{Name: name64(i), Path: "/" + long(i, path-1)})
		s.Shared = append(s.Shared, v1alpha1.SharedDisk{Name: name64(64 + i), Doubt: long(i, 256)})
	}
	return s
}

// fitting returns what takes as much room as there is, by the longest paths for which it does.
func fitting[Section any](t *testing.T, room int, of func(path int) Section) Section {
	t.Helper()
	var section Section
	for path := 4096; path > 16; path -= 8 {
		section = of(path)
		text, err := json.Marshal(section)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) <= room {
			t.Logf("with paths of %d, %T takes %d bytes", path, section, len(text))
			return section
		}
	}
	t.Error("nothing fits")
	return section
}

// fullManager is as much as the manager says.
func fullManager(lm *v1alpha1.LiveMigration) {
	st := &lm.Status
	st.Attempt.StorageMappings = mostMappings()
	for _, kind := range []string{v1alpha1.ConditionSucceeded, v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		st.Conditions = append(st.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonConfirming, LastTransitionTime: metav1.Now(), Message: long(0, migration.MaxConditionMessage),
		})
	}
	for i, reason := range []v1alpha1.NoticeReason{
		v1alpha1.NoticeHostPartsKept, v1alpha1.NoticeKnownFaults, v1alpha1.NoticeCompletionForced, v1alpha1.NoticePausedForCompletion, v1alpha1.NoticeSwitchedOver, v1alpha1.NoticePostCopyStarted,
		v1alpha1.NoticePostCopyCompleted, v1alpha1.NoticeDowntimeExceeded, v1alpha1.NoticeGuestClockNotSet, v1alpha1.NoticeMediaEjected,
	} {
		st.Notices = append(st.Notices, v1alpha1.Notice{Reason: reason, Message: long(i, migration.MaxMessage), Time: metav1.NowMicro()})
	}
	for i := range 16 {
		st.Requests = append(st.Requests, v1alpha1.RequestStatus{
			Type: v1alpha1.RequestCancel, Token: long(i, 128), State: v1alpha1.RequestRefused, Message: long(i, migration.MaxMessage), RequestedTime: metav1.NowMicro(), SettledTime: microNow(),
		})
	}
}

// TestTheLargestLiveMigrationIsStored: as much as both agents and the manager may say of one guest,
// written by each with its own rights, and all that may come after the start. Without the
// agents' bounds, etcd would not take it.
func TestTheLargestLiveMigrationIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	lm := w.underWay(a.node, a.node)
	fullManager(lm)
	if err := cluster.client.Status().Update(t.Context(), lm, client.FieldOwner(v1alpha1.OwnerManager)); err != nil {
		t.Fatal(err)
	}
	source := &v1alpha1.SourceStatus{AttemptID: "1"}
	record := func(what string) {
		t.Helper()
		if err := a.recorder.RecordSource(t.Context(), lm, agent.SourceReport{Section: source}, false); err != nil {
			t.Fatalf("%s: %.500v", what, err)
		}
	}
	checked := fitting(t, agent.SourceRoom/2, func(path int) *v1alpha1.SourceStatus {
		return &v1alpha1.SourceStatus{AttemptID: "1", Storage: &v1alpha1.SourceStorage{Markers: texts(64, path)}}
	})
	source.Storage = checked.Storage
	record("the markers")
	source.Storage = nil
	source.Guest = fitting(t, agent.SourceRoom, fullGuest)
	record("the guest")
	if err := a.recorder.RecordTarget(t.Context(), lm, fitting(t, agent.TargetRoom, fullTarget)); err != nil {
		t.Fatalf("the target: %.500v", err)
	}
	guest, _ := json.Marshal(source.Guest)
	source.Storage = fitting(t, agent.StartRoom-len(guest)-1024, fullStorage)
	source.StartRequestedTime, source.Warnings, source.KnownFaults = microNow(), texts(16, 512), texts(16, 512)
	record("the start")
	addLater(source)
	record("what comes after the start")
	target := fitting(t, agent.TargetRoom, fullTarget)
	for i := range target.Images {
		target.Images[i].Error = long(i, migration.MaxMessage)
	}
	if err := a.recorder.RecordTarget(t.Context(), lm, target); err != nil {
		t.Fatalf("what cannot be removed from the target: %.500v", err)
	}
	stored := &v1alpha1.LiveMigration{}
	if err := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), stored); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(stored)
	owned := 0
	for _, entry := range stored.ManagedFields {
		owned += len(entry.FieldsV1.GetRawBytes())
	}
	t.Logf("the largest LiveMigration takes %d bytes, %d of which say who owns what, %v", len(text), owned, err)
	if len(text) > maxRequest-(128<<10) {
		t.Errorf("%d bytes leave no room for what its user wants", len(text))
	}
	source.Guest, source.Storage = fullGuest(4096), fullStorage(4096)
	if err := a.recorder.RecordSource(t.Context(), lm, agent.SourceReport{Section: source}, false); err == nil || !strings.Contains(err.Error(), "large") {
		t.Errorf("without bounds, it fails with %.500v", err)
	}
}

// addLater adds what a source may say after the start.
func addLater(source *v1alpha1.SourceStatus) {
	step := &v1alpha1.SteeringStep{Time: metav1.NowMicro(), Reason: "Reason", Message: long(0, migration.MaxMessage), Error: long(0, migration.MaxMessage)}
	source.Steering = &v1alpha1.SteeringStatus{PostCopy: step, Pause: step, Abort: step}
	for i := range 16 {
		source.Steering.Requests = append(source.Steering.Requests, v1alpha1.RequestReport{
			Type: v1alpha1.RequestCancel, Token: long(i, 128), State: v1alpha1.RequestRefused, Message: long(i, migration.MaxMessage), Time: metav1.NowMicro(),
		})
	}
	for i := range source.Storage.Images {
		source.Storage.Images[i].Error = long(i, migration.MaxMessage)
	}
	source.End = &v1alpha1.SourceEnd{
		Call: v1alpha1.CallFailed, ErrorKind: "Other", ErrorMessage: long(0, migration.MaxMessage), Time: metav1.NowMicro(), Observation: 1,
		Domain: v1alpha1.DomainObservation{State: "Running", Reason: "Booted"},
	}
}
