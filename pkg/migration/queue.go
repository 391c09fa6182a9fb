package migration

import (
	"cmp"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// GoesBefore returns the migration, if there is one, that has to end before lm
// may go ahead: another of the same guest that was let go ahead already or,
// where none was, that was created earlier.
func GoesBefore(lm *v1alpha1.LiveMigration, domainUUID, domainName string, all []v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	var first *v1alpha1.LiveMigration
	for i := range all {
		other := &all[i]
		if other.UID == lm.UID || Finished(other) || !sameGuest(other, domainUUID, domainName) {
			continue
		}
		if other.Status.Attempt == nil && (CancelRequested(other) || compareAge(other, lm) > 0) {
			continue
		}
		if first == nil || compareTurn(other, first) < 0 {
			first = other
		}
	}
	return first
}

// NewsDelay is how long the published lists of guests may lag behind a
// migration that has just ended.
const NewsDelay = 30 * time.Second

// Arrival is the end of a successful migration.
type Arrival struct {
	Node string
	Time time.Time
}

// RecentArrival returns where and when the guest arrived last.
func RecentArrival(domainUUID string, all []v1alpha1.LiveMigration) (last Arrival, ok bool) {
	for i := range all {
		st := &all[i].Status
		moved := domainUUID != "" && st.DomainUUID == domainUUID && st.Phase == v1alpha1.PhaseSucceeded
		if moved && st.CompletionTime != nil && st.Attempt != nil && st.CompletionTime.After(last.Time) {
			last, ok = Arrival{Node: st.TargetNode, Time: st.CompletionTime.Time}, true
		}
	}
	return last, ok
}

func sameGuest(other *v1alpha1.LiveMigration, domainUUID, domainName string) bool {
	if other.Status.DomainUUID != "" {
		return other.Status.DomainUUID == domainUUID
	}
	return other.Spec.Domain == domainName || strings.EqualFold(other.Spec.Domain, domainUUID)
}

func compareTurn(a, b *v1alpha1.LiveMigration) int {
	if admitted := b2i(b.Status.Attempt != nil) - b2i(a.Status.Attempt != nil); admitted != 0 {
		return admitted
	}
	return compareAge(a, b)
}

func compareAge(a, b *v1alpha1.LiveMigration) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
