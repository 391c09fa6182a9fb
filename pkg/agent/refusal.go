package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// refusal is a problem that ends the migration before anything was touched.
type refusal struct{ v1alpha1.Problem }

func (r *refusal) Error() string { return r.Reason + ": " + r.Message }

// problem is what the status says of it.
func (r *refusal) problem() *v1alpha1.Problem {
	return &v1alpha1.Problem{Reason: r.Reason, Message: r.Message, Blockers: migration.Blockers(r.Blockers)}
}

func refuse(reason string, code v1alpha1.BlockerCode, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return &refusal{v1alpha1.Problem{
		Reason: reason, Message: migration.Shorten(message, migration.MaxProblemMessage), Blockers: []v1alpha1.Blocker{{Code: code, Message: message}},
	}}
}

// add takes in what another says that was not said yet.
func (r *refusal) add(more *refusal) {
	message, fresh := more.Message, []v1alpha1.Blocker(nil)
	for _, b := range more.Blockers {
		if !slices.ContainsFunc(r.Blockers, func(known v1alpha1.Blocker) bool { return sameBlocker(known, b) }) {
			fresh = append(fresh, b)
			continue
		}
		message = strings.TrimPrefix(strings.TrimSuffix(strings.Replace(message+". ", b.Message+". ", "", 1), ". "), ". ")
	}
	if len(fresh) == 0 {
		return
	}
	r.Message = migration.Shorten(r.Message+". "+message, migration.MaxProblemMessage)
	r.Blockers = append(r.Blockers, fresh...)
}

// sameBlocker reports whether two are the same: one that comes from the API may be shorter.
func sameBlocker(a, b v1alpha1.Blocker) bool {
	return a.Code == b.Code && migration.Shorten(a.Message, migration.MaxMessage) == migration.Shorten(b.Message, migration.MaxMessage)
}

// allOf makes one refusal of several, under the reason of the first, so that nobody has to
// try again for each. What was said already is not repeated. An error that is none goes
// first: it is worth another try.
func allOf(problems []error) error {
	var all *refusal
	for _, err := range problems {
		var r *refusal
		switch {
		case err == nil:
		case !errors.As(err, &r):
			return err
		case all == nil:
			all = &refusal{*r.DeepCopy()}
		default:
			all.add(r)
		}
	}
	if all == nil {
		return nil
	}
	return all
}
