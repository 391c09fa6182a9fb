package agent

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestWhatTheTargetSaidIsNotOldAtTheStart: a guest that has waited for its turn is not sent by what
// its target was when it was prepared.
func TestWhatTheTargetSaidIsNotOldAtTheStart(t *testing.T) {
	transfer := func(o v1alpha1.TransferOptions) func(*v1alpha1.LiveMigration) {
		return options(v1alpha1.MigrationOptions{Transfer: &o})
	}
	zstd := transfer(v1alpha1.TransferOptions{
		ParallelConnections: new(int32(2)), Compression: &v1alpha1.CompressionOptions{Method: v1alpha1.CompressionZstd},
	})
	encrypted := transfer(v1alpha1.TransferOptions{Encryption: v1alpha1.EncryptionRequired})
	cannotRun := hypervisor.EmulatorFit{Unsupported: "the machine 'pc-q35-2.4' is not supported by emulator"}
	for name, c := range map[string]struct {
		change func(*v1alpha1.LiveMigration)
		during func(w *world)
		wait   time.Duration
		want   string // Part of the message of a refusal; empty is success.
	}{
		"as it was": {change: zstd},
		"libvirt is another, and the agent hears of that": {
			change: zstd, wait: 2 * time.Second, want: "libvirt 9.0.0 on node-b cannot decompress",
			during: func(w *world) {
				w.fleet.Host("node-b").Disconnect()
				w.fleet.Host("node-b").SetVersions("9.0.0", "7.2.22")
				w.fleet.Host("node-b").Reconnect()
			},
		},
		"libvirt is another, and nobody says so": {
			change: zstd, want: "libvirt 9.0.0 on node-b cannot decompress",
			during: func(w *world) { w.fleet.Host("node-b").SetVersions("9.0.0", "7.2.22") },
		},
		"libvirt is another, and the agent, too": {
			change: zstd, wait: time.Second, want: "libvirt 9.0.0 on node-b cannot decompress",
			during: func(w *world) {
				w.fleet.Host("node-b").SetVersions("9.0.0", "7.2.22")
				w.b.restart()
			},
		},
		"libvirt does not answer": {
			change: zstd, wait: 30 * time.Second,
			during: func(w *world) {
				w.fleet.Host("node-b").Disconnect()
				time.AfterFunc(20*time.Second, w.fleet.Host("node-b").Reconnect)
			},
		},
		"QEMU is another, and cannot run the guest": {
			change: copies(v1alpha1.StorageCopyOptions{}), want: "'pc-q35-2.4' is not supported by emulator",
			during: func(w *world) {
				w.fleet.Host("node-b").SetVersions("12.8.0", "11.1.2")
				w.fleet.Host("node-b").SetEmulatorFit(cannotRun)
			},
		},
		"QEMU is the same, though it says otherwise now": {
			during: func(w *world) { w.fleet.Host("node-b").SetEmulatorFit(cannotRun) },
		},
		"a certificate has ended":         {change: encrypted, wait: 2 * time.Minute, want: "on node-b, QEMU's certificate /etc/pki/qemu/server-cert.pem has expired"},
		"a certificate has not ended yet": {change: encrypted, wait: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ca := newAuthority(t, bubbleTime())
				w.a.files = ca.qemuHost("node-a")
				soon := *ca.cert
				soon.NotAfter = bubbleTime().Add(time.Minute)
				ca.cert = &soon
				w.b.files = ca.qemuHost("node-b")
				w.a.restart()
				w.b.restart()
				w.diskGuest()
				w.fleet.Host("node-a").SetVersions("11.3.0", "10.0.2")
				w.fleet.Host("node-b").SetVersions("11.3.0", "10.0.2")
				w.api.full = true // It waits for its slot.
				change := c.change
				if change == nil {
					change = func(*v1alpha1.LiveMigration) {}
				}
				lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					change(lm)
					if lm.Spec.Options == nil || lm.Spec.Options.StorageCopy == nil {
						options(v1alpha1.MigrationOptions{AllowUnsafe: new(true), Transfer: transferOptions(lm)})(lm)
					}
				})
				w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
				})
				if c.during != nil {
					c.during(w)
				}
				wait := c.wait
				if wait == 0 {
					wait = 11 * time.Second
				}
				time.Sleep(wait)
				w.api.mu.Lock()
				w.api.full = false
				w.api.mu.Unlock()
				end := w.settle(lm)
				message := meta.FindStatusCondition(end.Status.Conditions, v1alpha1.ConditionSucceeded).Message
				if c.want == "" {
					if end.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Errorf("it ends in %s: %s", end.Status.Phase, message)
					}
					return
				}
				w.requireCalls(fake.MethodMigrate, 0)
				if end.Status.Phase != v1alpha1.PhaseFailed || !strings.Contains(message, c.want) {
					t.Errorf("it ends in %s: %s, want %q", end.Status.Phase, message, c.want)
				}
				w.requireFiles("node-b", "")
			})
		})
	}
}

// TestWaitingCostsNoWrites where the target stays as it is.
func TestWaitingCostsNoWrites(t *testing.T) {
	inWorld(t, func(w *world) {
		w.api.full = true
		lm := w.migrate(guestUUID)
		w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
		})
		time.Sleep(5 * time.Second)
		before, asked := w.api.writeCount(), w.fleet.Host("node-b").Count(fake.MethodHostInfo, "")
		time.Sleep(10 * time.Minute)
		if writes := w.api.writeCount() - before; writes != 0 {
			t.Errorf("%d writes were made while it waited", writes)
		}
		if n := w.fleet.Host("node-b").Count(fake.MethodHostInfo, "") - asked; n < 50 || n > 61 {
			t.Errorf("libvirt was asked %d times in ten minutes", n)
		}
	})
}

// TestARefusalThatComesTooLateHoldsNothingUp: the source has recorded the start while the target was
// about to say that something else runs there now.
func TestARefusalThatComesTooLateHoldsNothingUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		w.b.stop()
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonTargetCheckFailed, Message: "It is another now."}
		})
		w.b.start()
		w.fleet.Host("node-a").SetDirtyRate(guestUUID, 0)
		end := w.settle(lm)
		w.requireEnd(end, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
		if p := end.Status.Target.Problem; p != nil {
			t.Errorf("the target still says %+v", p)
		}
	})
}
