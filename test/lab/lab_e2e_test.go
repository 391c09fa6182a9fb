//go:build e2e && linux

package lab_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/test/lab"
)

const (
	vncPort    = 5900
	serialPort = 7001
)

func TestGuestTicksOnAcrossMigrations(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	g := startGuest(ctx, t, a, lab.GuestConfig{
		Name: "mover", Persistent: true, TickPeriod: 100 * time.Millisecond,
		VNC: &lab.VNC{Password: "secret"}, TCPSerials: []int{serialPort}, NICs: []lab.NIC{{}},
		Load: lab.Load{WorkingSetMiB: 32, DirtyMiBps: 5},
	})

	hops := []struct{ from, to *lab.Host }{{a, b}, {b, a}}
	for _, hop := range hops {
		began := time.Now()
		if err := g.Migrate(ctx, hop.from, hop.to); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s to %s took %s", hop.from.Name(), hop.to.Name(), time.Since(began))
		if _, err := g.Ticks().Advance(ctx, hop.to.Name(), 20); err != nil {
			t.Fatal(err)
		}
		gap, noise, ok := g.Ticks().LastMove()
		t.Logf("stood still %s, with noise of %s, from %s to %s", gap.Stopped, noise, gap.Before.Host, gap.After.Host)
		if !ok || gap.Before.Host != hop.from.Name() || gap.After.Host != hop.to.Name() {
			t.Errorf("the last move is not the one from %s to %s: %+v", hop.from.Name(), hop.to.Name(), gap)
		}
		if _, err := l.ExactlyOneRunning(ctx, g.UUID()); err != nil {
			t.Error(err)
		}
		if on := g.RunningOn(ctx); on != hop.to {
			t.Errorf("the guest runs on %v", on)
		}
		for _, port := range []uint16{vncPort, serialPort} {
			if !listens(ctx, t, hop.to, port) || listens(ctx, t, hop.from, port) {
				t.Errorf("port %d did not move to %s", port, hop.to.Name())
			}
		}
		if state := hop.from.DomainState(ctx, g.Name()); state.State != lab.StateAbsent {
			t.Errorf("the source kept the domain: %v", state)
		}
		if answer, err := g.Command(ctx, hop.to, "ping"); err != nil || !strings.HasPrefix(answer, "uptime ") {
			t.Errorf("the guest answered %q, %v", answer, err)
		}
	}
	if err := g.Ticks().Check(); err != nil {
		t.Error(err)
	}
}

// TestMemorySurvivesManyPasses guards against what qemu-system-x86_64.sh is for:
// without it, half of these migrations crash the guest.
func TestMemorySurvivesManyPasses(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	hosts := l.Hosts()
	g := startGuest(ctx, t, hosts[0], lab.GuestConfig{
		Name: "busy", TickPeriod: 100 * time.Millisecond, Load: lab.Load{WorkingSetMiB: 16, DirtyMiBps: 30, Pattern: "hotspot"},
	})
	const hops, fewPasses = 6, 3
	passes := 0
	for hop := range hops {
		from, to := hosts[hop%2], hosts[1-hop%2]
		// So short a downtime at so low a bandwidth takes several passes.
		if _, err := from.Virsh(ctx, "migrate-setmaxdowntime", g.Name(), "25"); err != nil {
			t.Fatal(err)
		}
		if err := g.Migrate(ctx, from, to, "--bandwidth", "60"); err != nil {
			t.Fatal(err)
		}
		passes += jobStats(ctx, t, to, g.Name(), "--completed")["memory_iteration"]
		if _, err := g.Ticks().Advance(ctx, to.Name(), 15); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d migrations took %d passes", hops, passes)
	if passes < hops*fewPasses {
		t.Errorf("the migrations took only %d passes, which proves little", passes)
	}
	if err := g.Ticks().Check(); err != nil {
		t.Error(err)
	}
}

// jobStats returns the numbers that libvirt tells of a guest's migration job, or
// none when there is no job.
func jobStats(ctx context.Context, t *testing.T, h *lab.Host, guest string, options ...string) map[string]int {
	t.Helper()
	out, err := h.Virsh(ctx, append([]string{"domjobinfo", guest, "--rawstats"}, options...)...)
	if err != nil {
		return nil
	}
	stats := map[string]int{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if number, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
			stats[key] = number
		}
	}
	return stats
}

