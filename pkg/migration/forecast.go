package migration

import (
	"cmp"
	"fmt"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

const (
	bytesPerMbit = 1_000_000 / 8
	// forecastPasses is after how many passes over the memory a copy does not catch up any more:
	// each may be but a little shorter than the one before.
	forecastPasses = 200
)

// forecast says how a migration can be expected to go, by what was measured of its guest.
func (s *summarizer) forecast(load *v1alpha1.GuestLoad) *v1alpha1.Forecast {
	if load == nil {
		return nil
	}
	var limit int64
	c := ForecastTerms{AllowedDowntime: time.Duration(AllowedDowntimeMilliseconds(s.lm)) * time.Millisecond}
	if o := s.lm.Spec.Options; o != nil {
		if o.BandwidthMiBps != nil {
			limit = *o.BandwidthMiBps
		}
		if o.Transfer != nil && o.Transfer.SwitchoverBandwidthMiBps != nil {
			c.Switchover = *o.Transfer.SwitchoverBandwidthMiBps << 20
		}
	}
	c.Bandwidth = s.share(limit)
	return Forecast(load, c)
}

// share is how many bytes per second there are for the copy: what the user allows, and of
// each node's link what is left where as many guests move as may. Zero is not known.
func (s *summarizer) share(limitMiBps int64) int64 {
	share := limitMiBps << 20
	for _, end := range []struct {
		node  string
		slots int
	}{{s.lm.Status.SourceNode, s.Limits.Source}, {s.lm.Status.TargetNode, s.Limits.Target}} {
		n, ok := s.Nodes.Node(end.node)
		if !ok || n.LinkMbps <= 0 {
			continue
		}
		if link := int64(n.LinkMbps) * bytesPerMbit / int64(max(end.slots, 1)); share == 0 || link < share {
			share = link
		}
	}
	return share
}

// ForecastTerms are what a guest is copied under.
type ForecastTerms struct {
	// Bandwidth is how many bytes per second there are for the copy; zero is not known.
	Bandwidth int64
	// Switchover is how many there are while the guest stands still; zero is as many.
	Switchover      int64
	AllowedDowntime time.Duration
}

// Forecast says how the copy of a guest goes, until what is left fits into the downtime that
// is allowed. Disks are copied first; then the memory is, and what the guest has changed
// meanwhile, again and again: at most all of it.
func Forecast(load *v1alpha1.GuestLoad, c ForecastTerms) *v1alpha1.Forecast {
	out := &v1alpha1.Forecast{CopyBytes: load.MemoryBytes + load.DiskBytes, DirtyBytesPerSecond: load.DirtyBytesPerSecond}
	if c.Bandwidth <= 0 {
		return out
	}
	out.BandwidthBytesPerSecond = &c.Bandwidth
	if load.DirtyBytesPerSecond == nil {
		return out
	}
	memory, dirty, perSecond := float64(load.MemoryBytes), float64(*load.DirtyBytesPerSecond), float64(c.Bandwidth)
	took, left := float64(load.DiskBytes)/perSecond, memory
	atSwitch := float64(cmp.Or(c.Switchover, c.Bandwidth))
	for range forecastPasses {
		if down := left / atSwitch; down <= c.AllowedDowntime.Seconds() {
			out.Converges = new(true)
			out.DurationSeconds, out.DowntimeMilliseconds = new(int64(took+down+1)), new(int64(down*1000))
			return out
		}
		pass := left / perSecond
		took += pass
		next := min(memory, dirty*pass)
		if next >= left {
			break
		}
		left = next
	}
	out.Converges = new(false)
	return out
}

// saysForecast is what a person wants to know of a forecast, to be put behind a message.
func saysForecast(f *v1alpha1.Forecast, o *v1alpha1.MigrationOptions) string {
	const mib = 1 << 20
	switch {
	case f == nil || f.Converges == nil:
		return ""
	case *f.Converges:
		return fmt.Sprintf(". A migration would take about %s", time.Duration(*f.DurationSeconds)*time.Second)
	default:
		remedy := "Allow post-copy or automatic convergence in spec.options, or move the guest when it is less busy"
		if o != nil && (o.AllowPostCopy != nil && *o.AllowPostCopy || o.AutoConverge != nil) {
			remedy = "What spec.options allows beyond that would have to bring it to its end"
		}
		return fmt.Sprintf(". A migration would not catch up with the guest by itself, which changes %d MiB of its memory per second, while %d MiB can be copied. %s",
			*f.DirtyBytesPerSecond/mib, *f.BandwidthBytesPerSecond/mib, remedy)
	}
}
