//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	// workingSetMiB is what the guest writes to all the time, so that it soon waits for some of
	// it, and linkMiBps what the link carries.
	workingSetMiB = 64
	linkMiBps     = 8
	// copied is how long the memory has followed the guest when the network breaks.
	copied = 2 * time.Second
	// moveTimeout bounds one move. TCP waits for two minutes at most until it sends again.
	moveTimeout = 6 * time.Minute
)

// setting is how the hosts are set, which decides when TCP sends again what got no answer.
type setting struct {
	name string
	// figure is what the end of the key figure about it is called.
	figure  string
	sysctls map[string]string
}

// When the kernel looks whether a neighbour that does not answer is still there. Where it is not,
// the kernel tells TCP, which then does not wait longer from one try to the next (RFC 6069).
const (
	reachableTime = "net.ipv4.neigh." + lab.ManagementLink + ".base_reachable_time_ms"
	probeDelay    = "net.ipv4.neigh." + lab.ManagementLink + ".delay_first_probe_time"
)

// When TCP sends again, and how often until it gives up.
const (
	longestWait = "net.ipv4.tcp_rto_max_ms" // Since Linux 6.15.
	retries     = "net.ipv4.tcp_retries2"
)

// settings are the kernel's, and what docs/install.md recommends: for each Linux, and for those
// that have a limit to TCP's wait.
func settings() []setting {
	all := []setting{
		{"as by default", "_by_default", map[string]string{
			reachableTime: "30000", probeDelay: "5", longestWait: "120000", retries: "15",
		}},
		{"to look for neighbours", "_neighbours", map[string]string{
			reachableTime: "1000", probeDelay: "1", longestWait: "120000", retries: "15",
		}},
		{"and to send each 3 s", "", map[string]string{
			reachableTime: "1000", probeDelay: "1", longestWait: "3000", retries: "255",
		}},
	}
	if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(longestWait, ".", "/")); err == nil {
		return all
	}
	for _, s := range all {
		delete(s.sysctls, longestWait)
	}
	return all[:2]
}

// recovery is a break of the network that a post-copy has survived.
type recovery struct {
	setting setting
	gone    time.Duration
	// flowedAfter is how long after the end of the break memory came to the target again,
	// guestAfter how long until the guest had what it waited for and went on, and doneAfter how
	// long until the migration had succeeded.
	flowedAfter, guestAfter, doneAfter time.Duration
	// attempts is how often the agent has tried to resume it.
	attempts int64
}

func (r recovery) String() string {
	return fmt.Sprintf("the network gone for %s, hosts set %s: memory came again after %.1f s, the guest went on after %.1f s, the migration had succeeded after %.1f s, resumed %d times",
		r.gone, r.setting.name, r.flowedAfter.Seconds(), r.guestAfter.Seconds(), r.doneAfter.Seconds(), r.attempts)
}

// bench is a lab with a guest that is moved back and forth.
type bench struct{ *shuttle.Bench }

func newBench(ctx context.Context, shared *shuttle.Bench) (*bench, error) {
	for _, h := range shared.Lab.Hosts() {
		if err := h.LimitBandwidth(ctx, linkMiBps); err != nil {
			return nil, err
		}
	}
	return &bench{shared}, shared.StartGuest(ctx, lab.GuestConfig{
		Name: "shuttle", Persistent: true, Load: lab.Load{WorkingSetMiB: workingSetMiB, DirtyMiBps: 4 * linkMiBps},
	})
}

// set sets the hosts as the setting says.
func (b *bench) set(ctx context.Context, s setting) error {
	for _, h := range b.Lab.Hosts() {
		for name, value := range s.sysctls {
			if out, err := h.Exec(ctx, "sysctl", "-w", name+"="+value); err != nil {
				return fmt.Errorf("setting %s on %s: %w: %s", name, h.Name(), err, out)
			}
		}
	}
	return nil
}

// measure moves the guest to the host where it is not, by post-copy, and has the network break
// in the middle.
func (b *bench) measure(ctx context.Context, s setting, gone time.Duration) (recovery, error) {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	from, to := b.Sides()
	b.Moves++
	out := recovery{setting: s, gone: gone}
	if err := from.WaitPublished(ctx, b.Guest); err != nil {
		return out, err
	}
	options := v1alpha1.MigrationOptions{AllowPostCopy: new(true), OnTimeout: v1alpha1.TimeoutKeepGoing}
	lm, err := b.Create(ctx, "recovery", to, options, map[string]string{v1alpha1.AnnotationForceComplete: "at once"})
	if err != nil {
		return out, err
	}
	if _, err := b.await(ctx, lm, func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Phase == v1alpha1.PhasePostCopy }); err != nil {
		return out, err
	}
	if err := breakLink(ctx, to, gone); err != nil {
		return out, err
	}
	back := time.Now()
	if err := b.awaitFlow(ctx, to); err != nil {
		return out, err
	}
	out.flowedAfter = time.Since(back)
	if _, err := b.Guest.Ticks().Wait(ctx, to.Name(), b.Guest.Ticks().Last().N+1); err != nil {
		return out, err
	}
	out.guestAfter = time.Since(back)
	if lm, err = b.await(ctx, lm, migration.Finished); err != nil {
		return out, err
	}
	out.doneAfter = time.Since(back)
	if _, err := shuttle.Succeeded(lm); err != nil {
		return out, err
	}
	if r := lm.Status.Source.Recovery; r != nil {
		out.attempts = int64(r.Attempts)
	}
	return out, nil
}

// breakLink has the network of a host be gone for some time.
func breakLink(ctx context.Context, to *lab.Host, gone time.Duration) error {
	if err := shuttle.Sleep(ctx, copied); err != nil {
		return err
	}
	if err := to.CutOff(ctx); err != nil {
		return err
	}
	if err := shuttle.Sleep(ctx, gone); err != nil {
		return err
	}
	return to.Reconnect(ctx)
}

// flow is how much a host receives when the copy goes on, and hardly does otherwise.
const flow = 1 << 20

// awaitFlow waits until a host has received as much.
func (b *bench) awaitFlow(ctx context.Context, h *lab.Host) error {
	first, err := h.ReceivedBytes()
	for now := first; err == nil && now < first+flow; now, err = h.ReceivedBytes() {
		if shuttle.Sleep(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("nothing comes to %s: %w", h.Name(), context.Cause(ctx))
		}
	}
	return err
}

// await returns the object once it is as it is to be, or has ended otherwise.
func (b *bench) await(ctx context.Context, lm *v1alpha1.LiveMigration, is func(*v1alpha1.LiveMigration) bool) (*v1alpha1.LiveMigration, error) {
	w, err := b.Watch(ctx, lm.Name)
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	return shuttle.Follow(ctx, w, func(now *v1alpha1.LiveMigration) (bool, error) {
		switch {
		case is(now):
			return true, nil
		case migration.Finished(now):
			return false, fmt.Errorf("the migration has ended: %+v", now.Status.Conditions)
		default:
			return false, nil
		}
	})
}