func TestTransientGuestMigratesByNativeTLSAndIsGoneWhenItEnds(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	g := startGuest(ctx, t, a, lab.GuestConfig{Name: "transient"})
	if err := g.Migrate(ctx, a, b, "--tls"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Ticks().Advance(ctx, b.Name(), 2); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Command(ctx, b, "poweroff"); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "the guest to be gone", func() bool {
		return b.DomainState(ctx, g.UUID()).State == lab.StateAbsent
	})
	if _, err := l.ExactlyOneRunning(ctx, g.UUID()); err == nil {
		t.Error("a guest that is gone counts as running")
	}
}

func TestDisksAreCopiedAndShared(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	private := lab.Disk{Path: lab.PrivateDir + "/data.raw", SizeMiB: 16, Serial: "data"}
	shared := lab.Disk{Path: lab.SharedDir + "/shared.qcow2", SizeMiB: 16, Format: "qcow2"}
	g := startGuest(ctx, t, a, lab.GuestConfig{
		Name: "disks", Persistent: true, Disks: []lab.Disk{private, shared}, Load: lab.Load{DiskMiBps: 2},
	})
	written := func(h *lab.Host) bool {
		data, err := os.ReadFile(h.Path(private.Path))
		return err == nil && strings.HasPrefix(string(data), "write ")
	}
	eventually(ctx, t, "the guest to write", func() bool { return written(a) })
	if err := b.MakeDisk(ctx, private); err != nil {
		t.Fatal(err)
	}
	if written(b) {
		t.Fatal("the private directories are one")
	}
	if err := g.Migrate(ctx, a, b, "--copy-storage-all", "--migrate-disks", "vda", "--unsafe"); err != nil {
		t.Fatal(err)
	}
	if !written(b) {
		t.Error("the disk was not copied")
	}
	if _, err := os.Stat(filepath.Join(l.SharedDir(), "shared.qcow2")); err != nil {
		t.Errorf("the shared disk is not where it should be: %v", err)
	}
	if err := g.Remove(ctx); err != nil {
		t.Error(err)
	}
}

func TestGuestDirtiesMemoryAtTheChosenRate(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	h := l.Host("node-a")
	g := startGuest(ctx, t, h, lab.GuestConfig{Name: "dirty", Load: lab.Load{WorkingSetMiB: 64, DirtyMiBps: 8}})
	for _, command := range []struct {
		line string
		// In MiB/s, as the hypervisor counts: a page that is written twice between
		// two looks counts once. The lower bounds leave room for a busy machine.
		min, max int
	}{{"ping", 3, 9}, {"dirty 24", 9, 25}, {"pattern hotspot", 2, 8}} {
		if _, err := g.Command(ctx, h, command.line); err != nil {
			t.Fatal(err)
		}
		rate := dirtyRate(ctx, t, g, h, l.Host("node-b"))
		t.Logf("after %q the guest dirties %d MiB/s", command.line, rate)
		if rate < command.min || rate > command.max {
			t.Errorf("after %q the guest dirties %d MiB/s, want %d to %d", command.line, rate, command.min, command.max)
		}
	}
}

// dirtyRate has QEMU measure the rate at which a guest dirties memory, in MiB/s,
// by a migration that is aborted. QEMU's own command for that samples too few
// pages of a small guest, and its other mode crashes QEMU 7.2 under emulation.
func dirtyRate(ctx context.Context, t *testing.T, g *lab.Guest, from, to *lab.Host) int {
	t.Helper()
	const pageSize, bandwidthMiBps = 4096, "40"
	if _, err := from.Virsh(ctx, "migrate-setmaxdowntime", g.Name(), "1"); err != nil {
		t.Fatal(err) // Without it, the migration might end before it is aborted.
	}
	migrated := make(chan error, 1)
	go func() { migrated <- g.Migrate(ctx, from, to, "--bandwidth", bandwidthMiBps) }()
	var rate int
	eventually(ctx, t, "the second pass", func() bool {
		job := jobStats(ctx, t, from, g.Name())
		rate = job["memory_dirty_rate"] * pageSize >> 20
		return rate > 0 // It is counted at the end of the first pass.
	})
	if _, err := from.Virsh(ctx, "domjobabort", g.Name()); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err == nil {
		t.Fatal("the migration ended before it was aborted")
	}
	return rate
}

