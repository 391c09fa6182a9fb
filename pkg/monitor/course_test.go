package monitor

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// leg is a pass: how much it sends, how much of it is written to meanwhile, and how long it
// takes. The link carries 1000 bytes a millisecond, by which amounts are counted: what
// remains is then the downtime that it would cost.
type leg struct{ sent, written, took int64 }

// legs are passes that send all there is, at the speed of the link. What is listed remains at
// the beginning of each, and after the last.
func legs(remaining ...int64) []leg {
	var out []leg
	for i := 1; i < len(remaining); i++ {
		out = append(out, leg{remaining[i-1], remaining[i], remaining[i-1]})
	}
	return out
}

// evenly is what remains at the beginning of passes that stand still: the same each time.
func evenly(remaining int64, passes int) []leg {
	return legs(slices.Repeat([]int64{remaining}, passes+1)...)
}

// course is a job that is looked at when each of its passes begins.
type course struct {
	config Config
	facts  Facts
	legs   []leg
	// at tells what differs, by the pass that begins.
	at func(pass int64, in *Input)
	// fails are the actions that cannot be carried out, up to and with a pass.
	fails map[Kind]int64
}

// run returns the actions as "pass kind limit reason".
func (c course) run() (s State, all, messages []string) {
	s = Restore(c.facts)
	now, sent, remaining := int64(1000), int64(1), c.legs[0].sent
	for pass := int64(1); ; pass++ {
		in := Input{Sample: Sample{
			Elapsed: time.Duration(now) * time.Millisecond, Iteration: pass,
			Memory: Transfer{TotalBytes: gib, ProcessedBytes: sent * 1000, RemainingBytes: remaining * 1000},
		}}
		if c.at != nil {
			c.at(pass, &in)
		}
		var actions []Action
		s, actions = Decide(c.config, s, in)
		for _, a := range actions {
			text := fmt.Sprintf("%d %s", pass, a.Kind)
			if a.Kind == SetMaxDowntime {
				text += fmt.Sprintf(" %d", a.MaxDowntimeMilliseconds)
			}
			all, messages = append(all, text+" "+string(a.Reason)), append(messages, a.Message)
			if last, fails := c.fails[a.Kind]; fails && pass <= last {
				s = s.Failed(a, true)
			}
		}
		if pass > int64(len(c.legs)) {
			return s, all, messages
		}
		l := c.legs[pass-1]
		now, sent, remaining = now+l.took, sent+l.sent, remaining-l.sent+l.written
	}
}

// check compares the actions.
func (c course) check(t *testing.T, want ...string) {
	t.Helper()
	if _, got, messages := c.run(); !slices.Equal(got, want) {
		t.Errorf("got %q,\nwant %q: %q", got, want, messages)
	}
}

const (
	initial300 = "1 SetMaxDowntime 300 Initial"
	nearly     = "2 SetMaxDowntime 7920 Slow"
)

// seconds10 allows ten seconds of downtime, of which 9.9 are the ceiling, and 7.92 what is
// allowed for passes that are slow.
var seconds10 = Config{MaxDowntimeMilliseconds: 10000}

