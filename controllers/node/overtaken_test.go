package node

import (
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestOvertaken: a report is overtaken by one of the same side and the same attempt that is
// not older.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	const attempt = "now"
	source := func(id string, revision int64) *v1alpha1.SourceStatus {
		return &v1alpha1.SourceStatus{AttemptID: id, Revision: revision}
	}
	target := func(id string, revision int64) *v1alpha1.TargetStatus {
		return &v1alpha1.TargetStatus{AttemptID: id, Revision: revision}
	}
	for _, c := range []struct {
		name    string
		written write
		source  *v1alpha1.SourceStatus
		target  *v1alpha1.TargetStatus
		want    int64
	}{
		{"a source's, and nothing is recorded", write{source: source(attempt, 5)}, nil, target(attempt, 9), 0},
		{"a source's, after what is recorded", write{source: source(attempt, 5)}, source(attempt, 4), target(attempt, 9), 0},
		{"a source's, which is recorded", write{source: source(attempt, 5)}, source(attempt, 5), nil, 5},
		{"a source's, before what is recorded", write{source: source(attempt, 5)}, source(attempt, 7), nil, 7},
		{"a source's, and what is recorded is of another attempt", write{source: source(attempt, 5)}, source("before", 7), nil, 0},
		{"a source's without a revision", write{source: source(attempt, 0)}, source(attempt, 7), nil, 0},
		{"a target's, and nothing is recorded", write{target: target(attempt, 5)}, source(attempt, 9), nil, 0},
		{"a target's, after what is recorded", write{target: target(attempt, 5)}, source(attempt, 9), target(attempt, 4), 0},
		{"a target's, which is recorded", write{target: target(attempt, 5)}, nil, target(attempt, 5), 5},
		{"a target's, before what is recorded", write{target: target(attempt, 5)}, source(attempt, 1), target(attempt, 7), 7},
		{"nobody's", write{}, source(attempt, 7), target(attempt, 7), 0},
	} {
		lm := &v1alpha1.LiveMigration{}
		lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: attempt}
		lm.Status.Source, lm.Status.Target = c.source, c.target
		if got := c.written.overtaken(lm); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
