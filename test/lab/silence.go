//go:build linux

package lab

import "time"

// Silence is a time in which a signal did not come.
type Silence struct{ From, To time.Time }

// Length is how long it was.
func (s Silence) Length() time.Duration { return s.To.Sub(s.From) }

// LongestSilence returns the longest time between two arrivals of a signal that is at least
// partly in [from, to]. What begins before the first arrival begins at from, and what has
// not ended ends at to.
func (c *Contact) LongestSilence(signal Signal, from, to time.Time) Silence {
	return longestSilence(c.Arrivals(signal), from, to)
}

func longestSilence(arrivals []time.Time, from, to time.Time) Silence {
	var longest Silence
	before := from
	for _, at := range arrivals {
		s := Silence{From: before, To: at}
		before = at
		if s.From.Before(to) && s.To.After(from) && s.Length() > longest.Length() {
			longest = s
		}
	}
	if s := (Silence{From: before, To: to}); s.Length() > longest.Length() {
		longest = s
	}
	return longest
}
