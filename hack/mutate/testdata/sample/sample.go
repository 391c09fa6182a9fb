// Package sample has mutants of all kinds, for the tests of their maker.
package sample

import "time"

// patience is a constant, which cannot be switched.
const patience = 2 * time.Second

func least(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func both(a, b bool) bool { return a && b }

func either(a, b bool) bool {
	return a ||
		b
}

func until(numbers []int, stop int) (sum, n int) {
	for i := 0; i < len(numbers); i++ {
		if numbers[i] == stop {
			break
		}
		sum += -numbers[i]
		n++
	}
	return -sum, n
}

func deadline(d time.Duration) time.Duration { return d + 2*time.Minute - patience }

func text(a string) string { return a + "!" }

func unused(a int) bool { return a >= 3 }
