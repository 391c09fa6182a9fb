package migration

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// StatusInterval is how long the manager lets pass between two writes of one migration's
// status where the second may wait.
const StatusInterval = 500 * time.Millisecond

// MayWait reports whether a change of a status only tells how far a migration has come.
// Nobody acts on that: such changes are written together, where they come fast. What an
// agent or a user waits for, and any verdict, is written at once.
func MayWait(before, after *v1alpha1.LiveMigrationStatus) bool {
	switch {
	case before.Phase == "", before.Phase == v1alpha1.PhaseUnknown, after.Phase == v1alpha1.PhaseUnknown:
		return false
	case after.CompletionTime != nil:
		return false
	case hasNotice(after, v1alpha1.NoticeSwitchedOver) && !hasNotice(before, v1alpha1.NoticeSwitchedOver):
		return false // Networks may wait for it, and the guest's peers for them.
	}
	return equality.Semantic.DeepEqual(withoutProgress(before), withoutProgress(after))
}

// withoutProgress returns what remains of a status without what only tells how far the
// migration has come.
func withoutProgress(in *v1alpha1.LiveMigrationStatus) *v1alpha1.LiveMigrationStatus {
	st := managerOwned(in)
	st.Conditions, st.Phase, st.DomainName, st.Notices = nil, "", "", nil
	if st.Queue != nil {
		st.Queue.WaitingFor, st.Queue.Position = "", 0
	}
	if a := st.Attempt; a != nil {
		a.EndSeenTime, a.ConfirmationSeenTime, a.CleanUpTime = nil, nil, nil
	}
	return &st
}
