package migration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Bounds of what is kept of requests; the API has the same.
const (
	maxRequests    = 16
	maxTokenLength = 128
)

// requestAnnotations are looked at in this order: of two requests that are seen
// at once, the harmless one goes first.
var requestAnnotations = []struct {
	annotation string
	request    v1alpha1.RequestType
}{
	{v1alpha1.AnnotationCancel, v1alpha1.RequestCancel},
	{v1alpha1.AnnotationForceComplete, v1alpha1.RequestForceComplete},
}

// Requests returns what status.requests is to say: the requests recorded so
// far, brought up to date with what the source's agent did about them, and
// those that the annotations ask for since.
func Requests(lm *v1alpha1.LiveMigration, now time.Time) []v1alpha1.RequestStatus {
	requests := slices.Clone(lm.Status.Requests)
	for i := range requests {
		heed(&requests[i], CurrentSource(lm))
	}
	for _, a := range requestAnnotations {
		value, asked := lm.Annotations[a.annotation]
		if !asked {
			continue
		}
		next := newRequest(a.request, value, now)
		known := slices.ContainsFunc(requests, func(r v1alpha1.RequestStatus) bool {
			return r.Type == next.Type && r.Token == next.Token
		})
		if !known {
			requests = append(requests, next)
		}
	}
	return forgetOldest(requests, lm)
}

// heed takes over what the source's agent reports of a request.
func heed(r *v1alpha1.RequestStatus, source *v1alpha1.SourceStatus) {
	report := reportOn(source, r.Type, r.Token)
	if report == nil || settled(r.State) {
		return
	}
	r.State, r.Message = report.State, report.Message
	if settled(r.State) {
		r.SettledTime = &report.Time
	}
}

// reportOn returns what the source's agent reports of a request, or nil.
func reportOn(source *v1alpha1.SourceStatus, request v1alpha1.RequestType, token string) *v1alpha1.RequestReport {
	if source == nil || source.Steering == nil {
		return nil
	}
	for i := range source.Steering.Requests {
		if r := &source.Steering.Requests[i]; r.Type == request && r.Token == token {
			return r
		}
	}
	return nil
}

func settled(s v1alpha1.RequestState) bool {
	return s == v1alpha1.RequestDone || s == v1alpha1.RequestRefused
}

func newRequest(request v1alpha1.RequestType, value string, now time.Time) v1alpha1.RequestStatus {
	r := v1alpha1.RequestStatus{
		Type: request, Token: value, State: v1alpha1.RequestQueued, RequestedTime: metav1.NewMicroTime(now),
	}
	if problem := tokenProblem(value); problem != "" {
		sum := sha256.Sum256([]byte(value))
		r.Token = "invalid-" + hex.EncodeToString(sum[:8])
		settle(&r, v1alpha1.RequestRefused, now, "The annotation's value "+problem+
			". Set it to a value that has not been used before, such as the time")
	}
	return r
}

func tokenProblem(value string) string {
	switch {
	case value == "":
		return "is empty"
	case len(value) > maxTokenLength:
		return fmt.Sprintf("is longer than %d bytes", maxTokenLength)
	case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }):
		return "contains unprintable characters"
	default:
		return ""
	}
}

func settle(r *v1alpha1.RequestStatus, state v1alpha1.RequestState, now time.Time, message string) {
	r.State, r.Message, r.SettledTime = state, Shorten(message, MaxMessage), new(metav1.NewMicroTime(now))
}

// forgetOldest drops settled requests beyond those that are kept, but none that
// an annotation still names: it would be taken for a new one. A request for which
// there is no room at all waits in its annotation.
func forgetOldest(requests []v1alpha1.RequestStatus, lm *v1alpha1.LiveMigration) []v1alpha1.RequestStatus {
	for i := 0; len(requests) > maxRequests && i < len(requests); {
		if settled(requests[i].State) && !named(requests[i], lm) {
			requests = slices.Delete(requests, i, i+1)
		} else {
			i++
		}
	}
	for len(requests) > maxRequests {
		requests = slices.Delete(requests, leastUrgent(requests), leastUrgent(requests)+1)
	}
	return requests
}

// leastUrgent returns the request that makes way where all are unsettled: the
// latest, but never one to cancel for one to complete.
func leastUrgent(requests []v1alpha1.RequestStatus) int {
	for i, r := range slices.Backward(requests) {
		if r.Type == v1alpha1.RequestForceComplete {
			return i
		}
	}
	return len(requests) - 1
}

func named(r v1alpha1.RequestStatus, lm *v1alpha1.LiveMigration) bool {
	for _, a := range requestAnnotations {
		if value, ok := lm.Annotations[a.annotation]; ok && r.Type == a.request && newRequest(a.request, value, time.Time{}).Token == r.Token {
			return true
		}
	}
	return false
}

// settleAll settles the requests that are left when a migration has ended.
func settleAll(requests []v1alpha1.RequestStatus, phase v1alpha1.LiveMigrationPhase, now time.Time) {
	for i := range requests {
		r := &requests[i]
		switch {
		case settled(r.State):
		case r.Type == v1alpha1.RequestCancel && phase == v1alpha1.PhaseCancelled:
			settle(r, v1alpha1.RequestDone, now, "The migration was cancelled")
		default:
			settle(r, v1alpha1.RequestRefused, now, "The migration had already "+ended(phase))
		}
	}
}

