package xmlrewrite

import (
	"slices"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestEventsThatTheTargetCannotCount are switched off, with a warning, unless the user says which
// stay.
func TestEventsThatTheTargetCannotCount(t *testing.T) {
	t.Parallel()
	const (
		cmt, instructions, off = "<event name='cmt' enabled='yes'/>", "<event name='instructions' enabled='yes'/>", "<event name='cmt' enabled='no'/>"
		begin, end             = "<domain type='kvm'><vcpu>1</vcpu>", "</domain>"
	)
	for name, c := range map[string]struct {
		have, want string
		data       *v1alpha1.MigrateData
		warnings   int
	}{
		"one of two":              {"<perf>" + cmt + instructions + "</perf>", "<perf>" + instructions + "</perf>", nil, 1},
		"the only one":            {"<perf>" + cmt + "</perf>", "", nil, 1},
		"one that is off":         {"<perf>" + off + "</perf>", "<perf>" + off + "</perf>", nil, 0},
		"another":                 {"<perf>" + instructions + "</perf>", "<perf>" + instructions + "</perf>", nil, 0},
		"the user says it stays":  {"<perf>" + cmt + "</perf>", "<perf>" + cmt + "</perf>", &v1alpha1.MigrateData{PerfEvents: []v1alpha1.PerfEvent{"cmt"}}, 0},
		"the user says none does": {"<perf>" + cmt + "</perf>", "", &v1alpha1.MigrateData{PerfEvents: []v1alpha1.PerfEvent{}}, 0},
	} {
		plan, err := NewPlan(begin+c.have+end, c.data, Options{DroppedPerfEvents: []v1alpha1.PerfEvent{"cmt", "mbmt"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Apply(); got != begin+c.want+end || len(plan.Warnings()) != c.warnings {
			t.Errorf("%s: got %s, %v", name, got, plan.Warnings())
		}
	}
	needs, err := ReadNeeds(begin + "<perf>" + cmt + instructions + cmt + "<event name='mbmt' enabled='no'/></perf>" + end)
	if err != nil || !slices.Equal(needs.PerfEvents, []string{"cmt", "instructions"}) {
		t.Errorf("counted are %v, %v", needs.PerfEvents, err)
	}
}
