package agent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// highestCPU is the highest number that a CPU can have in Linux.
const highestCPU = 8191

// ParseCPUs reads CPUs, written as in 0-3,8, and writes them in order.
func ParseCPUs(text string) (string, error) {
	var cpus []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(last, 10, 16)
		if errA != nil || errB != nil || a > b || b > highestCPU {
			return "", fmt.Errorf("%q is neither the number of a CPU nor a range of them, such as 0-3", part)
		}
		for n := a; n <= b; n++ {
			cpus = append(cpus, int(n))
		}
	}
	slices.Sort(cpus)
	out := formatCPUs(slices.Compact(cpus))
	if len(out) > maxCPUList {
		return "", fmt.Errorf("it is longer than %d characters", maxCPUList)
	}
	return out, nil
}
