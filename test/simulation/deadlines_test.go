package simulation

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

const (
	// grace is how long faults may be felt after they have ended: a report that was refused
	// is tried again once a minute.
	grace = 90 * time.Second
	// slack is how much longer than its deadline something may take.
	slack = 5 * time.Second
)

// times are when something was first so of a migration.
type times struct {
	created, started, ended, cancelled, forced time.Time
	// sourceSaid and targetSaid are when each side has last said something new.
	sourceSaid, targetSaid time.Time
	// freed is whether its slots were given back before its end: the source was given up. If
	// that comes back after all, it is followed to the end.
	freed bool
}

// noteTimes takes in what is so now. The mutex is held.
func (o *observer) noteTimes(before, lm *v1alpha1.LiveMigration) {
	t := o.times[lm.UID]
	if t == nil {
		t = &times{}
		o.times[lm.UID] = t
	}
	if before == nil || !reflect.DeepEqual(before.Status.Source, lm.Status.Source) {
		t.sourceSaid = time.Now()
	}
	if before == nil || !reflect.DeepEqual(before.Status.Target, lm.Status.Target) {
		t.targetSaid = time.Now()
	}
	source := migration.CurrentSource(lm)
	for _, x := range []struct {
		at *time.Time
		is bool
	}{
		{&t.created, true},
		{&t.started, migration.Started(lm)},
		{&t.ended, source != nil && source.End != nil},
		{&t.cancelled, !lm.DeletionTimestamp.IsZero() || lm.Annotations[v1alpha1.AnnotationCancel] != ""},
		{&t.forced, lm.Annotations[v1alpha1.AnnotationForceComplete] != ""},
	} {
		if x.is && x.at.IsZero() {
			*x.at = time.Now()
		}
	}
}

// deadline is one by which something has to be so of a migration that has not ended.
type deadline struct {
	// what is said of one that has missed it.
	what string
	most time.Duration
	// since is when it has begun, zero where there is none.
	since func(*v1alpha1.LiveMigration, *times) time.Time
}

// deadlines are those of docs/architecture.md that do not depend on what guests write.
var deadlines = []deadline{
	{"is not prepared, and has not failed", time.Minute, func(lm *v1alpha1.LiveMigration, _ *times) (none time.Time) {
		a, target := lm.Status.Attempt, migration.CurrentTarget(lm)
		if a == nil || migration.Started(lm) || target != nil && target.ReadyTime != nil {
			return none
		}
		return a.AdmittedTime.Time
	}},
	{"is not started, and has not failed", time.Minute, func(lm *v1alpha1.LiveMigration, _ *times) (none time.Time) {
		if a := lm.Status.Attempt; a != nil && a.CopyGrantedTime != nil && !migration.Started(lm) {
			return a.CopyGrantedTime.Time
		}
		return none
	}},
	{"is to be cancelled, and its job goes on", 3 * time.Second, func(lm *v1alpha1.LiveMigration, t *times) (none time.Time) {
		s := migration.CurrentSource(lm)
		if s == nil || s.End != nil || migration.InPostCopy(s) || lm.Status.Progress == nil || t.cancelled.IsZero() {
			return none
		}
		return later(t.cancelled, t.started)
	}},
	// A job that was never seen may begin until 35 seconds have passed.
	{"is to be cancelled, and goes on", 35 * time.Second, func(lm *v1alpha1.LiveMigration, t *times) (none time.Time) {
		if s := migration.CurrentSource(lm); s != nil && (s.End != nil || migration.InPostCopy(s)) {
			return none
		}
		return t.cancelled
	}},
	{"is to be completed by force, and nothing is done", 5 * time.Second, func(lm *v1alpha1.LiveMigration, t *times) (none time.Time) {
		s := migration.CurrentSource(lm)
		if !migration.Started(lm) || s.End != nil || s.GuestPaused || !t.cancelled.IsZero() || t.forced.IsZero() || refused(lm) {
			return none
		}
		if s.Steering != nil && (s.Steering.PostCopy != nil || s.Steering.PostCopyTime != nil || s.Steering.Pause != nil) {
			return none
		}
		return later(t.forced, t.started)
	}},
	{"is over, and has no verdict", time.Minute, func(lm *v1alpha1.LiveMigration, t *times) time.Time {
		if t.ended.IsZero() {
			return time.Time{}
		}
		a, since := lm.Status.Attempt, t.ended
		for _, at := range []*metav1.MicroTime{a.EndSeenTime, a.ConfirmationSeenTime, a.CleanUpTime} {
			if at != nil {
				since = later(since, at.Time)
			}
		}
		return since
	}},
}

// refused reports whether a request to complete by force was.
func refused(lm *v1alpha1.LiveMigration) bool {
	return slices.ContainsFunc(lm.Status.Requests, func(r v1alpha1.RequestStatus) bool {
		return r.Type == v1alpha1.RequestForceComplete && r.State == v1alpha1.RequestRefused
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checkDeadlines judges what takes longer than it may although nothing is broken any more.
func (o *observer) checkDeadlines() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calmSince.IsZero() || len(o.said.violations) > 0 {
		return
	}
	for _, k := range slices.SortedFunc(maps.Keys(o.moves), compareKeys) {
		lm := o.moves[k]
		if o.excused[k] || migration.Finished(lm) || lm.Status.Phase == v1alpha1.PhaseUnknown {
			continue
		}
		for _, d := range deadlines {
			since := d.since(lm, o.times[lm.UID])
			if since.IsZero() {
				continue
			}
			if took := time.Since(later(since, o.calmSince.Add(grace))); took > d.most+slack {
				o.breaks(inTime, "%s %s, for %s: %s", k.name, d.what, took, short(lm))
			}
		}
	}
}

// checkRemoval judges that a manager deletes an object: its time to live has to be over.
func (o *observer) checkRemoval(by string, before, after *v1alpha1.LiveMigration) {
	goes := before != nil && before.DeletionTimestamp.IsZero() && (after == nil || !after.DeletionTimestamp.IsZero())
	if !goes || !strings.HasPrefix(by, "manager") {
		return
	}
	ttl, done := before.Spec.TTLSecondsAfterFinished, before.Status.CompletionTime
	// The time of completion has whole seconds.
	if ttl == nil || done == nil || time.Since(done.Time) < time.Duration(*ttl)*time.Second {
		o.breaks(keepsObject, "%s is deleted by a %s, and its time to live is not over", before.Name, by)
	}
}
