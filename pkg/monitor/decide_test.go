package monitor

import (
	"testing"
	"time"
)

// kinds returns the kinds of actions.
func kinds(actions []Action) []Kind {
	var all []Kind
	for _, a := range actions {
		all = append(all, a.Kind)
	}
	return all
}

func TestCompletionTimeoutStrikesOnce(t *testing.T) {
	c := Config{CompletionTimeoutPerGiB: time.Second, Size: Size{MemoryBytes: 2 * gib}}
	var s State
	var all []Kind
	for at := time.Duration(0); at < 10*time.Second; at += 250 * time.Millisecond {
		var actions []Action
		s, actions = Decide(c, s, Input{Sample: Sample{Elapsed: at}})
		all = append(all, kinds(actions)...)
		if s.Facts().Abort.Ordered != (at > 2*time.Second) {
			t.Fatalf("at %s: %+v", at, s.Facts())
		}
	}
	if len(all) != 2 || all[0] != SetMaxDowntime || all[1] != Abort {
		t.Errorf("actions: %v", all)
	}
}
