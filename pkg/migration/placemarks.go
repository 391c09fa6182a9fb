package migration

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// A mark beside the place of an image keeps other nodes away from it that see the same
// directory: one file can be made once. It is there from before the image is made until the
// guest has come, or the image is removed.

const (
	// markSuffix ends the name of a mark.
	markSuffix = ".virtferry-mark"
	// leastMark is the size of the smallest mark, and markBits how many bits of its size tell
	// whose it is.
	leastMark = 512
	markBits  = 24
)

// MarkPath is where the mark of an image is.
func MarkPath(image string) string { return image + markSuffix }

// MarkBytes is the size of the marks of an attempt. It is all that libvirt tells of a file that
// it has made. No bytes are in it.
func MarkBytes(attempt string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(attempt)) // It never fails.
	return leastMark + h.Sum64()>>(64-markBits)
}

// IsMarkOf reports whether a file in a mark's place is that of an attempt.
func IsMarkOf(attempt string, sight hypervisor.ImageSight) bool {
	return sight.Exists && sight.CapacityBytes == MarkBytes(attempt)
}

// IsReservation reports whether a file, found where an image was about to be made, is what is
// there in the moment before.
func IsReservation(image v1alpha1.TargetImage, sight hypervisor.ImageSight) bool {
	return sight.Exists && image.Marked && image.PlannedTime != nil && sight.Format == rawFormat && sight.CapacityBytes == hypervisor.ReservedBytes &&
		!sight.Changed.Before(image.PlannedTime.Add(-timestampTolerance))
}

// marksLeft are the marks on the target that may not have been removed.
func marksLeft(lm *v1alpha1.LiveMigration, target *v1alpha1.TargetStatus) []string {
	var left []string
	if target == nil || DryRun(lm) {
		return nil
	}
	for _, i := range target.Images {
		if i.Marked {
			left = append(left, MarkPath(i.Path))
		}
	}
	return left
}

// withoutMarks makes a success pend while the target has marks beside images that are the
// guest's now.
func withoutMarks(lm *v1alpha1.LiveMigration, out Outcome, now time.Time) Outcome {
	left := marksLeft(lm, CurrentTarget(lm))
	if len(left) == 0 {
		return out
	}
	pends := out.Verdict == VerdictPending
	out.RemoveMarks = true
	if recheck := cleanUpBy(lm, now); now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		return out
	}
	if !pends {
		out.Message += fmt.Sprintf("; files that kept others from its images are left on %s (%s): %s", lm.Status.TargetNode, strings.Join(left, ", "),
			ask(lm.Status.TargetNode, "remove them with `virsh vol-delete`"))
	}
	return out
}
