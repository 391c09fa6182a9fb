//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// move is a measured move.
type move struct {
	strategy string
	// quiet is whether the guest has sent nothing by itself.
	quiet    bool
	downtime time.Duration // As it is reported.
	// silence is for how long each signal did not come around the switch-over, and noise the
	// longest that any did not come at another time: machines that are busy hold an emulated
	// guest up.
	silence map[lab.Signal]time.Duration
	noise   time.Duration
	// told is how long after the first sign of life from the target the LiveMigration told of
	// the switch-over.
	told time.Duration
}

// outage is the longest that the guest was missed in any way, but for the stream: how late TCP
// sends again what was lost is its own affair.
func (m move) outage() time.Duration {
	return max(m.silence[lab.Ping], m.silence[lab.Echo], m.silence[lab.Beat])
}

// beyond is by how much the outage is longer than the downtime.
func (m move) beyond() time.Duration { return m.outage() - m.downtime }

func (m move) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%-9s downtime %4d ms, outage %4d ms (", m.strategy, m.downtime.Milliseconds(), m.outage().Milliseconds())
	for _, s := range lab.Signals() {
		if silence, ok := m.silence[s]; ok {
			fmt.Fprintf(&text, "%s %d, ", s, silence.Milliseconds())
		}
	}
	fmt.Fprintf(&text, "at other times %d), told after %d ms", m.noise.Milliseconds(), m.told.Milliseconds())
	return text.String()
}

// listener is what a peer has heard.
type listener interface {
	Arrivals(signal lab.Signal) []time.Time
	LongestSilence(signal lab.Signal, from, to time.Time) lab.Silence
}

// Around the moment at which the target's agent has first seen the guest, and the downtime
// before it, the switch-over is looked for. Afterwards a guest in post-copy may wait for its
// memory.
const (
	before = 500 * time.Millisecond
	after  = 2 * time.Second
)

// measure measures a move that was listened to from began to ended. All clocks are this
// machine's.
func measure(strategy string, quiet bool, lm *v1alpha1.LiveMigration, told time.Time, heard listener, began, ended time.Time) move {
	m := move{
		strategy: strategy, quiet: quiet, silence: map[lab.Signal]time.Duration{},
		downtime: time.Duration(*lm.Status.DowntimeMilliseconds) * time.Millisecond,
	}
	arrived := lm.Status.Target.ArrivedTime.Time
	from, to := arrived.Add(-m.downtime-before), arrived.Add(after)
	var back time.Time
	for _, s := range lab.Signals() {
		if len(heard.Arrivals(s)) == 0 {
			continue
		}
		silence := heard.LongestSilence(s, from, to)
		m.silence[s] = silence.Length()
		if s != lab.Stream {
			m.noise = max(m.noise, heard.LongestSilence(s, began, earlier(from, silence.From)).Length(),
				heard.LongestSilence(s, later(to, silence.To), ended).Length())
			if back.IsZero() || silence.To.Before(back) {
				back = silence.To
			}
		}
	}
	m.told = told.Sub(back)
	return m
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
