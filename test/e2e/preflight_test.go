//go:build e2e

package e2e

import (
	"context"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestNetworksOfTheTargetAreChecked: that the target lacks a network of the guest, or has not
// started it, is told before anything is touched.
func TestNetworksOfTheTargetAreChecked(t *testing.T) {
	const name = "preflight"
	network := func(h *lab.Host, commands ...string) {
		t.Helper()
		for _, command := range commands {
			on := name
			if command == "net-define" {
				on = h.Path("/run/preflight.xml")
				text := "<network><name>" + name + "</name><forward mode='bridge'/><bridge name='" + lab.LocalBridge + "'/></network>"
				if err := os.WriteFile(on, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					_, _ = h.Virsh(context.Background(), "net-destroy", name)
					_, _ = h.Virsh(context.Background(), "net-undefine", name)
				})
			}
			if _, err := h.Virsh(t.Context(), command, on); err != nil {
				t.Fatal(err)
			}
		}
	}
	network(env.a, "net-define", "net-start")
	g := env.startGuest(t, env.a, lab.GuestConfig{ExtraDevices: "<interface type='network'><source network='" + name + "'/><model type='virtio'/></interface>"})
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), DryRun: new(true)}
	refused := func(want v1alpha1.BlockerCode) {
		t.Helper()
		lm := env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseFailed)
		if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != want {
			t.Errorf("the problem is %+v, want %s", p, want)
		}
	}
	refused(v1alpha1.BlockerNetworkMissing)
	both := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), MigrateData: &v1alpha1.MigrateData{
		PCIDevices: []v1alpha1.PCIDeviceMigrateData{{Source: "0000:81:00.1", Target: "0000:3b:00.1"}},
	}}
	lm := env.awaitPhase(t, env.migrate(t, both), v1alpha1.PhaseFailed)
	message := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded).Message
	for _, want := range []string{"does not use this PCI device", "has no network"} {
		if !strings.Contains(message, want) {
			t.Errorf("what is wrong on both sides is not told: %q is missing in %s; the target says %+v", want, message, lm.Status.Target)
		}
	}
	network(env.b, "net-define")
	refused(v1alpha1.BlockerNetworkInactive)
	network(env.b, "net-start")
	spec.DryRun = nil
	lm = env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseSucceeded)
	if r := lm.Status.Source.Guest.Resources; r == nil || len(r.Networks) != 1 || r.MemoryBytes != 128<<20 {
		t.Errorf("the guest takes %+v", r)
	}
	env.requireOn(t, g, env.b)
}

// TestJobsInTheWay: while libvirt copies a disk of the guest, or backs it up, the guest is
// refused before anything is touched, and afterwards it moves.
func TestJobsInTheWay(t *testing.T) {
	image := lab.SharedDir + "/jobs.qcow2"
	g := env.startGuest(t, env.a, lab.GuestConfig{Disks: []lab.Disk{{Path: image, SizeMiB: 64, Format: "qcow2"}}})
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}
	virsh := func(args ...string) {
		t.Helper()
		if out, err := env.a.Virsh(t.Context(), args...); err != nil {
			t.Fatal(out, err)
		}
	}
	backup := env.a.Path("/run/backup.xml")
	text := "<domainbackup mode='pull'><server transport='unix' socket='/run/backup.sock'/><disks><disk name='vda' type='file'><scratch file='" +
		lab.PrivateDir + "/scratch.qcow2'/></disk></disks></domainbackup>"
	if err := os.WriteFile(backup, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		begin, end []string
		says       string
	}{
		{"a copy", []string{"blockcopy", g.Name(), "vda", lab.PrivateDir + "/copy.qcow2", "--transient-job"}, []string{"blockjob", g.Name(), "vda", "--abort"}, "vda"},
		{"a backup", []string{"backup-begin", g.Name(), backup}, []string{"domjobabort", g.Name()}, "Another libvirt job"},
	} {
		virsh(c.begin...)
		for _, dry := range []bool{true, false} {
			spec.DryRun = new(dry)
			lm := env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseFailed)
			p := lm.Status.Source.Problem
			if p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerJobRunning || !strings.Contains(p.Message, c.says) {
				t.Errorf("with %s, a dry run (%t) is refused by %+v", c.name, dry, p)
			}
			if target := lm.Status.Target; !dry && (target == nil || target.CheckedTime == nil || target.ReadyTime != nil || target.Problem != nil) {
				t.Errorf("with %s, the target has not looked at the guest, or not only that: %+v", c.name, target)
			}
		}
		virsh(c.end...)
	}
	spec.DryRun = nil
	env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}

// requireForecast checks what a dry run forecasts of an idle guest of 128 MiB, where nobody
// has told how fast the hosts' links are.
func requireForecast(t *testing.T, lm *v1alpha1.LiveMigration) {
	t.Helper()
	f := lm.Status.Forecast
	if f == nil || f.CopyBytes != 128<<20 || f.DirtyBytesPerSecond == nil || f.BandwidthBytesPerSecond != nil || f.Converges != nil {
		t.Errorf("the forecast is %+v", f)
	}
}

// TestForecast tells two guests apart by what QEMU measures of them.
func TestForecast(t *testing.T) {
	for name, c := range map[string]struct {
		load      lab.Load
		converges bool
	}{
		"idle": {lab.Load{WorkingSetMiB: 64}, true},
		"busy": {lab.Load{WorkingSetMiB: 64, DirtyMiBps: 48}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := env.startGuest(t, env.a, lab.GuestConfig{Load: c.load})
			lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
				Domain: g.Name(), TargetNode: env.b.Name(), DryRun: new(true), Options: &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(8))},
			})
			lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
			if f := lm.Status.Forecast; f == nil || f.Converges == nil || *f.Converges != c.converges {
				t.Errorf("the forecast is %s", describe(lm))
			}
			env.requireOn(t, g, env.a)
		})
	}
}
