package migration

import (
	"fmt"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// maxBlockers is how many the API takes.
const maxBlockers = 64

// Blockers returns what a problem is to list: no more, and no longer messages, than the API
// takes. If there are more, the last entry counts them.
func Blockers(all []v1alpha1.Blocker) []v1alpha1.Blocker {
	out := make([]v1alpha1.Blocker, 0, min(len(all), maxBlockers))
	for i, b := range all {
		if more := len(all) - i; len(out) == maxBlockers-1 && more > 1 {
			return append(out, v1alpha1.Blocker{Code: v1alpha1.BlockerMore, Message: fmt.Sprintf("%d more; the message tells of them, as far as there is room", more)})
		}
		out = append(out, v1alpha1.Blocker{Code: b.Code, Message: Shorten(b.Message, MaxMessage)})
	}
	return out
}
