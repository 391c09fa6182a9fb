package agent

import (
	"encoding/json"
	"errors"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// How much each side may say of a guest, in bytes as they are stored. The API bounds each list and
// each text, but not all of them together, and etcd takes no object of more than 1.5 MiB: a
// report that does not fit would be refused again and again. What is said after the start,
// and by the manager, is bounded by itself, and has room beside these.
const (
	// SourceRoom is for what the source says before the target is prepared, and StartRoom for
	// that and what it adds until the start.
	SourceRoom = 384 << 10
	StartRoom  = 512 << 10
	// TargetRoom is for what the target says when it is ready.
	TargetRoom = 320 << 10
)

// tooLarge refuses a guest of which there is more to say than there is room for; nil if it fits.
func (s *sourceSession) tooLarge(section *v1alpha1.SourceStatus, most int) error {
	size := encodedBytes(section)
	if section.Storage != nil {
		size += encodedBytes(section.Storage.Markers) // It is kept of each who owns it.
	}
	return tooLarge(s.lm, v1alpha1.ReasonSourceCheckFailed, s.node.Name, size, most)
}

// keepRoom is tooLarge for what is added until the start, which is taken back if it does not fit.
func (s *sourceSession) keepRoom(before *v1alpha1.SourceStatus) error {
	err := s.tooLarge(s.section, StartRoom)
	if err != nil {
		s.section = before
	}
	return err
}

// withinRoom returns what the target says of a guest, or that it is refused because that is more
// than there is room for. Nothing was made for it yet.
func (s *targetSession) withinRoom(section *v1alpha1.TargetStatus) *v1alpha1.TargetStatus {
	var r *refusal
	if !errors.As(tooLarge(s.lm, v1alpha1.ReasonTargetCheckFailed, s.node.Name, encodedBytes(section), TargetRoom), &r) {
		return section
	}
	s.log.Info("Refusing the guest", "reason", r.Reason)
	return &v1alpha1.TargetStatus{AttemptID: section.AttemptID, Problem: r.problem()}
}

// tooLarge refuses a guest of which a node has so much to say.
func tooLarge(lm *v1alpha1.LiveMigration, reason, node string, size, most int) error {
	if size <= most {
		return nil
	}
	return refuse(reason, v1alpha1.BlockerReportTooLarge,
		"What %s has to tell of the guest %s takes %d KiB, and a LiveMigration has room for %d. That is so if it has many disks whose paths are very long, or CPUs that are pinned one by one to "+
			"long lists. Ask an administrator to give its disks shorter paths or to pin it otherwise, and then create another LiveMigration",
		node, migration.Shorten(lm.Spec.Domain, maxDomainName), (size+1023)>>10, most>>10)
}

// encodedBytes is how much something takes as it is stored.
func encodedBytes(section any) int {
	text, err := json.Marshal(section)
	if err != nil {
		return 0 // It cannot fail for what is of the API's types.
	}
	return len(text)
}
