package migration

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestBlockers(t *testing.T) {
	t.Parallel()
	many := func(n int) []v1alpha1.Blocker {
		list := make([]v1alpha1.Blocker, n)
		for i := range list {
			list[i] = v1alpha1.Blocker{Code: v1alpha1.BlockerNameTaken, Message: strings.Repeat("m", i+1)}
		}
		return list
	}
	for _, c := range []struct {
		have, want int
		last       string
	}{
		{1, 1, "m"},
		{64, 64, strings.Repeat("m", 64)},
		{65, 64, "2 more; the message tells of them, as far as there is room"},
		{2000, 64, "1937 more; the message tells of them, as far as there is room"},
	} {
		got := Blockers(many(c.have))
		if len(got) != c.want || got[len(got)-1].Message != c.last || got[0].Code != v1alpha1.BlockerNameTaken {
			t.Errorf("of %d, %d are listed, and the last is %+v", c.have, len(got), got[len(got)-1])
		}
		if more := got[len(got)-1].Code == v1alpha1.BlockerMore; more != (c.have > 64) {
			t.Errorf("of %d, the last is %s", c.have, got[len(got)-1].Code)
		}
	}
	if got := Blockers(many(2000)[1999:]); len(got[0].Message) > MaxMessage {
		t.Errorf("a message has %d bytes", len(got[0].Message))
	}
	if got := Blockers(nil); len(got) != 0 {
		t.Errorf("of none, %d are listed", len(got))
	}
}
