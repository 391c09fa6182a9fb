package xmlrewrite

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestManyProblemsTakeLinearTime: a guest may have as many problems as devices.
// Were each looked up among all, these would take minutes.
func TestManyProblemsTakeLinearTime(t *testing.T) {
	t.Parallel()
	const count = 70000
	var b strings.Builder
	b.WriteString("<domain><devices>")
	for i := range count {
		b.WriteString("<hostdev type='pci'><source><address domain='" + itoa(i) + "' bus='1'/></source></hostdev>")
	}
	b.WriteString("</devices></domain>")
	start := time.Now()
	_, err := NewPlan(b.String(), nil, Options{})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != count {
		t.Fatalf("there are %d problems, want %d", len(problems), count)
	}
	if want := "/domain/devices/hostdev[70000]"; problems[count-1].XMLPath != want {
		t.Errorf("the last problem is at %s, want %s", problems[count-1].XMLPath, want)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("%d problems took %s", count, took)
	}
}