// TestWhatThePassesAreAllowed is about the limit that Adaptive sets, just below and just above
// what makes a difference.
func TestWhatThePassesAreAllowed(t *testing.T) {
	t.Parallel()
	bandwidth := func(_ int64, in *Input) { in.Sample.BandwidthBytesPerSecond = 1e6 }
	for _, c := range []struct {
		name   string
		course course
		want   []string
	}{
		{"the hypervisor switches over by itself at nine tenths of the limit", course{legs: legs(2000, 270)}, []string{initial300}},
		{"above, it is given a tenth more than it takes, and 20 ms", course{legs: legs(2000, 271)}, []string{initial300, "2 SetMaxDowntime 318 WithinReach"}},
		{"but no more than the ceiling", course{legs: legs(2000, 420)}, []string{initial300, "2 SetMaxDowntime 450 WithinReach"}},
		{"up to the ceiling", course{legs: legs(2000, 450)}, []string{initial300, "2 SetMaxDowntime 450 WithinReach"}},
		{"and nothing above it", course{legs: legs(2000, 451)}, []string{initial300}},
		{"a first pass in which the guest wrote nine tenths is slow", course{legs: legs(2000, 1800)}, []string{initial300, "2 SetMaxDowntime 360 Slow"}},
		{"one in which it wrote less is not", course{legs: legs(2000, 1799)}, []string{initial300}},
		{"what will remain after the first pass is not known before", course{facts: Facts{MaxDowntimeMilliseconds: 300}, legs: legs(400, 200), at: bandwidth}, nil},
		{"the reserve is 100 ms at most", course{config: seconds10, legs: legs(20000, 9900)}, []string{initial300, "2 SetMaxDowntime 9900 WithinReach"}},
		{"what is allowed already is not allowed again", course{config: seconds10, facts: Facts{MaxDowntimeMilliseconds: 9900}, legs: legs(20000, 9000)}, nil},
		{"a maximum of one millisecond is enough to begin with", course{config: Config{MaxDowntimeMilliseconds: 1}, legs: legs(20000, 1)}, []string{"1 SetMaxDowntime 1 Initial"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.course.check(t, c.want...)
		})
	}
}

// TestWhenAdaptiveGivesUp is about when it knows that there will be no end. Passes of more than
// four times the maximum are far out of reach.
func TestWhenAdaptiveGivesUp(t *testing.T) {
	t.Parallel()
	second := Config{MaxDowntimeMilliseconds: 1000}
	atTop := Facts{MaxDowntimeMilliseconds: 1000}
	throttle := func(percent int64) func(int64, *Input) {
		return func(_ int64, in *Input) { in.Sample.ThrottlePercent = percent }
	}
	converge := Config{MaxDowntimeMilliseconds: 1000, AutoConverge: true}
	const end = " Abort NotConverging"
	for _, c := range []struct {
		name   string
		course course
		want   []string
	}{
		{"three passes are enough where it is far out of reach", course{second, atTop, evenly(4000, 4), nil, nil}, []string{"5" + end}},
		{"and no fewer", course{second, atTop, evenly(4000, 3), nil, nil}, nil},
		{"it takes eight where it is not", course{second, atTop, evenly(3999, 9), nil, nil}, []string{"10" + end}},
		{"and no fewer", course{second, atTop, evenly(3999, 8), nil, nil}, nil},
		{"just above the maximum, chance may help for ever", course{second, atTop, evenly(1050, 12), nil, nil}, nil},
		{"a little higher, it will not", course{second, atTop, evenly(1051, 9), nil, nil}, []string{"10" + end}},
		{
			"nor up to twice the maximum, unless that is what is allowed",
			course{seconds10, Facts{MaxDowntimeMilliseconds: 8000}, evenly(19999, 9), nil, map[Kind]int64{SetMaxDowntime: 9}},
			[]string{"10 SetMaxDowntime 10000 Slow"},
		},
		{
			"from twice the maximum on, nearly the maximum is enough",
			course{seconds10, Facts{MaxDowntimeMilliseconds: 8000}, evenly(20000, 9), nil, map[Kind]int64{SetMaxDowntime: 9}},
			[]string{"10" + end},
		},
		{"the limit is raised before", course{seconds10, Facts{}, evenly(40000, 4), nil, nil}, []string{initial300, nearly, "5" + end}},
		{
			"two passes have to begin with it",
			course{seconds10, Facts{}, evenly(40000, 9), nil, map[Kind]int64{SetMaxDowntime: 5}},
			[]string{
				initial300, nearly, "3 SetMaxDowntime 7920 Slow", "4 SetMaxDowntime 7920 Slow",
				"5 SetMaxDowntime 7920 Slow", "6 SetMaxDowntime 7920 Slow", "8" + end,
			},
		},
		{"a guest that is not slowed down as far as can be gets more passes", course{converge, atTop, evenly(4000, 5), throttle(98), nil}, []string{"6" + end}},
		{"and no fewer", course{converge, atTop, evenly(4000, 4), throttle(98), nil}, nil},
		{"one that is does not", course{converge, atTop, evenly(4000, 4), throttle(99), nil}, []string{"5" + end}},
		{
			"what a guest did that is slowed down only now says nothing",
			course{second, atTop, evenly(4000, 7), func(pass int64, in *Input) { in.Sample.ThrottlePercent = pass / 4 * 20 }, nil},
			[]string{"7" + end},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.course.at == nil {
				c.course.at = func(int64, *Input) {}
			}
			c.course.check(t, c.want...)
		})
	}
}

