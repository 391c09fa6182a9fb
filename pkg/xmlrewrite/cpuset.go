package xmlrewrite

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// span is a closed range of numbers.
type span struct{ low, high int }

// numberSet is a set of CPUs or NUMA nodes: ascending spans that do not touch.
type numberSet []span

// maxSetNumber bounds the numbers in a set.
const maxSetNumber = 1<<16 - 1

// parseSet reads a list such as "0-3,^2,8", as libvirt writes it.
func parseSet(text string) (numberSet, bool) {
	var set numberSet
	for i, more := 0, true; more; i++ {
		i = skipBlanks(text, i)
		negated := i < len(text) && text[i] == '^'
		if negated {
			i++
		}
		s, end, ok := parseSpan(text, i)
		i = skipBlanks(text, end)
		more = i < len(text)
		if !ok || s.high < s.low || (more && text[i] != ',') {
			return nil, false
		}
		if negated {
			set = set.without(s)
		} else {
			set = append(set, s)
		}
	}
	return set.normal(), len(set) > 0
}

func skipBlanks(text string, i int) int {
	return len(text) - len(strings.TrimLeft(text[i:], " \n\t\r"))
}

// parseSpan reads a number or a range, and returns where it ends.
func parseSpan(text string, i int) (span, int, bool) {
	low, i, ok := parseNumber(text, i)
	if !ok || i == len(text) || text[i] != '-' {
		return span{low, low}, i, ok
	}
	high, i, ok := parseNumber(text, i+1)
	return span{low, high}, i, ok
}

// parseNumber reads a number of at most maxSetNumber, and returns where it ends.
func parseNumber(text string, i int) (n, end int, ok bool) {
	for end = i; end < len(text) && text[end] >= '0' && text[end] <= '9' && n <= maxSetNumber; end++ {
		n = 10*n + int(text[end]-'0')
	}
	return n, end, end > i && n <= maxSetNumber
}

// normal sorts and merges.
func (s numberSet) normal() numberSet {
	if len(s) < 2 {
		return s
	}
	slices.SortFunc(s, func(a, b span) int { return cmp.Compare(a.low, b.low) })
	merged := s[:1]
	for _, next := range s[1:] {
		if last := &merged[len(merged)-1]; next.low <= last.high+1 {
			last.high = max(last.high, next.high)
		} else {
			merged = append(merged, next)
		}
	}
	return merged
}

func (s numberSet) without(out span) numberSet {
	var kept numberSet
	for _, in := range s {
		if in.low < out.low {
			kept = append(kept, span{in.low, min(in.high, out.low-1)})
		}
		if in.high > out.high {
			kept = append(kept, span{max(in.low, out.high+1), in.high})
		}
	}
	return kept
}

func (s numberSet) equal(other numberSet) bool { return slices.Equal(s, other) }

func (s numberSet) contains(n int) bool {
	return slices.ContainsFunc(s, func(in span) bool { return n >= in.low && n <= in.high })
}

// within reports whether every number is also in the other set.
func (s numberSet) within(other numberSet) bool {
	for _, in := range s {
		if !slices.ContainsFunc(other, func(o span) bool { return in.low >= o.low && in.high <= o.high }) {
			return false
		}
	}
	return true
}

func (s numberSet) highest() int {
	if len(s) == 0 {
		return -1
	}
	return s[len(s)-1].high
}

// String writes ascending numbers and ranges, such as "0-3,8".
func (s numberSet) String() string {
	var b strings.Builder
	for i, in := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(in.low))
		if in.high > in.low {
			b.WriteString("-" + strconv.Itoa(in.high))
		}
	}
	return b.String()
}

// setNumbers gives an attribute a set of numbers. It stays as it is if it already means
// the same, however it is written.
func setNumbers(n *xmltree.Node, name string, set numberSet) {
	if have, ok := parseSet(n.Value(name)); !ok || !have.equal(set) {
		n.SetAttr(name, set.String())
	}
}

// checkSet reads a set of the migrate data and reports a malformed one. The
// limit is the set of what the target has; nil means not known.
func (p *planner) checkSet(field *place, text, what string, limit numberSet) (numberSet, bool) {
	set, ok := parseSet(text)
	switch {
	case !ok || strings.Contains(text, "^"):
		p.report(ProblemInvalidValue, field, nil, `this must be a list of numbers and ascending ranges, such as "0-3,8"`)
	case limit != nil && !set.within(limit):
		p.report(ProblemConflict, field, nil, "the target does not have all of these "+what+"; it has "+limit.String())
	default:
		return set, true
	}
	return nil, false
}

// goodSet reads a set of the migrate data, and reports whether checkSet would have nothing
// to report.
func goodSet(text string, limit numberSet) (numberSet, bool) {
	set, ok := parseSet(text)
	return set, ok && !strings.Contains(text, "^") && (limit == nil || set.within(limit))
}

// targetSet reads a set among the facts about the target; nil if it is not known.
func targetSet(text string) numberSet {
	set, _ := parseSet(text)
	return set
}
