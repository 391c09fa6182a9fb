package monitor

import (
	"slices"
	"testing"
	"time"
)

// TestWhenMemoryIsCopied: a request to complete waits until it is.
func TestWhenMemoryIsCopied(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		memory Transfer
		want   int
	}{{Transfer{gib, 1, gib}, 1}, {Transfer{gib, 0, gib}, 0}, {Transfer{0, 1, gib}, 0}, {Transfer{1, 1, 0}, 1}} {
		_, actions := Decide(Config{}, Restore(Facts{MaxDowntimeMilliseconds: 500}), Input{
			Sample: Sample{Memory: c.memory, Disk: Transfer{TotalBytes: gib}}, ForceComplete: true,
		})
		if len(actions) != c.want {
			t.Errorf("of %+v: %+v", c.memory, actions)
		}
	}
}

// TestLooksAtOnce: of two looks, the later one may be heard first. Of the other it stays true
// that the guest runs on the target; of two at the same time, both are heard.
func TestLooksAtOnce(t *testing.T) {
	t.Parallel()
	c := stepped(Config{CompletionTimeoutPerGiB: 10 * time.Second, AllowPostCopy: true})
	s, _ := Decide(c, Restore(Facts{MaxDowntimeMilliseconds: 500}), Input{Sample: Sample{Elapsed: 20 * time.Second}})
	_, actions := Decide(c, s, Input{Sample: look(20*time.Second, 1, 1, 900), ForceComplete: true})
	if len(actions) != 1 || actions[0].Kind != StartPostCopy {
		t.Errorf("a second look at once was not heard: %+v", actions)
	}
	if _, actions = Decide(c, s, Input{Sample: look(20*time.Second-1, 1, 1, 900), ForceComplete: true}); len(actions) > 0 {
		t.Errorf("an older look was taken for news: %+v", actions)
	}
	s, _ = Decide(c, s, Input{Sample: Sample{Elapsed: 19 * time.Second, PostCopy: true}})
	if s, actions = Decide(c, s, Input{Sample: Sample{Elapsed: time.Hour}}); len(actions) > 0 || !s.Facts().PostCopySeen {
		t.Errorf("it was forgotten that the guest runs on the target: %+v", actions)
	}
}

// TestNothingToAdopt: facts of which nothing is known are as good as none.
func TestNothingToAdopt(t *testing.T) {
	t.Parallel()
	fresh, adopted := State{}, Restore(Facts{})
	for pass := range int64(60) {
		in := Input{Sample: look(time.Duration(20+pass)*time.Second, 1+pass, 1+pass*10, 500-pass)}
		var one, other []Action
		fresh, one = Decide(Config{}, fresh, in)
		adopted, other = Decide(Config{}, adopted, in)
		if !slices.Equal(one, other) || fresh.Facts() != adopted.Facts() {
			t.Fatalf("pass %d: %+v and %+v, or %+v and %+v", pass, one, other, fresh.Facts(), adopted.Facts())
		}
	}
}

// TestWhatCountsAsCloser: the beginning of a pass has to leave a hundredth less than the least
// that one has left before.
func TestWhatCountsAsCloser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after int64
		closer        bool
	}{
		{1000, 990, true}, {1000, 991, false}, {1050, 1039, true}, {1050, 1040, false}, {199, 197, true}, {199, 198, false},
		{1000, 1000, false}, {0, 0, false}, {maxInt64, maxInt64/100*99 + 6, true}, {maxInt64, maxInt64/100*99 + 7, false},
	} {
		s := State{}
		for pass, remaining := range []int64{c.before, c.before, c.after} {
			s, _ = Decide(Config{}, s, Input{Sample: Sample{
				Elapsed: time.Duration(pass) * time.Second, Iteration: 2 + int64(pass),
				Memory: Transfer{TotalBytes: maxInt64, ProcessedBytes: 1 + int64(pass), RemainingBytes: remaining},
			}})
		}
		if got := s.Facts().ProgressAt == 2*time.Second; got != c.closer {
			t.Errorf("from %d to %d is closer: %t", c.before, c.after, got)
		}
	}
}
