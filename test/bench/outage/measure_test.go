//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// script is what was heard of each signal, as the silences that there were.
type script map[lab.Signal][]lab.Silence

func (s script) Arrivals(signal lab.Signal) []time.Time {
	var out []time.Time
	for _, silence := range s[signal] {
		out = append(out, silence.From, silence.To)
	}
	return out
}

func (s script) LongestSilence(signal lab.Signal, from, to time.Time) lab.Silence {
	var longest lab.Silence
	for _, silence := range s[signal] {
		if silence.From.Before(to) && silence.To.After(from) && silence.Length() > longest.Length() {
			longest = silence
		}
	}
	return longest
}

// TestMeasure: the outage is the longest silence around the switch-over, whatever was before,
// and TCP's own waiting is left out.
func TestMeasure(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	silence := func(from, to int) lab.Silence { return lab.Silence{From: at(from), To: at(to)} }
	downtime := int64(100)
	lm := &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
		DowntimeMilliseconds: &downtime, Target: &v1alpha1.TargetStatus{ArrivedTime: &metav1.MicroTime{Time: at(10_000)}},
	}}
	heard := script{
		lab.Ping:   {silence(5000, 5700), silence(9900, 10_030)},
		lab.Echo:   {silence(9890, 10_050), silence(13_000, 13_400)},
		lab.Stream: {silence(9890, 10_400)},
	}
	m := measure("precopy", true, lm, at(10_090), heard, at(0), at(14_000))
	if m.outage() != 160*time.Millisecond || m.beyond() != 60*time.Millisecond {
		t.Errorf("the outage is %s, %s beyond the downtime", m.outage(), m.beyond())
	}
	if m.noise != 700*time.Millisecond {
		t.Errorf("the noise is %s", m.noise)
	}
	if m.told != 60*time.Millisecond {
		t.Errorf("the switch-over was told after %s", m.told)
	}
	if got := m.silence[lab.Stream]; got != 510*time.Millisecond {
		t.Errorf("the stream was silent for %s", got)
	}
	if _, ok := m.silence[lab.Beat]; ok || !strings.Contains(m.String(), "(ping 130, echo 160, stream 510, at other times 700)") {
		t.Errorf("the move reads %s", m)
	}
}

// TestNoiseIsNotTheOutage, even if that lasts beyond the time in which it is looked for.
func TestNoiseIsNotTheOutage(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	downtime := int64(0)
	lm := &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
		DowntimeMilliseconds: &downtime, Target: &v1alpha1.TargetStatus{ArrivedTime: &metav1.MicroTime{Time: at(10_000)}},
	}}
	heard := script{lab.Ping: {{From: at(1000), To: at(1020)}, {From: at(8000), To: at(30_000)}, {From: at(31_000), To: at(31_030)}}}
	m := measure("precopy", true, lm, at(10_090), heard, at(0), at(32_000))
	if m.outage() != 22*time.Second || m.noise != 30*time.Millisecond {
		t.Errorf("the outage is %s, the noise %s", m.outage(), m.noise)
	}
}

func TestReport(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	var moves []move
	for i, s := range strategies() {
		for _, quiet := range []bool{true, false} {
			moves = append(moves, move{strategy: s.name, quiet: quiet, downtime: ms(50), silence: map[lab.Signal]time.Duration{lab.Ping: ms(60 + 10*i)}})
		}
	}
	var out strings.Builder
	printReport(&out, moves)
	for _, line := range []string{"outage_precopy_ms_median: 60\n", "outage_minus_downtime_postcopy_ms_median: 40\n", "moves: 8\n", "outage_minus_downtime_ms_max: 40\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("there is no %q in:\n%s", line, out.String())
		}
	}
	if !strings.HasSuffix(out.String(), "\noutage_minus_downtime_ms_median: 25\n") {
		t.Errorf("it does not end with the key figure:\n%s", out.String())
	}
}
