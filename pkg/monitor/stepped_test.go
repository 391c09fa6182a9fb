package monitor

import (
	"math/big"
	"slices"
	"testing"
	"testing/quick"
	"time"
)

const gib = 1 << 30

func TestScheduleIsNovas(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		want   []Step
	}{
		{
			name:   "Nova's own example",
			config: Config{MaxDowntimeMilliseconds: 400, Steps: 10, StepDelayPerGiB: 30 * time.Second, Size: Size{MemoryBytes: 3 * gib}},
			want: []Step{
				{0, 40},
				{90 * time.Second, 76},
				{180 * time.Second, 112},
				{270 * time.Second, 148},
				{360 * time.Second, 184},
				{450 * time.Second, 220},
				{540 * time.Second, 256},
				{630 * time.Second, 292},
				{720 * time.Second, 328},
				{810 * time.Second, 364},
				{900 * time.Second, 400},
			},
		},
		{
			name:   "what is zero has Nova's defaults, and a small guest counts as 2 GiB",
			config: Config{Steps: 3, Size: Size{MemoryBytes: gib / 4}},
			want:   []Step{{0, 166}, {150 * time.Second, 277}, {300 * time.Second, 388}, {450 * time.Second, 500}},
		},
		{
			name:   "disks count by what they hold, 2 GiB at least",
			config: Config{Steps: 3, StepDelayPerGiB: 10 * time.Second, Size: Size{MemoryBytes: 2 * gib, DiskBytes: []int64{10 * gib, 3 * gib / 2}}},
			want:   []Step{{0, 166}, {140 * time.Second, 277}, {280 * time.Second, 388}, {420 * time.Second, 500}},
		},
		{
			name:   "a part of a GiB counts",
			config: Config{Steps: 3, StepDelayPerGiB: 3 * time.Second, Size: Size{MemoryBytes: 5 * gib / 2}},
			want:   []Step{{0, 166}, {7500 * time.Millisecond, 277}, {15 * time.Second, 388}, {22500 * time.Millisecond, 500}},
		},
		{
			name:   "the last step is the whole maximum, where fractions would lose a millisecond",
			config: Config{MaxDowntimeMilliseconds: 100, Steps: 22, StepDelayPerGiB: time.Second, Size: Size{MemoryBytes: 2 * gib}},
			want: func() []Step {
				var steps []Step
				for i, ms := range []int64{4, 8, 13, 17, 21, 26, 30, 34, 39, 43, 47, 52, 56, 60, 65, 69, 73, 78, 82, 86, 91, 95, 100} {
					steps = append(steps, Step{At: time.Duration(i) * 2 * time.Second, Milliseconds: ms})
				}
				return steps
			}(),
		},
		{
			name:   "no more steps than milliseconds",
			config: Config{MaxDowntimeMilliseconds: 1, Steps: 10, StepDelayPerGiB: time.Second, Size: Size{MemoryBytes: 2 * gib}},
			want:   []Step{{0, 1}, {2 * time.Second, 1}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.config.Schedule().Steps(); !slices.Equal(got, tt.want) {
				t.Errorf("got %v,\nwant %v", got, tt.want)
			}
		})
	}
}

// TestScheduleIsExact compares with fractions of any size.
func TestScheduleIsExact(t *testing.T) {
	exact := func(maximum uint32, steps uint16) bool {
		c := Config{MaxDowntimeMilliseconds: 1 + int64(maximum)%maxDowntimeMilliseconds, Steps: 1 + int(steps)%1000, Size: Size{MemoryBytes: 4 * gib}}
		schedule := c.Schedule()
		all := schedule.Steps()
		for i, step := range all {
			share := new(big.Rat).SetFrac64(schedule.maximum, schedule.steps)
			rest := new(big.Rat).Sub(new(big.Rat).SetInt64(schedule.maximum), share)
			rest.Mul(rest, new(big.Rat).SetFrac64(int64(i), schedule.steps))
			sum := rest.Add(rest, share)
			floor := new(big.Int).Div(sum.Num(), sum.Denom()).Int64()
			if step.Milliseconds != max(1, floor) || schedule.At(step.At) != step.Milliseconds {
				return false
			}
			if i > 0 && (step.Milliseconds < all[i-1].Milliseconds || schedule.At(step.At-1) != all[i-1].Milliseconds) {
				return false
			}
		}
		return all[len(all)-1].Milliseconds == schedule.maximum
	}
	if err := quick.Check(exact, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

func TestTimeoutsAreScaledBySize(t *testing.T) {
	tests := []struct {
		name   string
		perGiB time.Duration
		size   Size
		want   time.Duration
	}{
		{"a small guest counts as 2 GiB", 800 * time.Second, Size{MemoryBytes: 128 << 20}, 1600 * time.Second},
		{"each GiB counts", 800 * time.Second, Size{MemoryBytes: 3 * gib}, 2400 * time.Second},
		{"disks count by their capacity", 100 * time.Second, Size{MemoryBytes: 2 * gib, DiskBytes: []int64{10 * gib, gib}}, 1400 * time.Second},
		{"parts of a GiB count to the millisecond below", time.Second, Size{MemoryBytes: 3*gib - 1}, 2999 * time.Millisecond},
		{"zero is for ever", 0, Size{MemoryBytes: 8 * gib}, 0},
		{"what is negative is for ever", -time.Second, Size{MemoryBytes: 8 * gib}, 0},
		{"what no duration holds is as good as for ever", maxInt64, Size{MemoryBytes: 8 * gib, DiskBytes: []int64{maxInt64, maxInt64}}, maxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Config{CompletionTimeoutPerGiB: tt.perGiB, Size: tt.size}).CompletionTimeout(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestBeforeTheFirstStep there is the first limit, and without a delay the last one at once.
func TestBeforeTheFirstStep(t *testing.T) {
	t.Parallel()
	delayed, atOnce := Config{StepDelayPerGiB: time.Second}.Schedule(), Config{StepDelayPerGiB: 1}.Schedule()
	for _, c := range []struct {
		schedule Schedule
		at       time.Duration
		want     int64
	}{{delayed, -time.Second, 50}, {delayed, 0, 50}, {delayed, 2*time.Second - 1, 50}, {delayed, 2 * time.Second, 95}, {atOnce, -1, 50}, {atOnce, 0, 500}} {
		if got := c.schedule.At(c.at); got != c.want {
			t.Errorf("%+v at %s: %d ms, want %d", c.schedule, c.at, got, c.want)
		}
	}
}
