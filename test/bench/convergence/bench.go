//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/libvirt"
	"github.com/virtferry/virtferry/pkg/monitor"
	"github.com/virtferry/virtferry/test/lab"
)

// way is how a migration is brought to its end.
type way string

const (
	byLibvirt  way = "libvirt"
	byStepped  way = "stepped"
	byAdaptive way = "adaptive"
)

var allWays = map[string]way{"libvirt": byLibvirt, "stepped": byStepped, "adaptive": byAdaptive}

// bench is a guest and two hosts between which it moves.
type bench struct {
	o       options
	hosts   []*lab.Host
	clients map[*lab.Host]*libvirt.Client
	guest   *lab.Guest
	ending  context.CancelFunc
	running sync.WaitGroup
}

// newBench starts a guest and limits the link between the hosts.
func newBench(ctx context.Context, l *lab.Lab, o options) (*bench, error) {
	running, cancel := context.WithCancel(ctx)
	b := &bench{o: o, hosts: l.Hosts(), clients: map[*lab.Host]*libvirt.Client{}, ending: cancel}
	for _, h := range b.hosts {
		client, err := libvirt.New(libvirt.Config{URI: h.LibvirtURI(), Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		if err != nil {
			b.close()
			return nil, err
		}
		b.clients[h] = client
		b.running.Go(func() { _ = client.Run(running) })
	}
	guest, err := b.hosts[0].StartGuest(ctx, lab.GuestConfig{
		Name: "writer", MemoryMiB: o.memoryMiB, TickPeriod: 100 * time.Millisecond, Load: lab.Load{WorkingSetMiB: o.workingSet},
	})
	if err == nil {
		b.guest = guest
		_, err = guest.Ticks().Wait(ctx, "", 10)
	}
	if err == nil {
		err = b.hosts[1].LimitBandwidth(ctx, o.linkMiBps)
	}
	if err != nil {
		b.close()
		return nil, fmt.Errorf("preparing the guest: %w", err)
	}
	return b, nil
}

func (b *bench) close() {
	b.ending()
	b.running.Wait()
}

// move is one migration.
type move struct {
	way     way
	pattern string
	rate    float64
	// end is how it ended: "done", "given up" by the strategy, or "no end" within
	// the time there is.
	end string
	// took is how long it took from the beginning of the first pass, before which
	// the target is prepared, which takes now longer, now shorter, whatever the way.
	took, downtime time.Duration
	stood          time.Duration // How long the guest stood still by its own ticks.
	sentBytes      int64
	passes         int64
	why            string
	samples        []monitor.Sample
	actions        []timedAction
}

const (
	ended   = "done"
	givenUp = "given up"
	noEnd   = "no end"
)

type timedAction struct {
	At time.Duration
	monitor.Action
}

func (m move) String() string {
	return fmt.Sprintf("%-8s %-8s %4.2f: %-8s after %6.1f s, pass %3d, %4d MiB sent, downtime %d ms, stood still %d ms %s",
		m.way, m.pattern, m.rate, m.end, m.took.Seconds(), m.passes, m.sentBytes>>20, m.downtime.Milliseconds(), m.stood.Milliseconds(), m.why)
}

// config is what a way means to pkg/monitor.
func (b *bench) config(w way) monitor.Config {
	c := monitor.Config{MaxDowntimeMilliseconds: b.o.downtime.Milliseconds(), Size: monitor.Size{MemoryBytes: int64(b.o.memoryMiB) << 20}}
	if b.o.keepGoing {
		c.OnTimeout = monitor.TimeoutKeepGoing
	}
	if w == byStepped {
		c.Strategy = monitor.StrategyStepped
		// Nova counts a small guest as one of 2 GiB. Scaled to this one, each GiB of
		// it takes what a GiB takes.
		c.StepDelayPerGiB = monitor.DefaultStepDelayPerGiB * time.Duration(b.o.memoryMiB) / time.Duration(c.Size.CountedBytes()>>20)
	}
	return c
}

// move moves the guest to the other host.
func (b *bench) move(ctx context.Context, w way, pattern string, rate float64) (move, error) {
	m := move{way: w, pattern: pattern, rate: rate}
	from, to := b.hosts[0], b.hosts[1]
	if b.guest.RunningOn(ctx) == to {
		from, to = to, from
	}
	for _, command := range []string{"pattern " + pattern, fmt.Sprintf("dirty %d", int(rate*float64(b.o.linkMiBps)+0.5))} {
		if _, err := b.guest.Command(ctx, from, command); err != nil {
			return m, err
		}
	}
	if _, err := b.guest.Ticks().Advance(ctx, from.Name(), 20); err != nil {
		return m, err
	}
	params, err := b.params(ctx, from, to)
	if err != nil {
		return m, err
	}
	d := &driver{client: b.clients[from], uuid: b.guest.UUID(), config: b.config(w), steering: w != byLibvirt, giveUp: b.o.giveUp}
	if err := d.run(ctx, params); err != nil {
		return m, err
	}
	m.samples, m.actions, m.end, m.why, m.took = d.samples, d.actions, d.end, d.why, d.took
	if err := b.finish(ctx, &m, from, to); err != nil {
		return m, err
	}
	return m, b.record(m, d.config)
}

// params are those of a migration of the transient guest.
func (b *bench) params(ctx context.Context, from, to *lab.Host) (hypervisor.MigrateParams, error) {
	xml, err := b.clients[from].DomainXML(ctx, b.guest.UUID(), hypervisor.XMLMigratable)
	if err != nil {
		return hypervisor.MigrateParams{}, err
	}
	live := strings.ReplaceAll(string(xml), "'"+from.Address()+"'", "'"+to.Address()+"'")
	return hypervisor.MigrateParams{DestinationURI: to.PeerURI(), LiveXML: hypervisor.DomainXML(live), AllowUnsafe: true}, nil
}

// prepared is how long the preparation took.
func (m *move) prepared() time.Duration {
	for _, s := range m.samples {
		if s.Iteration > 0 {
			return s.Elapsed
		}
	}
	return 0
}

// finish reads what the migration cost once it is over.
func (b *bench) finish(ctx context.Context, m *move, from, to *lab.Host) error {
	if len(m.samples) > 0 {
		last := m.samples[len(m.samples)-1]
		m.passes, m.sentBytes = last.Iteration, last.Memory.ProcessedBytes
	}
	on := from
	if m.end == ended {
		on = to
		stats, err := b.clients[to].CompletedJobStats(ctx, b.guest.UUID())
		if err != nil {
			return err
		}
		m.took, m.downtime, m.sentBytes, m.passes = stats.Elapsed, stats.Downtime, int64(stats.Memory.ProcessedBytes), int64(stats.MemoryIteration)
	}
	m.took -= m.prepared()
	if _, err := b.guest.Ticks().Advance(ctx, on.Name(), 5); err != nil {
		return err
	}
	if m.end == ended {
		gap, _, _ := b.guest.Ticks().LastMove()
		m.stood = gap.Stopped
	}
	if trouble := b.guest.Ticks().Trouble(); len(trouble) > 0 {
		return fmt.Errorf("the guest is not well: %q", trouble[0])
	}
	return nil
}

// traceLine is a line of a recorded trace: first what was wanted, then what was
// seen and done, in order, and how it ended.
type traceLine struct {
	Config *monitor.Config `json:"config,omitempty"`
	Sample *traceSample    `json:"sample,omitempty"`
	Action *monitor.Action `json:"action,omitempty"`
	End    string          `json:"end,omitempty"`
}

// traceSample is a sample in a form that is short to write down.
type traceSample struct {
	Milliseconds    int64    `json:"ms"`
	Pass            int64    `json:"pass,omitempty"`
	MemoryBytes     [3]int64 `json:"memory"` // Total, processed, remaining.
	DirtyRate       int64    `json:"dirty,omitempty"`
	Bandwidth       int64    `json:"bandwidth,omitempty"`
	DowntimeMillis  int64    `json:"downtime,omitempty"`
	ThrottlePercent int64    `json:"throttle,omitempty"`
}

func newTraceSample(s monitor.Sample) *traceSample {
	return &traceSample{
		Milliseconds: s.Elapsed.Milliseconds(), Pass: s.Iteration,
		MemoryBytes: [3]int64{s.Memory.TotalBytes, s.Memory.ProcessedBytes, s.Memory.RemainingBytes},
		DirtyRate:   s.DirtyBytesPerSecond, Bandwidth: s.BandwidthBytesPerSecond,
		DowntimeMillis: s.ExpectedDowntime.Milliseconds(), ThrottlePercent: s.ThrottlePercent,
	}
}

// record writes the trace of a migration.
func (b *bench) record(m move, config monitor.Config) error {
	if b.o.traces == "" {
		return nil
	}
	lines := []traceLine{{Config: &config}}
	actions := m.actions
	for _, s := range m.samples {
		lines = append(lines, traceLine{Sample: newTraceSample(s)})
		for len(actions) > 0 && actions[0].At <= s.Elapsed {
			lines = append(lines, traceLine{Action: &actions[0].Action})
			actions = actions[1:]
		}
	}
	lines = append(lines, traceLine{End: m.end})
	var text strings.Builder
	for _, line := range lines {
		data, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		text.Write(append(data, '\n'))
	}
	name := fmt.Sprintf("%s-%s-%.2f.jsonl", m.way, m.pattern, m.rate)
	return errors.Join(os.MkdirAll(b.o.traces, 0o755), os.WriteFile(filepath.Join(b.o.traces, name), []byte(text.String()), 0o644))
}
