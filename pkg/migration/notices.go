package migration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// DefaultMaxDowntimeMilliseconds is what an absent options.maxDowntimeMilliseconds means.
const DefaultMaxDowntimeMilliseconds int64 = 500

// AllowedDowntimeMilliseconds is how long a guest may stand still for its switch-over.
func AllowedDowntimeMilliseconds(lm *v1alpha1.LiveMigration) int64 {
	if o := lm.Spec.Options; o != nil && o.MaxDowntimeMilliseconds != nil {
		return *o.MaxDowntimeMilliseconds
	}
	return DefaultMaxDowntimeMilliseconds
}

// Bounds of source.warnings; the API has the same.
const (
	maxWarnings      = 16
	maxWarningLength = 512
)

// Warnings returns what source.warnings is to say: each warning once, and no more than
// the API takes.
func Warnings(all []string) []string {
	var out []string
	for _, w := range all {
		if w = Shorten(w, maxWarningLength); w != "" && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	if more := len(out) - (maxWarnings - 1); more > 1 {
		out = append(out[:maxWarnings-1], fmt.Sprintf("%d more; the log of the agent on the source lists all of them", more))
	}
	return out
}

// note adds what has come to be worth knowing to the notices, each once.
func (s *summarizer) note() {
	source := CurrentSource(s.lm)
	switch {
	case Finished(s.Object):
	case DryRun(s.lm) && source != nil:
		s.notice(v1alpha1.NoticeGuestNotFrozen, s.guestNotFrozen(source))
		s.notice(v1alpha1.NoticeHostPartsKept, s.partsKept(source))
		s.notice(v1alpha1.NoticeMediaEjected, s.mediaEjected(source))
		s.notice(v1alpha1.NoticeKnownFaults, strings.Join(source.KnownFaults, ". "))
	case Started(s.lm):
		s.notice(v1alpha1.NoticeHostPartsKept, s.partsKept(source))
		s.notice(v1alpha1.NoticeMediaEjected, s.mediaEjected(source))
		s.notice(v1alpha1.NoticeKnownFaults, strings.Join(source.KnownFaults, ". "))
		s.notice(v1alpha1.NoticeCompletionForced, s.completionForced(source))
		s.notice(v1alpha1.NoticePausedForCompletion, s.pausedForCompletion(source))
		s.notice(v1alpha1.NoticePostCopyStarted, s.postCopyStarted(source))
		s.notice(v1alpha1.NoticeSwitchedOver, s.switchedOver(source))
		s.notice(v1alpha1.NoticePostCopyCompleted, s.postCopyCompleted(source))
		s.notice(v1alpha1.NoticeGuestFrozen, s.guestFrozen(source))
		s.notice(v1alpha1.NoticeGuestNotFrozen, s.guestNotFrozen(source))
		s.notice(v1alpha1.NoticeGuestNotThawed, s.guestNotThawed())
		s.notice(v1alpha1.NoticeGuestClockNotSet, s.clockNotSet())
	}
	s.notice(v1alpha1.NoticeDowntimeExceeded, s.downtimeExceeded(source))
}

// notice adds a notice, unless it is there already or has nothing to say.
func (s *summarizer) notice(reason v1alpha1.NoticeReason, message string) {
	st := &s.out.Status
	if message == "" || hasNotice(st, reason) {
		return
	}
	st.Notices = append(st.Notices, v1alpha1.Notice{
		Reason: reason, Message: Shorten(message, MaxMessage), Time: metav1.NewMicroTime(s.now),
	})
}

func hasNotice(st *v1alpha1.LiveMigrationStatus, reason v1alpha1.NoticeReason) bool {
	return slices.ContainsFunc(st.Notices, func(n v1alpha1.Notice) bool { return n.Reason == reason })
}

func (s *summarizer) partsKept(source *v1alpha1.SourceStatus) string {
	if len(source.Warnings) == 0 {
		return ""
	}
	if DryRun(s.lm) {
		return fmt.Sprintf("Parts of the guest's definition that depend on its host would be kept as they are. Check that they are right for %s; if "+
			"not, map them in spec.migrateData: %s", s.lm.Status.TargetNode, strings.Join(source.Warnings, "; "))
	}
	return fmt.Sprintf("Parts of the guest's definition that depend on its host were kept as they are. Check that they are right for %s; if "+
		"not, map them in spec.migrateData next time: %s", s.lm.Status.TargetNode, strings.Join(source.Warnings, "; "))
}

// mediaEjected says which media the guest leaves behind.
func (s *summarizer) mediaEjected(source *v1alpha1.SourceStatus) string {
	if source.Storage == nil || len(source.Storage.Ejected) == 0 {
		return ""
	}
	var media []string
	for _, m := range source.Storage.Ejected {
		media = append(media, fmt.Sprintf("%s (%s)", m.Path, m.Name))
	}
	return fmt.Sprintf("%s does not have these media of the guest, whose drives are empty there, as options.ejectMissingMedia asks for: %s",
		s.lm.Status.TargetNode, strings.Join(media, ", "))
}

// completionForced says who or what has the migration completed by force, and how.
func (s *summarizer) completionForced(source *v1alpha1.SourceStatus) string {
	if source.Steering == nil {
		return ""
	}
	step, how, option := source.Steering.PostCopy, "switching to post-copy", "allowPostCopy"
	if step == nil {
		step, how, option = source.Steering.Pause, "pausing the guest until it has been copied", "allowPause"
	}
	if step == nil {
		return ""
	}
	var asked string
	switch step.Reason {
	case v1alpha1.StepReasonRequested:
		asked = "requested by the annotation force-complete" + tokens(s.out.Status.Requests)
	case v1alpha1.ReasonCompletionTimeout, v1alpha1.ReasonProgressTimeout:
		asked = "required by options.onTimeout: ForceComplete"
	default:
		asked = "decided by the strategy Adaptive, which options." + option + " allows"
	}
	return fmt.Sprintf("Completing the migration by force, by %s. This was %s: %s", how, asked, step.Message)
}

// tokens names the requests to complete that stand.
func tokens(requests []v1alpha1.RequestStatus) string {
	var out []string
	for _, r := range requests {
		if r.Type == v1alpha1.RequestForceComplete && r.State != v1alpha1.RequestRefused {
			out = append(out, strconv.Quote(r.Token))
		}
	}
	if len(out) == 0 {
		return ""
	}
	const most = 3
	if more := len(out) - most; more > 0 {
		out = append(out[:most], fmt.Sprintf("%d more", more))
	}
	return " with the value " + strings.Join(out, ", ")
}

func (s *summarizer) pausedForCompletion(source *v1alpha1.SourceStatus) string {
	if source.Steering == nil || source.Steering.PausedTime == nil {
		return ""
	}
	return fmt.Sprintf("The guest is paused on %s until the rest of it has been copied to %s; it will be resumed wherever it ends up",
		s.lm.Status.SourceNode, s.lm.Status.TargetNode)
}

func (s *summarizer) postCopyStarted(source *v1alpha1.SourceStatus) string {
	if !InPostCopy(source) {
		return ""
	}
	return fmt.Sprintf("The guest runs on %s in post-copy; the rest of its memory is being copied from %s. Both hosts and the network "+
		"between them must stay up until that is done, and the migration can no longer be cancelled", s.lm.Status.TargetNode, s.lm.Status.SourceNode)
}

// mostMACAddresses is how many the notice of the switch-over names, so that it fits into an
// event.
const mostMACAddresses = 32

// switchedOver tells those who look after the network where the guest is to be found from now
// on. The target reports it at once, long before both sides have agreed on the outcome.
func (s *summarizer) switchedOver(source *v1alpha1.SourceStatus) string {
	target := CurrentTarget(s.lm)
	if target == nil || target.ArrivedTime == nil {
		return ""
	}
	message := fmt.Sprintf("The guest has switched over from %s to %s", s.lm.Status.SourceNode, s.lm.Status.TargetNode)
	if source.Guest == nil || len(source.Guest.MACAddresses) == 0 {
		return message
	}
	macs := source.Guest.MACAddresses
	var named []string
	for _, mac := range macs[:min(len(macs), mostMACAddresses)] {
		named = append(named, string(mac))
	}
	message += ", with the MAC addresses " + strings.Join(named, ", ")
	if more := len(macs) - mostMACAddresses; more > 0 {
		message += fmt.Sprintf(" and %d more, which are in status.source.guest.macAddresses", more)
	}
	return message
}

func (s *summarizer) postCopyCompleted(source *v1alpha1.SourceStatus) string {
	if !InPostCopy(source) || !Whole(CurrentTarget(s.lm)) && s.out.Status.Phase != v1alpha1.PhaseSucceeded {
		return ""
	}
	return fmt.Sprintf("All of the guest's memory has arrived on %s; the guest no longer depends on %s",
		s.lm.Status.TargetNode, s.lm.Status.SourceNode)
}

// downtimeExceeded speaks when the downtime comes to be known. Of a guest that its user
// had paused there is none.
func (s *summarizer) downtimeExceeded(source *v1alpha1.SourceStatus) string {
	was, is := s.lm.Status.DowntimeMilliseconds, s.out.Status.DowntimeMilliseconds
	if was != nil || is == nil || s.out.Status.Phase != v1alpha1.PhaseSucceeded || source != nil && source.GuestPaused {
		return ""
	}
	allowed := AllowedDowntimeMilliseconds(s.lm)
	if *is <= allowed {
		return ""
	}
	message := fmt.Sprintf("The guest was paused for %d ms at its switch-over, longer than options.maxDowntimeMilliseconds allows (%d ms)", *is, allowed)
	if source != nil && source.Steering != nil && source.Steering.PausedTime != nil {
		message += ", because it was paused so that the copy could finish"
	}
	return message
}