// TestALinkThatChanges: what passes did over a link that was more than a quarter slower, or
// faster, says nothing about those to come. The first pass goes through all of the memory, and
// one that has sent nothing has measured nothing: with these, nothing is compared.
func TestALinkThatChanges(t *testing.T) {
	t.Parallel()
	same := leg{4000, 4000, 4000}
	for _, c := range []struct {
		name      string
		one, then leg
		want      string
	}{
		{"a quarter faster", same, leg{4000, 4000, 3200}, "5"},
		{"more than that", same, leg{4000, 4000, 3199}, "6"},
		{"a quarter slower", same, leg{3000, 3000, 4000}, "5"},
		{"more than that", same, leg{3000, 3000, 4001}, "6"},
		{"nothing was sent", leg{0, 0, 4000}, same, "5"},
	} {
		course{
			config: Config{MaxDowntimeMilliseconds: 100}, facts: Facts{MaxDowntimeMilliseconds: 100},
			legs: []leg{{4000, 4000, 9000}, c.one, c.then, c.then, c.then},
		}.check(t, c.want+" Abort NotConverging")
	}
}

// shrinking are passes of which each leaves a share of what it sends that grows evenly as they
// become shorter, up to a limit. Every second one leaves a little more than that.
func shrinking(limit, slope float64, passes int, more float64) []leg {
	remaining := []int64{9000, 8000}
	for i := range passes {
		y := float64(remaining[len(remaining)-1])
		share := limit - slope*y/1000
		if i%2 == 1 {
			share += more
		}
		remaining = append(remaining, int64(share*y))
	}
	return legs(remaining...)
}

// TestWherePassesLead: passes that still become shorter, and leave a greater share the shorter
// they are, are given up once it is sure enough that some will leave all that they send. A
// migration that would have to begin anew is given up later than one that can be forced.
func TestWherePassesLead(t *testing.T) {
	t.Parallel()
	refused := map[Kind]int64{StartPostCopy: 1, Pause: 2}
	asked := func(pass int64, in *Input) { in.ForceComplete = pass < 3 }
	for _, c := range []struct {
		name   string
		config Config
		legs   []leg
		at     func(int64, *Input)
		want   []string
	}{
		{"not yet sure enough to give up", Config{}, shrinking(1.047, 0.05, 3, 0), nil, nil},
		{"sure enough", Config{}, shrinking(1.048, 0.05, 3, 0), nil, []string{"5 Abort NotConverging"}},
		{"another pass makes it surer", Config{}, shrinking(1.034, 0.05, 4, 0), nil, []string{"6 Abort NotConverging"}},
		{"but not for less", Config{}, shrinking(1.033, 0.05, 4, 0), nil, nil},
		{"not yet sure enough to pause", Config{AllowPause: true}, shrinking(1.03, 0.05, 3, 0), nil, nil},
		{"sure enough to pause", Config{AllowPause: true}, shrinking(1.031, 0.05, 3, 0), nil, []string{"5 Pause NotConverging"}},
		{"sure enough to switch", Config{AllowPostCopy: true}, shrinking(1.031, 0.05, 3, 0), nil, []string{"5 StartPostCopy NotConverging"}},
		{"not yet sure enough with passes that scatter", Config{}, shrinking(1.003, 0.05, 4, 0.05), nil, nil},
		{"sure enough with these", Config{}, shrinking(1.004, 0.05, 4, 0.05), nil, []string{"6 Abort NotConverging"}},
		{
			"where neither works, only the end is left", Config{AllowPostCopy: true, AllowPause: true}, shrinking(1.047, 0.05, 3, 0), asked,
			[]string{"1 StartPostCopy Requested", "2 Pause Requested"},
		},
		{
			"and comes when that is sure enough", Config{AllowPostCopy: true, AllowPause: true}, shrinking(1.048, 0.05, 3, 0), asked,
			[]string{"1 StartPostCopy Requested", "2 Pause Requested", "5 Abort NotConverging"},
		},
		{
			"so it is where no pause is allowed", Config{AllowPostCopy: true}, shrinking(1.047, 0.05, 3, 0), asked,
			[]string{"1 StartPostCopy Requested", "2 Pause Requested"},
		},
		{"passes that grow by the same share each time say nothing yet", Config{}, legs(500, 1000, 1500, 2250, 3375), nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.config.MaxDowntimeMilliseconds = 1000
			course{c.config, Facts{MaxDowntimeMilliseconds: 1000}, c.legs, c.at, refused}.check(t, c.want...)
		})
	}
}

