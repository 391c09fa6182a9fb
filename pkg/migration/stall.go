package migration

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// StallTimeout is how long libvirt may take to answer about a guest that is being migrated,
// and to end a migration that it was asked to abort, before an administrator is asked to
// look. It is more than the 30 seconds for which libvirt has a question wait for another,
// and than the 25 after which two libvirts give up their connection.
const StallTimeout = 60 * time.Second

// Stall returns why the agent cannot bring the migration to its end; nil where it can, as
// far as is known. A hypervisor that does not answer ends no stall.
func Stall(f SourceFacts, now time.Time) *v1alpha1.StallStatus {
	section := f.Section
	if section == nil || section.StartRequestedTime == nil || section.End != nil {
		return nil
	}
	switch {
	case !f.Seen && !f.UnseenSince.IsZero() && now.Sub(f.UnseenSince) >= StallTimeout:
		return &v1alpha1.StallStatus{Time: metav1.NewMicroTime(f.UnseenSince), Reason: v1alpha1.StallNoAnswer}
	case !f.Seen:
		return section.Stall
	case underWay(f) && !InPostCopy(section) && abortAsked(section) && now.Sub(section.Steering.Abort.Time.Time) >= StallTimeout:
		return &v1alpha1.StallStatus{Time: section.Steering.Abort.Time, Reason: v1alpha1.StallAbortIneffective}
	default:
		return nil
	}
}

// abortAsked reports whether libvirt was asked to abort the migration.
func abortAsked(section *v1alpha1.SourceStatus) bool {
	return section.Steering != nil && section.Steering.Abort != nil
}

// stalled says what an administrator can do about a migration that cannot be brought to
// its end.
func stalled(lm *v1alpha1.LiveMigration, stall *v1alpha1.StallStatus) string {
	st := &lm.Status
	since := stall.Time.UTC().Format(time.DateTime)
	look := fmt.Sprintf("run `virsh domstate --reason %s` on both hosts", st.DomainUUID)
	if stall.Reason == v1alpha1.StallNoAnswer {
		return fmt.Sprintf("The migration cannot be brought to its end: libvirt on %s has not answered about the guest since %s UTC. The guest's emulator may hang there, for example because its "+
			"storage does. Ask an administrator to look at the emulator's log and at the storage of %[1]s, and to %[3]s before anything is changed "+
			"there. The migration goes on, or ends, once libvirt answers", st.SourceNode, since, look)
	}
	return fmt.Sprintf("The migration cannot be brought to its end: libvirt on %s was asked at %s UTC to abort the migration, and has not ended it. The guest is still there. The emulator on %s may "+
		"hang, or what is between the hosts. Ask an administrator to %s; if the guest is paused on %[3]s, where it has not run, `virsh destroy` there "+
		"lets the migration end", st.SourceNode, since, st.TargetNode, look)
}