func ended(phase v1alpha1.LiveMigrationPhase) string {
	if phase == v1alpha1.PhaseCancelled {
		return "been cancelled"
	}
	return strings.ToLower(string(phase))
}

// Due returns the requests that the source's agent has not settled, in their
// order. Section is the agent's own, which may be newer than the object's.
func Due(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) []v1alpha1.RequestStatus {
	var due []v1alpha1.RequestStatus
	for _, r := range lm.Status.Requests {
		heed(&r, section)
		if !settled(r.State) {
			due = append(due, r)
		}
	}
	return due
}

// CancelDue reports whether the source's agent has to abort the migration: it is
// to be cancelled, and the agent has not refused that.
func CancelDue(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) bool {
	return !lm.DeletionTimestamp.IsZero() || cancelled(Due(lm, section))
}

// ForceCompleteDue reports whether the source's agent is to complete the
// migration by force.
func ForceCompleteDue(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) bool {
	return !CancelDue(lm, section) && slices.ContainsFunc(Due(lm, section), func(r v1alpha1.RequestStatus) bool {
		return r.Type == v1alpha1.RequestForceComplete
	})
}

// ReportRequests returns what the source's agent has to report of the requests
// that it has not settled, now that its job is as section says.
func ReportRequests(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus, now time.Time) []v1alpha1.RequestReport {
	var reports []v1alpha1.RequestReport
	cancel := CancelDue(lm, section)
	for _, r := range Due(lm, section) {
		report := v1alpha1.RequestReport{Type: r.Type, Token: r.Token, Time: metav1.NewMicroTime(now)}
		if r.Type == v1alpha1.RequestCancel {
			reportCancel(&report, section)
		} else {
			reportForceComplete(&report, section, cancel)
		}
		report.Message = Shorten(report.Message, MaxMessage)
		if report.State != r.State || report.Message != r.Message {
			reports = append(reports, report)
		}
	}
	return reports
}

func reportCancel(r *v1alpha1.RequestReport, section *v1alpha1.SourceStatus) {
	if InPostCopy(section) {
		r.State, r.Message = v1alpha1.RequestRefused,
			"It is too late to cancel: the guest runs on the target in post-copy, and neither host has all of its memory. Wait for the migration to end"
		return
	}
	r.State, r.Message = v1alpha1.RequestInProgress, "The migration is being aborted"
}

func reportForceComplete(r *v1alpha1.RequestReport, section *v1alpha1.SourceStatus, cancel bool) {
	switch {
	case InPostCopy(section):
		r.State, r.Message = v1alpha1.RequestDone, "The guest was switched to post-copy"
	case section.GuestPaused:
		r.State, r.Message = v1alpha1.RequestDone, "The guest was paused before the migration, so there is nothing to force"
	case cancel:
		r.State, r.Message = v1alpha1.RequestRefused, "The migration is being cancelled"
	default:
		r.State, r.Message = forced(section)
	}
}

// forced says how far the steps have come that force a migration to its end.
func forced(section *v1alpha1.SourceStatus) (v1alpha1.RequestState, string) {
	var steps v1alpha1.SteeringStatus
	if section.Steering != nil {
		steps = *section.Steering
	}
	postCopy, pause := steps.PostCopy, steps.Pause
	done := section.End != nil && section.End.Call == v1alpha1.CallSucceeded
	switch {
	case pause != nil:
		return paused(steps, done)
	case postCopy == nil:
		return v1alpha1.RequestInProgress, "The agent on the source has accepted it"
	case postCopy.Error != "":
		return v1alpha1.RequestInProgress, "Switching to post-copy failed, so the guest is being paused: " + postCopy.Error
	case done:
		// It was over before anybody saw it.
		return v1alpha1.RequestDone, "The guest was switched to post-copy"
	default:
		return v1alpha1.RequestInProgress, "Switching to post-copy"
	}
}

// paused says how far the pause has come that forces a migration to its end.
func paused(steps v1alpha1.SteeringStatus, done bool) (v1alpha1.RequestState, string) {
	switch {
	case steps.PausedTime != nil:
		return v1alpha1.RequestDone, "The guest was paused until it has been copied"
	case steps.Pause.Error != "":
		return v1alpha1.RequestRefused, "The guest could not be paused: " + steps.Pause.Error
	case done:
		return v1alpha1.RequestDone, "The guest was copied before its pause took effect"
	default:
		return v1alpha1.RequestInProgress, "Pausing the guest"
	}
}

// PutReport adds a report, or puts it in the place of an earlier one of the same
// request.
func PutReport(steering *v1alpha1.SteeringStatus, report v1alpha1.RequestReport) {
	for i := range steering.Requests {
		if r := &steering.Requests[i]; r.Type == report.Type && r.Token == report.Token {
			*r = report
			return
		}
	}
	steering.Requests = append(steering.Requests, report)
	steering.Requests = steering.Requests[max(0, len(steering.Requests)-maxRequests):]
}

// cancelled reports whether a request to cancel stands.
func cancelled(requests []v1alpha1.RequestStatus) bool {
	return slices.ContainsFunc(requests, func(r v1alpha1.RequestStatus) bool {
		return r.Type == v1alpha1.RequestCancel && r.State != v1alpha1.RequestRefused
	})
}
