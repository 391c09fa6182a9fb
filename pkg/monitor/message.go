package monitor

import (
	"fmt"
	"time"
)

// formatBytes formats as people do: three digits or so, in the unit that fits.
func formatBytes(n int64) string {
	const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30
	switch {
	case n >= gib:
		return fmt.Sprintf("%.1f GiB", float64(n)/gib)
	case n >= 10*mib:
		return fmt.Sprintf("%d MiB", n/mib)
	case n >= mib:
		return fmt.Sprintf("%.1f MiB", float64(n)/mib)
	}
	return fmt.Sprintf("%d KiB", max(n, 0)/kib)
}

func formatRate(bytesPerSecond int64) string { return formatBytes(bytesPerSecond) + "/s" }

func formatMillis(n int64) string {
	if n >= 1000 {
		return fmt.Sprintf("%.1f s", float64(n)/1000)
	}
	return fmt.Sprintf("%d ms", n)
}

// formatSpan formats how long something takes that is not measured in fractions
// of a second.
func formatSpan(d time.Duration) string {
	if d < 10*time.Second {
		return d.Truncate(100 * time.Millisecond).String()
	}
	return d.Truncate(time.Second).String()
}

// left says what remains of the job.
func left(s Sample) string {
	memory := formatBytes(s.Memory.RemainingBytes) + " of memory"
	disk := formatBytes(s.Disk.RemainingBytes) + " of disks"
	switch {
	case !s.known():
		return "and the hypervisor does not say how much remains"
	case s.Disk.RemainingBytes > 0 && s.Memory.TotalBytes > 0:
		return memory + " and " + disk + " remain"
	case s.Disk.RemainingBytes > 0:
		return disk + " remain"
	}
	return memory + " remain"
}
