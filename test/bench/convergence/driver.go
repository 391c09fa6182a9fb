//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/monitor"
)

// poll is how often libvirt is asked in between two events.
const poll = 250 * time.Millisecond

// driver starts one migration and steers it.
type driver struct {
	client   hypervisor.Hypervisor
	uuid     string
	config   monitor.Config
	steering bool
	giveUp   time.Duration

	state   monitor.State
	samples []monitor.Sample
	actions []timedAction
	end     string
	why     string
	took    time.Duration
}

// run starts the migration and returns when it is over.
func (d *driver) run(ctx context.Context, params hypervisor.MigrateParams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := d.client.Subscribe(ctx, d.uuid)
	returned := make(chan error, 1)
	begun := time.Now()
	go func() { returned <- d.client.Migrate(ctx, d.uuid, params) }()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case err := <-returned:
			return d.over(err, time.Since(begun))
		case event := <-events:
			if event.Type != hypervisor.EventIteration {
				continue
			}
		case <-ticker.C:
		}
		if err := d.look(ctx); err != nil {
			return err
		}
		if d.end == "" && time.Since(begun) > d.giveUp && len(d.samples) > 0 {
			d.end, d.took = noEnd, d.samples[len(d.samples)-1].Elapsed
			if err := d.client.AbortJob(ctx, d.uuid); err != nil {
				return err
			}
		}
	}
}

// over says how it ended.
func (d *driver) over(err error, took time.Duration) error {
	switch {
	case err == nil:
		d.end, d.took, d.why = ended, took, ""
	case d.end == "":
		return err
	}
	return nil
}

// look takes a sample and does what is decided.
func (d *driver) look(ctx context.Context) error {
	stats, err := d.client.JobStats(ctx, d.uuid)
	if err != nil || !stats.MigratingOut() || d.end != "" {
		return nil //nolint:nilerr // The job begins or ends; the call's return tells.
	}
	sample := sampleOf(stats)
	d.samples = append(d.samples, sample)
	if !d.steering {
		return nil
	}
	var actions []monitor.Action
	d.state, actions = monitor.Decide(d.config, d.state, monitor.Input{Sample: sample})
	for _, a := range actions {
		d.actions = append(d.actions, timedAction{sample.Elapsed, a})
		if err := d.do(ctx, a, sample.Elapsed); err != nil {
			d.state = d.state.Failed(a, true)
		}
	}
	return nil
}

func (d *driver) do(ctx context.Context, a monitor.Action, at time.Duration) error {
	switch a.Kind {
	case monitor.SetMaxDowntime:
		return d.client.SetMaxDowntime(ctx, d.uuid, uint64(a.MaxDowntimeMilliseconds))
	case monitor.Abort:
		d.end, d.took, d.why = givenUp, at, a.Message
		return d.client.AbortJob(ctx, d.uuid)
	case monitor.StartPostCopy, monitor.Pause, monitor.Freeze:
	}
	return fmt.Errorf("%s was not allowed", a.Kind)
}

// sampleOf translates what libvirt says.
func sampleOf(s hypervisor.JobStats) monitor.Sample {
	transfer := func(t hypervisor.Transfer) monitor.Transfer {
		return monitor.Transfer{TotalBytes: int64(t.TotalBytes), ProcessedBytes: int64(t.ProcessedBytes), RemainingBytes: int64(t.RemainingBytes)}
	}
	return monitor.Sample{
		Elapsed: s.Elapsed, Memory: transfer(s.Memory), Disk: transfer(s.Disk), Iteration: int64(s.MemoryIteration),
		DirtyBytesPerSecond: int64(s.MemoryDirtyBytesPerSecond), BandwidthBytesPerSecond: int64(s.Memory.BytesPerSecond),
		ExpectedDowntime: s.Downtime, ThrottlePercent: int64(s.AutoConvergeThrottlePercent),
	}
}
