package xmlrewrite

import (
	"math"
	"testing"
)

func TestNumbering(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		ids  []int
	}{
		{"counts up from zero", []int{0, 1, 2, 3}},
		{"counts up from elsewhere", []int{7, 8, 9}},
		{"has a gap", []int{0, 1, 3, 4}},
		{"counts down", []int{3, 2, 1, 0}},
		{"holds repetitions", []int{0, 1, 1, 2, 5, 0, 5, 3}},
		{"reaches the end of the numbers", []int{math.MaxInt - 1, math.MaxInt, math.MinInt, 0}},
		{"has negative numbers", []int{-2, -1, 0, -3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var n numbering
			model := map[int]int{}
			for _, id := range test.ids {
				_, twice := model[id]
				if n.add(id) == twice {
					t.Errorf("adding %d: twice is %t", id, twice)
				}
				if !twice {
					model[id] = len(model)
				}
			}
			for id := -5; id < 15; id++ {
				want, there := model[id]
				if got, ok := n.find(id); ok != there || (ok && got != want) {
					t.Errorf("%d is found at %d, %t; want %d, %t", id, got, ok, want, there)
				}
			}
			for id, want := range model {
				if got, ok := n.find(id); !ok || got != want {
					t.Errorf("%d is found at %d, %t; want %d", id, got, ok, want)
				}
			}
		})
	}
}
