package xmlrewrite

import "math/bits"

// Eight bytes of text are looked at as one number, whose lowest byte is the
// first. A test sets the top bit of a byte for its answer.
const (
	tops   = 0x8080808080808080
	ones   = 0x0101010101010101
	blanks = 0x2020202020202020
	feeds  = 0x0a0a0a0a0a0a0a0a
	lesses = 0x3c3c3c3c3c3c3c3c
)

// wordAt returns the eight bytes from there on.
func wordAt(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// leading returns how many bytes there are before the first that is not zero.
func leading(v uint64) int { return bits.TrailingZeros64(v) / 8 }

// zeros finds the first byte that is zero: it has its top bit set, and none
// before it does. Those behind it mean nothing.
func zeros(v uint64) uint64 { return (v - ones) &^ v & tops }

// valueEnd returns the offset of the first quote or less-than sign, or that of
// the end.
func valueEnd(s string, i int, quote byte) int {
	quotes := uint64(quote) * ones
	for len(s)-i >= 8 {
		v := wordAt(s, i)
		if found := zeros(v^quotes) | zeros(v^lesses); found != 0 {
			return i + leading(found)
		}
		i += 8
	}
	for i < len(s) && s[i] != quote && s[i] != '<' {
		i++
	}
	return i
}
