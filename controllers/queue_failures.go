package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// How long a migration is given nothing after its object could not be written: others
// would wait for what it cannot take.
const (
	passedOverFirst = 5 * time.Second
	passedOverMost  = 5 * time.Minute
)

// mostConflicts is how often in a row an object may have changed whenever it was to be
// written.
const mostConflicts = 10

// failures are the writes of a migration that have failed.
type failures struct {
	// refusals counts the writes of what it was given that have failed since one succeeded,
	// and conflicts the versions in a row that were to be written and had become old, of
	// which conflicting is the last.
	refusals, conflicts int
	conflicting         string
	// passedOver is until when the migration is given nothing because of them.
	passedOver time.Time
	// uncertain is the version of the object of which it is not known, since then, whether a
	// write that keeps the promise has reached it.
	uncertain      string
	uncertainSince time.Time
	// adopted is when the promise was taken over from whoever may keep it yet.
	adopted time.Time
}

// overdue reports whether a write that may keep the promise has been on its way for so
// long that it must have arrived if it ever will.
func (e *entry) overdue(now time.Time) bool {
	return e.promise != nil && e.uncertain == e.lm.ResourceVersion && now.Sub(e.uncertainSince) >= passedOverMost
}

// Failed takes in that a migration's object could not be written. What it was given goes to
// others then, unless what was written may arrive yet, or another manager may still be
// writing.
func (q *queue) Failed(lm *v1alpha1.LiveMigration, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[lm.UID]
	switch {
	case e == nil, !e.turn.Admit && !e.turn.Grant, apierrors.IsNotFound(err):
	case apierrors.IsConflict(err):
		if e.conflicting == lm.ResourceVersion {
			return // The news of the newer version has not come yet.
		}
		e.conflicting = lm.ResourceVersion
		e.conflicts++
		if e.conflicts >= mostConflicts {
			// What has changed it may be an earlier write that keeps the promise, which stands.
			q.passOver(e)
		}
	case e.promise != nil:
		q.promiseFailed(e, lm.ResourceVersion, err)
	default:
		if !refused(err) && !apierrors.IsInternalError(err) {
			// The API server may be away: then all are passed over.
			e.refusals = 0
		}
		q.passOver(e)
	}
}

// promiseFailed takes in that the write of an object's version that was to keep a promise
// has failed.
func (q *queue) promiseFailed(e *entry, version string, err error) {
	switch {
	case !refused(err):
		if e.uncertain != version {
			e.uncertain, e.uncertainSince = version, q.clock.Now()
		}
	case e.uncertain == e.lm.ResourceVersion, q.clock.Since(e.adopted) < passedOverMost:
	default:
		q.void(e)
	}
}

// void takes a promise back, and passes the migration over.
func (q *queue) void(e *entry) {
	e.promise, e.uncertain = nil, ""
	q.passOver(e)
}

// refused reports whether the API server has answered that it will not write what it was
// sent.
func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}

// passOver gives a migration nothing for a while, which is longer each time.
func (q *queue) passOver(e *entry) {
	pause := min(passedOverFirst<<min(e.refusals, 10), passedOverMost)
	e.refusals++
	e.passedOver = q.clock.Now().Add(pause)
	e.decided, q.dirty = false, true
	q.wakeAfter(client.ObjectKeyFromObject(e.lm), pause)
}

// recheck reads an object past all caches of which it is in doubt what has become.
func (q *queue) recheck(ctx context.Context, e *entry) error {
	uid, overdue := e.lm.UID, e.overdue(q.clock.Now())
	if err := q.reread(ctx, uid, client.ObjectKeyFromObject(e.lm)); err != nil {
		return err
	}
	if overdue && q.entries[uid] == e && e.uncertain == e.lm.ResourceVersion {
		q.void(e)
	}
	return nil
}