func TestGuestsOutliveLibvirtd(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 1})
	h := l.Host("node-a")
	g := startGuest(ctx, t, h, lab.GuestConfig{Name: "survivor", TickPeriod: 100 * time.Millisecond})
	qemu, err := h.QEMUPID(g.Name())
	if err != nil || qemu == 0 {
		t.Fatalf("QEMU's process is %d, %v", qemu, err)
	}
	if err := h.KillLibvirtd(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if pid := h.LibvirtdPID(); pid != 0 {
		t.Errorf("libvirtd still runs, as process %d", pid)
	}
	if state := h.DomainState(ctx, g.UUID()); state.State != lab.StateUnknown || state.Err == nil {
		t.Errorf("without libvirtd the state is %v", state)
	}
	if err := h.KillLibvirtd(ctx, syscall.SIGKILL); !errors.Is(err, lab.ErrNotRunning) {
		t.Errorf("killing it twice gives %v", err)
	}
	if _, err := g.Ticks().Advance(ctx, h.Name(), 10); err != nil {
		t.Fatal(err)
	}
	if err := h.StartLibvirtd(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ExactlyOneRunning(ctx, g.UUID()); err != nil {
		t.Error(err)
	}
	if now, err := h.QEMUPID(g.Name()); now != qemu {
		t.Errorf("QEMU was process %d and is %d, %v", qemu, now, err)
	}
	if err := h.KillQEMU(g.Name()); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "libvirtd to see QEMU's end", func() bool {
		return h.DomainState(ctx, g.UUID()).State == lab.StateAbsent
	})
}

// reach connects from one host to another's libvirtd.
func reach(ctx context.Context, from, to *lab.Host) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := from.Exec(ctx, "virsh", "--connect", to.PeerURI(), "version")
	return err
}

func TestNetworkFaults(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	eventually(ctx, t, "the hosts to reach each other", func() bool { return reach(ctx, a, b) == nil })
	if err := b.CutOff(ctx); err != nil {
		t.Fatal(err)
	}
	for _, ends := range [][2]*lab.Host{{a, b}, {b, a}} {
		if err := reach(ctx, ends[0], ends[1]); err == nil {
			t.Errorf("%s reaches %s although the latter is cut off", ends[0].Name(), ends[1].Name())
		}
	}
	if _, err := b.Virsh(ctx, "list"); err != nil {
		t.Errorf("the host's own socket does not answer: %v", err)
	}
	if err := b.Reconnect(ctx); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(ctx, t, "the hosts to reach each other again", func() bool { return reach(ctx, a, b) == nil })
	t.Logf("healed after %s", time.Since(began))
}

func TestLimitedBandwidthSlowsAMigration(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 2})
	a, b := l.Host("node-a"), l.Host("node-b")
	const limitMiBps, workingSetMiB = 16, 64
	g := startGuest(ctx, t, a, lab.GuestConfig{Name: "slow", Load: lab.Load{WorkingSetMiB: workingSetMiB, DirtyMiBps: 2}})
	move := func(from, to *lab.Host) time.Duration {
		began := time.Now()
		if err := g.Migrate(ctx, from, to); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	fast := move(a, b)
	if err := b.LimitBandwidth(ctx, limitMiBps); err != nil {
		t.Fatal(err)
	}
	slow := move(b, a)
	if err := b.ClearShaping(ctx); err != nil {
		t.Fatal(err)
	}
	fastAgain := move(a, b)
	t.Logf("took %s at full speed, %s limited, %s at full speed again", fast, slow, fastAgain)
	if least := workingSetMiB * time.Second / limitMiBps; slow < least {
		t.Errorf("%d MiB at %d MiB/s took %s, which is less than %s", workingSetMiB, limitMiBps, slow, least)
	}
	if fast > slow || fastAgain > slow {
		t.Errorf("the limit slows nothing: %s, %s, %s", fast, slow, fastAgain)
	}
}

func TestHostsAreAddedAndCrash(t *testing.T) {
	ctx, l := start(t, lab.Options{Hosts: 1})
	a := l.Host("node-a")
	g := startGuest(ctx, t, a, lab.GuestConfig{Name: "late"})
	b, err := l.AddHost(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if b.Name() != "node-b" || b.Address() == a.Address() {
		t.Errorf("the second host is %s at %s", b.Name(), b.Address())
	}
	if err := g.Migrate(ctx, a, b); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Ticks().Advance(ctx, b.Name(), 2); err != nil {
		t.Error(err)
	}
	if err := b.Crash(ctx); err != nil {
		t.Fatal(err)
	}
	if state := b.DomainState(ctx, g.UUID()); state.State != lab.StateUnknown {
		t.Errorf("the state on a crashed host is %v", state)
	}
	if state := a.DomainState(ctx, g.UUID()); state.State != lab.StateAbsent {
		t.Errorf("the state on the other host is %v", state)
	}
}
