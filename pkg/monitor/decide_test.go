package monitor

import (
	"slices"
	"testing"
	"time"
)

const mib = 1 << 20

// look is a sample of a job that copies memory, pass by pass.
func look(at time.Duration, pass, sentMiB, leftMiB int64) Sample {
	return Sample{
		Elapsed: at, Iteration: pass,
		Memory: Transfer{TotalBytes: 1024 * mib, ProcessedBytes: sentMiB * mib, RemainingBytes: leftMiB * mib},
	}
}

// script is a job as it is seen: a sample a second, of which at tells what differs.
type script struct {
	config Config
	facts  *Facts // What to begin with.
	span   time.Duration
	at     func(second int64, in *Input)
	// fails are the actions that cannot be carried out.
	fails []Kind
}

// run returns the actions with the second at which they were asked for.
func (s script) run() (State, []timed) {
	var state State
	if s.facts != nil {
		state = Restore(*s.facts)
	}
	var all []timed
	for second := range int64(s.span / time.Second) {
		// A saw-tooth that comes no closer: passes of five seconds.
		at := time.Duration(second) * time.Second
		in := Input{Sample: look(at, 1+second/5, 1+second*10, 500-second%5*10)}
		if s.at != nil {
			s.at(second, &in)
		}
		var actions []Action
		state, actions = Decide(s.config, state, in)
		for _, a := range actions {
			all = append(all, timed{second, a.Kind, a.MaxDowntimeMilliseconds, a.Reason})
			if slices.Contains(s.fails, a.Kind) {
				state = state.Failed(a, true)
			}
		}
	}
	return state, all
}

type timed struct {
	second int64
	kind   Kind
	limit  int64
	reason Reason
}

// stepped keeps the strategy out of what is tested: one step, at once.
func stepped(c Config) Config {
	c.Strategy, c.Steps = StrategyStepped, 1
	c.Size.MemoryBytes = 2 * gib
	return c
}

var first = timed{0, SetMaxDowntime, 500, ReasonInitial}

