package migration

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// What the agents have made for an attempt that ends before its start.

// clearUp waits for the agents to remove what they have made for an attempt that ends, for as
// long as cleaning up may take. It records first that the attempt is given up: the source
// does not start it any more, as it does so only if the object has not changed. The message
// says what is left in the end.
func (s *summarizer) clearUp(message string) (said string, wait bool) {
	a := s.out.Status.Attempt
	images, markers := ImagesLeft(s.lm, CurrentTarget(s.lm)), markersLeft(CurrentSource(s.lm))
	interfaces := InterfacesTaken(CurrentSource(s.lm))
	if a == nil || len(images)+len(markers)+len(interfaces) == 0 {
		return message + imagesMaybeLeft(s.lm, message), false
	}
	if a.AbandonedTime == nil {
		a.AbandonedTime = new(metav1.NewMicroTime(s.now))
	}
	if until := a.AbandonedTime.Add(ConfirmTimeout); s.now.Before(until) {
		s.progressing(v1alpha1.PhaseCancelling, v1alpha1.ReasonCleaningUp, message+"; what was done for it on the nodes is being undone")
		s.out.Recheck = until
		return message, true
	}
	if len(images) > 0 {
		message += imagesRemain(s.lm, images)
	}
	if len(markers) > 0 {
		message += fmt.Sprintf("; marker files are left on %s (%s): %s", s.lm.Status.SourceNode, strings.Join(markers, ", "),
			ask(s.lm.Status.SourceNode, "remove them"))
	}
	if len(interfaces) > 0 {
		message += interfacesMissing(s.lm.Status.SourceNode, interfaces)
	}
	return message + imagesMaybeLeft(s.lm, message), false
}

// imagesMaybeLeft says which files on the target may be images that were made for the migration,
// where the message has not said so: what takes all of its space looks like a disk that is full,
// and is not removed if its making had no answer.
func imagesMaybeLeft(lm *v1alpha1.LiveMigration, message string) string {
	target := CurrentTarget(lm)
	if target == nil || !Preallocates(lm) {
		return ""
	}
	var files []string
	for _, i := range target.Images {
		if i.State == v1alpha1.TargetImageNotOurs && !strings.Contains(message, i.Path) {
			files = append(files, i.Path)
		}
	}
	if len(files) == 0 {
		return ""
	}
	return fmt.Sprintf("; there are files on %s that may have been made for it, or be somebody else's (%s): %s",
		lm.Status.TargetNode, strings.Join(files, ", "), ask(lm.Status.TargetNode, "remove them if nobody needs them"))
}

// markersLeft are the markers on the source that were made, or may have been, and not removed.
func markersLeft(source *v1alpha1.SourceStatus) []string {
	if source == nil || source.Storage == nil {
		return nil
	}
	return source.Storage.Markers
}