// TestWhyAdaptiveGivesUp: who has to do something about a guest gets the numbers.
func TestWhyAdaptiveGivesUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		legs     []leg
		throttle int64
		want     string
	}{
		{
			// The passes that are foreseen will leave 1.048 of what they send.
			"where the passes lead", shrinking(1.048, 0.05, 3, 0), 0,
			"the guest writes 1023 KiB/s, and the link carries 976 KiB/s; after 4 passes 3.3 MiB remain, which would take 3.4 s of downtime, but only 1.0 s are allowed",
		},
		{
			"what they left", []leg{{4000, 4000, 4000}, {8000, 9000, 8000}, {8000, 7600, 8000}, {6000, 6300, 6000}}, 0,
			"the guest writes 1016 KiB/s, and the link carries 976 KiB/s; after 4 passes 4.7 MiB remain, which would take 4.9 s of downtime, but only 1.0 s are allowed",
		},
		{
			"a guest that has been slowed down", evenly(4000, 4), 99,
			"the guest writes 976 KiB/s, and the link carries 976 KiB/s; after 4 passes 3.8 MiB remain, which would take 4.0 s of downtime, but only 1.0 s are allowed, although its CPUs are already slowed down by 99 %",
		},
	} {
		_, _, got := course{
			config: Config{MaxDowntimeMilliseconds: 1000}, facts: Facts{MaxDowntimeMilliseconds: 1000}, legs: c.legs,
			at: func(_ int64, in *Input) { in.Sample.ThrottlePercent = c.throttle },
		}.run()
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q,\nwant %q", c.name, got, c.want)
		}
	}
}

// TestHardlyOutOfReach: a copy that stands still just above the maximum may come below it by
// chance, so it is not given up. One that may be forced is: chance may take half an hour.
func TestHardlyOutOfReach(t *testing.T) {
	t.Parallel()
	atTop := Facts{MaxDowntimeMilliseconds: 1000}
	for _, c := range []struct {
		name   string
		config Config
		remain int64
		want   []string
	}{
		{"only an abort is left", Config{MaxDowntimeMilliseconds: 1000}, 1050, nil},
		{"only an abort is left, further off", Config{MaxDowntimeMilliseconds: 1000}, 1051, []string{"10 Abort NotConverging"}},
		{"post-copy is allowed", Config{MaxDowntimeMilliseconds: 1000, AllowPostCopy: true}, 1010, []string{"10 StartPostCopy NotConverging"}},
		{"a pause is allowed", Config{MaxDowntimeMilliseconds: 1000, AllowPause: true}, 1010, []string{"10 Pause NotConverging"}},
		{"it is within reach", Config{MaxDowntimeMilliseconds: 1000, AllowPostCopy: true}, 1000, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			course{config: c.config, facts: atTop, legs: evenly(c.remain, 9)}.check(t, c.want...)
		})
	}
}
