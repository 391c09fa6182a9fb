package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// manyDisks adds a guest with as many disks as can be copied, in one directory, with paths of
// some length.
func (w *world) manyDisks(length int) {
	var xml strings.Builder
	xml.WriteString("<domain type='kvm'><name>web</name><uuid>" + guestUUID + "</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>")
	for i := range 64 {
		const dir = "/images/"
		path := fmt.Sprintf("%s%0*d", dir, length-len(dir), i)
		fmt.Fprintf(&xml, "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='sd%c%c' bus='scsi'/></disk>", path, 'a'+i/26, 'a'+i%26)
		w.fleet.Host("node-a").AddImage(path, hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 20, AllocatedBytes: 1 << 20})
	}
	xml.WriteString("</devices></domain>")
	w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: hypervisor.DomainXML(xml.String())})
}

// TestReportsThatAreTooLarge are told as such, and nothing is made or written that would have to
// be told of.
func TestReportsThatAreTooLarge(t *testing.T) {
	for _, c := range []struct {
		length int
		dry    bool
		node   string // That which refuses; empty if none does.
	}{
		{300, false, ""},
		{2000, false, ""},
		{2600, false, "node-b"},
		{2600, true, "node-b"},
		{4000, false, "node-a"},
		{4000, true, "node-a"},
	} {
		inWorld(t, func(w *world) {
			w.manyDisks(c.length)
			lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
				copies(v1alpha1.StorageCopyOptions{})(lm)
				lm.Spec.DryRun = new(c.dry)
			}))
			if c.node == "" {
				if lm.Status.Phase != v1alpha1.PhaseSucceeded {
					t.Errorf("with paths of %d, it ends in %s: %s", c.length, lm.Status.Phase, message(lm))
				}
				return
			}
			if codes := blockersOf(lm); len(codes) != 1 || codes[0] != v1alpha1.BlockerReportTooLarge || !strings.Contains(message(lm), "What "+c.node+" has to tell of the guest") {
				t.Errorf("with paths of %d, the blockers are %v: %s", c.length, codes, message(lm))
			}
			w.requireCalls(fake.MethodMigrate, 0)
			w.requireFiles("node-b", "")
			if got := w.files("node-a"); strings.Contains(got, "marker") {
				t.Errorf("left on node-a are %.300s", got)
			}
			if source, target := encodedBytes(lm.Status.Source), encodedBytes(lm.Status.Target); source > SourceRoom || target > TargetRoom {
				t.Errorf("with paths of %d, the sections take %d and %d bytes", c.length, source, target)
			}
		})
	}
}

// TestWhatIsAddedUntilTheStartIsTakenBack if it does not fit.
func TestWhatIsAddedUntilTheStartIsTakenBack(t *testing.T) {
	t.Parallel()
	before := &v1alpha1.SourceStatus{AttemptID: "1"}
	for size, fits := range map[int]bool{1000: true, StartRoom: false, StartRoom / 3: true, StartRoom * 3 / 5: false} {
		after := &v1alpha1.SourceStatus{AttemptID: "1", Storage: &v1alpha1.SourceStorage{Markers: []string{strings.Repeat("m", size)}}}
		s := &sourceSession{node: &Node{Name: "node-a"}, lm: &v1alpha1.LiveMigration{}, section: after}
		if err := s.keepRoom(before); (err == nil) != fits || (s.section == after) != fits {
			t.Errorf("of %d bytes: %v", size, err)
		}
	}
}