func TestDecisions(t *testing.T) {
	paused := func(from int64) func(int64, *Input) {
		return func(second int64, in *Input) { in.Sample.GuestPaused = second >= from }
	}
	request := func(from int64) func(int64, *Input) {
		return func(second int64, in *Input) { in.ForceComplete = second >= from }
	}
	both := func(changes ...func(int64, *Input)) func(int64, *Input) {
		return func(second int64, in *Input) {
			for _, change := range changes {
				change(second, in)
			}
		}
	}
	blind := func(_ int64, in *Input) { in.Sample = Sample{Elapsed: in.Sample.Elapsed} }
	tests := []struct {
		name   string
		script script
		want   []timed
	}{
		{
			name:   "the completion timeout aborts, once, when it has passed",
			script: script{config: Config{CompletionTimeoutPerGiB: 10 * time.Second}, span: time.Minute},
			want:   []timed{first, {21, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name:   "timeouts do not depend on a hypervisor that answers",
			script: script{config: Config{CompletionTimeoutPerGiB: 10 * time.Second}, span: time.Minute, at: blind},
			want:   []timed{first, {21, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name: "a size that was seen is not forgotten when the hypervisor is silent",
			script: script{config: Config{CompletionTimeoutPerGiB: 10 * time.Second}, span: time.Minute, at: func(second int64, in *Input) {
				in.Sample.Memory.TotalBytes = 4 * gib
				if second > 10 {
					in.Sample = Sample{Elapsed: in.Sample.Elapsed}
				}
			}},
			want: []timed{first, {41, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name:   "a job that is to keep going does",
			script: script{config: Config{CompletionTimeoutPerGiB: time.Second, ProgressTimeout: time.Second, OnTimeout: TimeoutKeepGoing}, span: time.Minute},
			want:   []timed{first},
		},
		{
			name:   "to force completion is to pause where there is no post-copy",
			script: script{config: Config{CompletionTimeoutPerGiB: 5 * time.Second, OnTimeout: TimeoutForceComplete}, span: 30 * time.Second, at: paused(12)},
			want:   []timed{first, {11, Pause, 0, ReasonCompletionTimeout}},
		},
		{
			name:   "and to switch where there is, and then to wait",
			script: script{config: Config{CompletionTimeoutPerGiB: 5 * time.Second, OnTimeout: TimeoutForceComplete, AllowPostCopy: true}, span: time.Hour, at: func(second int64, in *Input) { in.Sample.PostCopy = second > 11 }},
			want:   []timed{first, {11, StartPostCopy, 0, ReasonCompletionTimeout}},
		},
		{
			name:   "a switch that fails gives way to a pause, and that to the end",
			script: script{config: Config{CompletionTimeoutPerGiB: 5 * time.Second, OnTimeout: TimeoutForceComplete, AllowPostCopy: true}, span: time.Minute, fails: []Kind{StartPostCopy, Pause}},
			want:   []timed{first, {11, StartPostCopy, 0, ReasonCompletionTimeout}, {12, Pause, 0, ReasonCompletionTimeout}, {13, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name:   "so does a switch, and a pause, that nobody sees the effect of",
			script: script{config: Config{CompletionTimeoutPerGiB: 5 * time.Second, OnTimeout: TimeoutForceComplete, AllowPostCopy: true}, span: time.Minute},
			want:   []timed{first, {11, StartPostCopy, 0, ReasonCompletionTimeout}, {21, Pause, 0, ReasonCompletionTimeout}, {31, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name: "a guest that stands paused for too long is let go",
			script: script{config: Config{CompletionTimeoutPerGiB: 50 * time.Second, OnTimeout: TimeoutForceComplete}, span: 5 * time.Minute,
				at: paused(102)},
			want: []timed{first, {101, Pause, 0, ReasonCompletionTimeout}, {201, Abort, 0, ReasonPauseTimeout}},
		},
		{
			name: "and so is one for which nothing flows",
			script: script{config: Config{CompletionTimeoutPerGiB: 50 * time.Second, OnTimeout: TimeoutForceComplete}, span: 5 * time.Minute,
				at: both(paused(102), func(second int64, in *Input) { in.Sample.Memory.ProcessedBytes = min(second, 110) * mib })},
			want: []timed{first, {101, Pause, 0, ReasonCompletionTimeout}, {140, Abort, 0, ReasonPauseTimeout}},
		},
		{
			name:   "a request pauses without leave",
			script: script{span: 30 * time.Second, at: both(request(7), paused(8))},
			want:   []timed{first, {7, Pause, 0, ReasonRequested}},
		},
		{
			name:   "a request switches at once, even in the first pass",
			script: script{config: Config{AllowPostCopy: true}, span: 8 * time.Second, at: request(2)},
			want:   []timed{first, {2, StartPostCopy, 0, ReasonRequested}},
		},
		{
			name: "a request waits for the disks",
			script: script{config: Config{AllowPostCopy: true}, span: 15 * time.Second, at: both(request(0), func(second int64, in *Input) {
				if second < 9 {
					in.Sample = Sample{Elapsed: in.Sample.Elapsed, Disk: Transfer{TotalBytes: gib, ProcessedBytes: second * mib, RemainingBytes: gib - second*mib}}
				}
			})},
			want: []timed{first, {9, StartPostCopy, 0, ReasonRequested}},
		},
		{
			name:   "a request of which nothing works does not end the migration",
			script: script{config: Config{AllowPostCopy: true}, span: time.Minute, at: request(7), fails: []Kind{StartPostCopy, Pause}},
			want:   []timed{first, {7, StartPostCopy, 0, ReasonRequested}, {8, Pause, 0, ReasonRequested}},
		},
		{
			name:   "nor does a late one, and a switch of which nothing is seen gives way to a pause",
			script: script{config: Config{AllowPostCopy: true}, span: time.Minute, at: both(request(17), paused(28))},
			want:   []timed{first, {17, StartPostCopy, 0, ReasonRequested}, {27, Pause, 0, ReasonRequested}},
		},
		{
			name: "a guest that stands still for its switch-over, after a switch that failed, is let be as long as it gets on",
			script: script{config: Config{ProgressTimeout: 30 * time.Second, AllowPostCopy: true, OnTimeout: TimeoutForceComplete}, span: 44 * time.Second,
				at: both(paused(36), func(second int64, in *Input) {
					if second >= 36 {
						in.Sample = look(in.Sample.Elapsed, second, second*10, 100-second)
						in.Sample.GuestPaused = true
					}
				}), fails: []Kind{StartPostCopy}},
			want: []timed{first, {35, StartPostCopy, 0, ReasonProgressTimeout}},
		},
		{
			name: "a guest that its user has paused once is no guest that was paused for its migration",
			script: script{config: Config{CompletionTimeoutPerGiB: 10 * time.Second, OnTimeout: TimeoutForceComplete}, span: time.Minute,
				at: func(second int64, in *Input) { in.Sample.GuestPaused = second < 10 }},
			want: []timed{first, {21, Pause, 0, ReasonCompletionTimeout}, {31, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name:   "a guest that stands still at its timeout is waited for",
			script: script{config: Config{CompletionTimeoutPerGiB: 10 * time.Second, OnTimeout: TimeoutForceComplete, AllowPostCopy: true}, span: time.Minute, at: paused(0)},
			want:   []timed{first},
		},
		{
			name:   "but not where it comes no closer",
			script: script{config: Config{ProgressTimeout: 30 * time.Second, OnTimeout: TimeoutForceComplete, AllowPostCopy: true}, span: time.Minute, at: paused(0)},
			want:   []timed{first, {35, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name: "disks and memory that flow as fast are no standstill of a guest that is paused",
			script: script{config: Config{CompletionTimeoutPerGiB: 25 * time.Second, OnTimeout: TimeoutForceComplete}, span: 4 * time.Minute,
				at: both(paused(102), func(second int64, in *Input) {
					in.Sample.Disk = Transfer{TotalBytes: 1, ProcessedBytes: in.Sample.Memory.ProcessedBytes}
				})},
			want: []timed{first, {101, Pause, 0, ReasonCompletionTimeout}, {201, Abort, 0, ReasonPauseTimeout}},
		},
		{
			name: "disks that are known only later make progress as well",
			script: script{config: Config{ProgressTimeout: 30 * time.Second}, span: 2 * time.Minute, at: func(second int64, in *Input) {
				in.Sample = Sample{Elapsed: in.Sample.Elapsed, Memory: Transfer{TotalBytes: gib}}
				if second > 0 {
					in.Sample.Disk = Transfer{TotalBytes: gib, ProcessedBytes: second * mib, RemainingBytes: gib - second*mib}
				}
			}},
			want: []timed{first},
		},
		{
			name: "a request goes before the end where a switch for another reason fails",
			script: script{config: Config{ProgressTimeout: 30 * time.Second, AllowPostCopy: true, OnTimeout: TimeoutForceComplete},
				span: time.Minute, at: both(request(36), paused(46)), fails: []Kind{StartPostCopy}},
			want: []timed{first, {35, StartPostCopy, 0, ReasonProgressTimeout}, {36, Pause, 0, ReasonRequested}},
		},
		{
			name:   "a guest that its user has paused is not paused again, nor switched",
			script: script{config: Config{AllowPostCopy: true}, span: time.Minute, at: both(request(7), paused(0))},
			want:   []timed{first},
		},
		{
			name:   "but it is as soon as it runs again",
			script: script{span: 25 * time.Second, at: both(request(7), func(second int64, in *Input) { in.Sample.GuestPaused = second < 20 })},
			want:   []timed{first, {20, Pause, 0, ReasonRequested}},
		},
		{
			name: "a pause that was refused is none, though the guest stands still for its switch-over",
			script: script{config: Config{CompletionTimeoutPerGiB: 300 * time.Second, OnTimeout: TimeoutKeepGoing}, span: 900 * time.Second,
				at: both(request(7), func(second int64, in *Input) { in.Sample.GuestPaused = second >= 800 }), fails: []Kind{Pause}},
			want: []timed{first, {7, Pause, 0, ReasonRequested}},
		},
		{
			name: "one that takes effect late has its time from then on",
			script: script{config: Config{CompletionTimeoutPerGiB: 20 * time.Second, OnTimeout: TimeoutKeepGoing}, span: 200 * time.Second,
				at: both(request(7), paused(100))},
			want: []timed{first, {7, Pause, 0, ReasonRequested}, {160, Abort, 0, ReasonPauseTimeout}},
		},
		{
			name:   "a saw-tooth is no progress",
			script: script{config: Config{ProgressTimeout: 30 * time.Second}, span: 2 * time.Minute},
			want:   []timed{first, {35, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name:   "a short timeout acts when it has passed, not passes later",
			script: script{config: Config{ProgressTimeout: time.Second}, span: time.Minute},
			want:   []timed{first, {6, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name:   "so does one whose action is to complete",
			script: script{config: Config{ProgressTimeout: time.Second, OnTimeout: TimeoutForceComplete}, span: 20 * time.Second, at: paused(7)},
			want:   []timed{first, {6, Pause, 0, ReasonProgressTimeout}},
		},
		{
			name: "a pass that gains something is given its time, and the first that gains nothing is not",
			script: script{config: Config{ProgressTimeout: time.Second}, span: time.Minute, at: func(second int64, in *Input) {
				pass := second / 10
				in.Sample = look(in.Sample.Elapsed, 1+pass, 1+second*10, max(500-pass*100, 200)-second%10)
			}},
			want: []timed{first, {40, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name: "one long pass is, as long as it flows",
			script: script{config: Config{ProgressTimeout: 30 * time.Second}, span: 10 * time.Minute, at: func(second int64, in *Input) {
				in.Sample = look(in.Sample.Elapsed, 2, second, 1000-second)
			}},
			want: []timed{first},
		},
		{
			name: "and no longer",
			script: script{config: Config{ProgressTimeout: 30 * time.Second}, span: 10 * time.Minute, at: func(second int64, in *Input) {
				second = min(second, 99)
				in.Sample = look(in.Sample.Elapsed, 2, second, 1000-second)
			}},
			want: []timed{first, {130, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name: "disks that come no closer are no progress, however much is copied",
			script: script{config: Config{ProgressTimeout: 30 * time.Second}, span: 10 * time.Minute, at: func(second int64, in *Input) {
				left := max(gib-second*10*mib, gib/2) + second%7*mib
				in.Sample = Sample{Elapsed: in.Sample.Elapsed, Disk: Transfer{TotalBytes: gib, ProcessedBytes: second * 10 * mib, RemainingBytes: left}}
			}},
			want: []timed{first, {87, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name: "disks that do are, whatever the memory does",
			script: script{config: Config{ProgressTimeout: 30 * time.Second}, span: 3 * time.Minute, at: func(second int64, in *Input) {
				in.Sample.Disk = Transfer{TotalBytes: gib, ProcessedBytes: second * mib, RemainingBytes: gib - second*mib}
			}},
			want: []timed{first},
		},
		{
			name: "a guest that is slowed down more and more makes progress",
			script: script{config: Config{ProgressTimeout: 30 * time.Second, AutoConverge: true}, span: 80 * time.Second, at: func(second int64, in *Input) {
				in.Sample.ThrottlePercent = min(99, second)
			}},
			want: []timed{first},
		},
		{
			name:   "a setup that hangs makes none",
			script: script{config: Config{ProgressTimeout: 30 * time.Second}, span: time.Minute, at: blind},
			want:   []timed{first, {31, Abort, 0, ReasonProgressTimeout}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.script.config = stepped(tt.script.config)
			if _, got := tt.script.run(); !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

// TestLimits is about the limit of the downtime alone.
func TestLimits(t *testing.T) {
	tenSteps := Config{Strategy: StrategyStepped, MaxDowntimeMilliseconds: 400, Steps: 4, StepDelayPerGiB: 5 * time.Second, Size: Size{MemoryBytes: 2 * gib}}
	c := tenSteps
	s, actions := Decide(c, State{}, Input{Sample: look(0, 1, 1, 900)})
	wantLimit(t, actions, 100, ReasonInitial)
	s, actions = Decide(c, s, Input{Sample: look(11*time.Second, 1, 2, 900)})
	wantLimit(t, actions, 175, ReasonStep)
	s, actions = Decide(c, s.Failed(actions[0], true), Input{Sample: look(11*time.Second, 1, 2, 900)})
	wantLimit(t, actions, 0, "") // Not before a second has passed.
	s, actions = Decide(c, s, Input{Sample: look(12*time.Second, 1, 3, 900)})
	wantLimit(t, actions, 175, ReasonStep)
	s, actions = Decide(c, s, Input{Sample: look(13*time.Second, 1, 3, 900)})
	wantLimit(t, actions, 0, "")
	c.MaxDowntimeMilliseconds = 150
	s, actions = Decide(c, s, Input{Sample: look(14*time.Second, 1, 3, 900)})
	wantLimit(t, actions, 150, ReasonMaximumLowered)
	c.MaxDowntimeMilliseconds = 1000
	s, actions = Decide(c, s, Input{Sample: look(15*time.Second, 1, 3, 900)})
	wantLimit(t, actions, 437, ReasonStep)
	c.MaxDowntimeMilliseconds = 500 // Its schedule is below what holds by now.
	s, actions = Decide(c, s, Input{Sample: look(16*time.Second, 1, 3, 900)})
	wantLimit(t, actions, 0, "")
	s, actions = Decide(c, Restore(s.Facts()), Input{Sample: look(time.Hour, 1, 3, 900)})
	wantLimit(t, actions, 500, ReasonStep)
	_, actions = Decide(Config{MaxDowntimeMilliseconds: 90}, State{}, Input{})
	wantLimit(t, actions, 90, ReasonInitial)
	_, actions = Decide(Config{MaxDowntimeMilliseconds: 90}, Restore(s.Facts()), Input{})
	wantLimit(t, actions, 90, ReasonMaximumLowered)
}

func wantLimit(t *testing.T, actions []Action, milliseconds int64, reason Reason) {
	t.Helper()
	var got Action
	if len(actions) > 0 {
		got = actions[0]
	}
	if len(actions) > 1 || got.MaxDowntimeMilliseconds != milliseconds || got.Reason != reason {
		t.Errorf("got %+v, want %d ms for %q", actions, milliseconds, reason)
	}
}

// TestAdoption: whoever takes over keeps the deadlines, and asks once more for what
// was ordered but shows no effect.
func TestAdoption(t *testing.T) {
	from := func(second int64) func(int64, *Input) {
		return func(at int64, in *Input) { in.Sample.Elapsed += time.Duration(second) * time.Second }
	}
	forced := Config{CompletionTimeoutPerGiB: 50 * time.Second, OnTimeout: TimeoutForceComplete, AllowPostCopy: true}
	order := func(second int64) Order {
		return Order{Ordered: true, At: time.Duration(second) * time.Second, Reason: ReasonCompletionTimeout}
	}
	tests := []struct {
		name   string
		config Config
		facts  Facts
		at     func(int64, *Input)
		want   []timed
	}{
		{
			name:   "the completion timeout goes on",
			config: Config{CompletionTimeoutPerGiB: 50 * time.Second}, at: from(90),
			want: []timed{{11, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name:   "the progress timeout goes on",
			config: Config{ProgressTimeout: 40 * time.Second}, facts: Facts{ProgressAt: 60 * time.Second},
			at: func(second int64, in *Input) {
				in.Sample = look(time.Duration(90+second)*time.Second, 7, 5, 100)
			},
			// That something flowed just before is all that a newcomer sees at first.
			want: []timed{{41, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name:   "the progress timeout goes on through a saw-tooth, once it is seen to be one",
			config: Config{ProgressTimeout: 40 * time.Second}, facts: Facts{ProgressAt: 60 * time.Second, LowestPassBytes: 500 * mib},
			at: func(_ int64, in *Input) {
				in.Sample.Elapsed += 90 * time.Second
				in.Sample.Iteration += 18
			},
			want: []timed{{11, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name:   "a pass that is long, and was under way before, is no standstill",
			config: Config{ProgressTimeout: 40 * time.Second}, facts: Facts{ProgressAt: time.Second},
			at: func(second int64, in *Input) {
				in.Sample = look(time.Duration(90+second)*time.Second, 7, 5+second, 100-second)
			},
		},
		{
			name:   "what the job achieved while nobody watched is progress",
			config: Config{ProgressTimeout: 40 * time.Second}, facts: Facts{ProgressAt: 60 * time.Second, LowestPassBytes: 600 * mib},
			at: func(_ int64, in *Input) {
				in.Sample.Elapsed += 150 * time.Second
				in.Sample.Iteration += 18
			},
			want: []timed{{46, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name:   "disks that are copied already are none",
			config: Config{ProgressTimeout: 40 * time.Second}, facts: Facts{ProgressAt: 60 * time.Second, LowestPassBytes: 400 * mib},
			at: func(_ int64, in *Input) {
				in.Sample.Elapsed += 90 * time.Second
				in.Sample.Iteration += 18
				in.Sample.Disk = Transfer{TotalBytes: gib, ProcessedBytes: gib}
			},
			want: []timed{{11, Abort, 0, ReasonProgressTimeout}},
		},
		{
			name:   "disks that come closer do so for whoever takes over, too",
			config: Config{ProgressTimeout: 40 * time.Second}, facts: Facts{ProgressAt: 60 * time.Second},
			at: func(second int64, in *Input) {
				in.Sample.Elapsed += 90 * time.Second
				in.Sample.Disk = Transfer{TotalBytes: gib, ProcessedBytes: second * mib, RemainingBytes: gib - second*mib}
			},
		},
		{
			name: "a switch that was not carried out is asked for again, and keeps its deadline", config: forced,
			facts: Facts{PostCopy: order(101)}, at: from(102),
			want: []timed{{2, StartPostCopy, 0, ReasonCompletionTimeout}, {9, Pause, 0, ReasonCompletionTimeout}, {19, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name: "a pause that holds is not asked for again, and keeps its deadline", config: forced,
			facts: Facts{PostCopy: Order{Ordered: true, Failed: true}, Pause: order(101)},
			at: func(second int64, in *Input) {
				in.Sample.Elapsed += 170 * time.Second
				in.Sample.GuestPaused = true
			},
			want: []timed{{31, Abort, 0, ReasonPauseTimeout}},
		},
		{
			name: "the end is asked for again", config: forced, facts: Facts{Abort: order(101)}, at: from(110),
			want: []timed{{0, Abort, 0, ReasonCompletionTimeout}},
		},
		{
			name: "what runs on the target is let be", config: forced, facts: Facts{PostCopy: order(101), PostCopySeen: true}, at: from(500),
		},
		{
			name: "a request that was carried out is none any more", facts: Facts{ForceCompleteTaken: true, Pause: Order{Ordered: true, Failed: true, Reason: ReasonRequested}},
			at: func(second int64, in *Input) { in.ForceComplete = true },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.facts.MaxDowntimeMilliseconds = 500
			if _, got := (script{config: stepped(tt.config), facts: &tt.facts, span: 50 * time.Second, at: tt.at}).run(); !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}
