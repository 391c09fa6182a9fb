package pins

import (
	"fmt"
	"iter"
	"math/bits"
	"strconv"
	"strings"
)

// limit is one more than the highest number in a set: that of virtual CPUs in libvirt.
const limit = 1 << 14

// Set is a set of numbers: of CPUs, NUMA nodes, virtual CPUs. Sets can be compared.
type Set [limit / 64]uint64

// SetOf returns the set of these numbers; those that no set can hold are left out.
func SetOf(numbers ...int) Set {
	var s Set
	for _, n := range numbers {
		s.Add(n)
	}
	return s
}

// Parse reads a set as in 0-3,8; an empty text is an empty set.
func Parse(text string) (Set, error) {
	var s Set
	if text == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, errLow := strconv.ParseUint(first, 10, 16)
		high, errHigh := strconv.ParseUint(last, 10, 16)
		if errLow != nil || errHigh != nil || low > high || high >= limit {
			return Set{}, fmt.Errorf("%q is neither a number below %d nor a range of such, as in 0-3", part, limit)
		}
		for n := low; n <= high; n++ {
			s[n/64] |= 1 << (n % 64)
		}
	}
	return s, nil
}

// Add adds a number, if a set can hold it.
func (s *Set) Add(n int) {
	if n >= 0 && n < limit {
		s[n/64] |= 1 << (n % 64)
	}
}

// Has reports whether a number is in the set.
func (s *Set) Has(n int) bool { return n >= 0 && n < limit && s[n/64]&(1<<(n%64)) != 0 }

// And returns what is in both sets.
func (s Set) And(t Set) Set {
	for i := range s {
		s[i] &= t[i]
	}
	return s
}

// Or returns what is in either.
func (s Set) Or(t Set) Set {
	for i := range s {
		s[i] |= t[i]
	}
	return s
}

// Minus returns what is not in the other.
func (s Set) Minus(t Set) Set {
	for i := range s {
		s[i] &^= t[i]
	}
	return s
}

// Count returns how many there are.
func (s *Set) Count() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// Empty reports whether there is none.
func (s *Set) Empty() bool { return *s == Set{} }

// All yields the numbers in ascending order.
func (s *Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(i*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// String writes the set as in 0-3,8.
func (s Set) String() string {
	var b strings.Builder
	for n := range s.All() {
		if s.Has(n-1) && n > 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		last := n
		for s.Has(last + 1) {
			last++
		}
		b.WriteString(strconv.Itoa(n))
		if last > n {
			b.WriteString("-" + strconv.Itoa(last))
		}
	}
	return b.String()
}
