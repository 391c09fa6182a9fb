package monitor

import "time"

const (
	// linkWindow is how long a measurement of the bandwidth takes at least: QEMU
	// sends in bursts of a tenth of a second, and a switch buffers some more.
	linkWindow = 500 * time.Millisecond
	// linkWindows is how many measurements count.
	linkWindows = 8
)

// link measures the bandwidth.
type link struct {
	since     time.Duration
	processed int64
	begun     bool
	rates     [linkWindows]int64
	count     int
	// reported is what the hypervisor says, until there is a measurement.
	reported int64
}

// observe takes a sample in.
func (l link) observe(s Sample) link {
	l.reported = s.BandwidthBytesPerSecond
	if !s.copiesMemory() {
		return l
	}
	took, sent := s.Elapsed-l.since, s.Memory.ProcessedBytes-l.processed
	if !l.begun || sent < 0 {
		l.begun, l.since, l.processed = true, s.Elapsed, s.Memory.ProcessedBytes
		return l
	}
	if took < linkWindow {
		return l
	}
	l.rates[l.count%linkWindows] = int64(float64(sent) / took.Seconds())
	l.count++
	l.since, l.processed = s.Elapsed, s.Memory.ProcessedBytes
	return l
}

// rate is the best of the latest measurements in bytes per second. Pages that
// hold nothing but zeros take time to find and hardly any to send: while QEMU
// goes through these, the link looks slower than it is.
func (l link) rate() int64 {
	var best int64
	for i := range min(l.count, linkWindows) {
		best = max(best, l.rates[i])
	}
	if best == 0 {
		return l.reported
	}
	return best
}
