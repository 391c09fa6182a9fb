package agent

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/versions"
)

// TestPostCopyIsNotResumedTowardsALibvirtThatCrashes, until that was updated: both agents
// see to it, whichever restarts meanwhile.
func TestPostCopyIsNotResumedTowardsALibvirtThatCrashes(t *testing.T) {
	for _, restart := range []string{"nothing", "the source's agent", "the target's agent"} {
		t.Run(restart, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				w.fleet.Host("node-b").SetVersions("11.3.0", "10.0.2")
				w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsPostCopyBroken})
				lm := w.migrateWith(guestUUID, keepGoing(true))
				w.copying(lm)
				w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				w.awaitPhase(lm, v1alpha1.PhaseRecovering)
				switch restart {
				case "the source's agent":
					w.a.restart()
				case "the target's agent":
					w.b.restart()
				}
				time.Sleep(5 * time.Minute)
				w.requireCalls(fake.MethodRecoverPostCopy, 0)
				now := w.api.get(lm)
				if c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionSucceeded); now.Status.Phase != v1alpha1.PhaseRecovering ||
					!strings.Contains(c.Message, "sk an administrator to update libvirt on node-b to 11.4.0 or newer") {
					t.Errorf("in the meantime it is %s: %+v", now.Status.Phase, c)
				}
				w.fleet.Host("node-b").SetVersions("11.4.0", "10.0.2")
				after := w.settle(lm)
				w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
				w.requireOnce("node-b")
				if r := after.Status.Source.Recovery; r == nil || r.WithheldReason != "" {
					t.Errorf("the recovery is %+v", r)
				}
			})
		})
	}
}

// TestPostCopyIsResumedWhereTheUserSaysSo: a distribution may have mended the fault without a
// new version.
func TestPostCopyIsResumedWhereTheUserSaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		w.fleet.Host("node-b").SetVersions("11.3.0", "10.0.2")
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsPostCopyBroken})
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.awaitPhase(lm, v1alpha1.PhaseRecovering)
		time.Sleep(time.Minute)
		w.requireCalls(fake.MethodRecoverPostCopy, 0)
		const how = "add PostCopyResumeCrashesTarget to options.ignoreKnownFaults"
		if c := meta.FindStatusCondition(w.api.get(lm).Status.Conditions, v1alpha1.ConditionSucceeded); !strings.Contains(c.Message, how) {
			t.Errorf("the message is %q", c.Message)
		}
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
			lm.Spec.Options.IgnoreKnownFaults = []v1alpha1.KnownFault{v1alpha1.FaultPostCopyResumeCrashesTarget}
		})
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
		w.requireOnce("node-b")
	})
}

// TestKnownFaultThatCostsAGuestIsRefused, where post-copy is allowed, and told otherwise.
func TestKnownFaultThatCostsAGuestIsRefused(t *testing.T) {
	const uuid = "33333333-3333-4333-8333-333333333333"
	for devices, refused := range map[string]bool{"": false, "<rng model='virtio'/>": true} {
		xml := hypervisor.DomainXML(`<domain type='kvm'><name>queues</name><uuid>` + uuid + `</uuid><devices>` + devices + `</devices></domain>`)
		inWorld(t, func(w *world) {
			w.fleet.Host("node-a").SetVersions("11.3.0", "10.0.13")
			w.fleet.Host("node-b").SetVersions("12.8.0", "11.1.2")
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "queues", LiveXML: xml})
			lm := w.settle(w.migrateWith(uuid, keepGoing(true)))
			if (lm.Status.Phase == v1alpha1.PhaseFailed) != refused {
				t.Fatalf("with %q the migration ends in %s: %+v", devices, lm.Status.Phase, lm.Status.Conditions)
			}
			if !refused {
				return
			}
			if p := lm.Status.Source.Problem; len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerVersionUnsupported || lm.Status.Source.StartRequestedTime != nil {
				t.Errorf("it is refused for %+v", p)
			}
			lm = w.settle(w.migrateWith(uuid, func(*v1alpha1.LiveMigration) {}))
			if faults := lm.Status.Source.KnownFaults; lm.Status.Phase != v1alpha1.PhaseSucceeded || len(faults) != 1 || !strings.Contains(faults[0], "virtio queues") {
				t.Errorf("without post-copy it ends in %s, and %q is told", lm.Status.Phase, faults)
			}
		})
	}
}

// TestEmulatedGuestsKeepTheirWrites: where QEMU loses writes of guests whose CPU it emulates,
// these are not moved with post-copy, and all others are.
func TestEmulatedGuestsKeepTheirWrites(t *testing.T) {
	const uuid = "33333333-3333-4333-8333-333333333333"
	for _, c := range []struct {
		virtType, qemu string
		change         func(*v1alpha1.LiveMigration)
		refused        bool
	}{
		{"qemu", "11.1.2", keepGoing(true), true},
		{"qemu", "11.1.2", func(lm *v1alpha1.LiveMigration) {
			keepGoing(true)(lm)
			lm.Spec.Options.IgnoreKnownFaults = []v1alpha1.KnownFault{v1alpha1.FaultEmulatedWritesLost}
		}, false},
		{"qemu", "11.1.2", func(*v1alpha1.LiveMigration) {}, false},
		{"qemu", "10.0.13", keepGoing(true), false},
		{"kvm", "11.1.2", keepGoing(true), false},
	} {
		inWorld(t, func(w *world) {
			w.fleet.Host("node-a").SetVersions("12.8.0", c.qemu)
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "writes", LiveXML: hypervisor.DomainXML(`<domain type='` + c.virtType + `'><name>writes</name><uuid>` + uuid + `</uuid><devices/></domain>`)})
			lm := w.settle(w.migrateWith(uuid, c.change))
			if got := blockersOf(lm); slices.Equal(got, []v1alpha1.BlockerCode{v1alpha1.BlockerVersionUnsupported}) != c.refused || (lm.Status.Source.StartRequestedTime == nil) != c.refused {
				t.Errorf("a guest of the type %s leaves QEMU %s with %v: %s", c.virtType, c.qemu, got, message(lm))
			}
		})
	}
}

// TestKnownFaultsAreTold before the guest is moved, in a dry run as well, and only those
// that concern it.
func TestKnownFaultsAreTold(t *testing.T) {
	const uuid = "33333333-3333-4333-8333-333333333333"
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>threads</name><uuid>` + uuid + `</uuid>` +
		`<cpu mode='custom'><topology sockets='1' dies='1' cores='1' threads='2'/><feature policy='require' name='vmx'/></cpu><devices/></domain>`)
	for _, c := range []struct {
		name                 string
		source, target, qemu string
		change               func(*v1alpha1.LiveMigration)
		want                 []string
	}{
		{"no fault is known", "9.0.0", "9.0.0", "7.2.22", keepGoing(true), nil},
		{"it may not be switched to post-copy", "9.0.0", "11.3.0", "10.0.2", func(*v1alpha1.LiveMigration) {}, []string{"threads a core"}},
		{"it may be", "9.0.0", "11.3.0", "10.0.2", keepGoing(true), []string{"when a post-copy that was interrupted", "threads a core"}},
		{"it may be, and one is ignored", "9.0.0", "11.3.0", "10.0.2", func(lm *v1alpha1.LiveMigration) {
			keepGoing(true)(lm)
			lm.Spec.Options.IgnoreKnownFaults = []v1alpha1.KnownFault{v1alpha1.FaultPostCopyResumeCrashesTarget, v1alpha1.FaultVMXRefused}
		}, []string{"threads a core"}},
		{"a dry run", "8.8.0", "10.1.0", "10.0.2", func(lm *v1alpha1.LiveMigration) { lm.Spec.DryRun = new(true) }, []string{"8.8.0 on node-a", "vmx", "threads a core"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").SetVersions(c.source, c.qemu)
				w.fleet.Host("node-b").SetVersions(c.target, c.qemu)
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: "threads", LiveXML: xml})
				lm := w.settle(w.migrateWith(uuid, c.change))
				if lm.Status.Phase != v1alpha1.PhaseSucceeded {
					t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				told := ""
				for _, n := range lm.Status.Notices {
					if n.Reason == v1alpha1.NoticeKnownFaults {
						told = n.Message
					}
				}
				faults := lm.Status.Source.KnownFaults
				if len(faults) != len(c.want) {
					t.Fatalf("the known faults are %q", faults)
				}
				for i, want := range c.want {
					if !strings.Contains(faults[i], want) || !strings.Contains(told, want) {
						t.Errorf("the known faults are %q, and %q was told; want %q", faults, told, want)
					}
				}
			})
		})
	}
}

// TestWhatAMigrationMakesUseOf, as far as faults are about it.
func TestWhatAMigrationMakesUseOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		transfer v1alpha1.TransferPlan
		memory   uint64
		images   []v1alpha1.TargetImage
		want     []versions.Use
	}{
		"nothing":                      {v1alpha1.TransferPlan{}, largeGuest, nil, nil},
		"encryption":                   {v1alpha1.TransferPlan{Encrypted: true}, largeGuest - 1, nil, []versions.Use{versions.UseEncryption}},
		"encryption, of a large guest": {v1alpha1.TransferPlan{Encrypted: true}, largeGuest, nil, []versions.Use{versions.UseEncryption, versions.UseLongEncryption}},
		"more for the switch-over":     {v1alpha1.TransferPlan{SwitchoverBandwidthMiBps: 1}, 0, nil, []versions.Use{versions.UseSwitchoverBandwidth}},
		"disks that both hosts have":   {v1alpha1.TransferPlan{}, 0, []v1alpha1.TargetImage{{State: v1alpha1.TargetImageShared}}, nil},
		"disks of which one is copied": {v1alpha1.TransferPlan{}, 0, []v1alpha1.TargetImage{
			{State: v1alpha1.TargetImageShared}, {State: v1alpha1.TargetImageMade},
		}, []versions.Use{versions.UseCopiedDisks}},
	} {
		s := &sourceSession{section: &v1alpha1.SourceStatus{Transfer: &c.transfer}, lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
			Attempt: &v1alpha1.AttemptStatus{ID: "1"}, Target: &v1alpha1.TargetStatus{AttemptID: "1", Images: c.images},
		}}}
		if got := s.uses("<domain/>", c.memory); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestWhichFaultsAreRefused: those that cost the guest, and disks in plain where nothing may be.
func TestWhichFaultsAreRefused(t *testing.T) {
	t.Parallel()
	required := &v1alpha1.MigrationOptions{Transfer: &v1alpha1.TransferOptions{Encryption: v1alpha1.EncryptionRequired}}
	plain := versions.Finding{ID: string(v1alpha1.FaultDisksUnencrypted), Effect: versions.Warn}
	for _, c := range []struct {
		options *v1alpha1.MigrationOptions
		found   versions.Finding
		refused bool
	}{
		{nil, versions.Finding{Effect: versions.Refuse}, true},
		{nil, plain, false},
		{&v1alpha1.MigrationOptions{}, plain, false},
		{&v1alpha1.MigrationOptions{Transfer: &v1alpha1.TransferOptions{}}, plain, false},
		{required, plain, true},
		{required, versions.Finding{ID: string(v1alpha1.FaultVMXRefused), Effect: versions.Warn}, false},
	} {
		s := &sourceSession{lm: &v1alpha1.LiveMigration{Spec: v1alpha1.LiveMigrationSpec{Options: c.options}}}
		if err := s.refusalOf(c.found); (err != nil) != c.refused {
			t.Errorf("with %+v, of %s: %v", c.options, c.found.ID, err)
		}
	}
}

// TestTheHostIsAskedForItsVersionsOnlyWhilePostCopyIsInterrupted, and if it has said what it is.
func TestTheHostIsAskedForItsVersionsOnlyWhilePostCopyIsInterrupted(t *testing.T) {
	broken := &v1alpha1.SourceStatus{AttemptID: "1", Recovery: &v1alpha1.RecoveryStatus{BrokenTime: metav1.NowMicro()}}
	for _, c := range []struct {
		source *v1alpha1.SourceStatus
		host   *v1alpha1.TargetHost
		asked  int
	}{
		{&v1alpha1.SourceStatus{AttemptID: "1"}, &v1alpha1.TargetHost{}, 0},
		{broken, nil, 0},
		{broken, &v1alpha1.TargetHost{}, 1},
	} {
		inWorld(t, func(w *world) {
			b := w.fleet.Host("node-b")
			s := &targetSession{hv: b, lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{Attempt: &v1alpha1.AttemptStatus{ID: "1"}, Source: c.source}}}
			s.noteVersions(t.Context(), &v1alpha1.TargetStatus{Host: c.host})
			if n := b.Count(fake.MethodHostInfo, ""); n != c.asked {
				t.Errorf("with %+v and %+v, it was asked %d times", c.source, c.host, n)
			}
		})
	}
}

// TestConnectionsByDefaultDoNotHurt: where several would have the target's certificate refused,
// there is one, unless the user wants more.
func TestConnectionsByDefaultDoNotHurt(t *testing.T) {
	onTarget(t, func(ctx context.Context, target *targetSession, host *fake.Host) {
		for _, c := range []struct {
			libvirt string
			asked   *int32
			state   v1alpha1.TargetImageState
			want    int32
			told    int
		}{
			{"10.2.0", nil, v1alpha1.TargetImagePlanned, 0, 0},
			{"10.2.0", new(int32(4)), v1alpha1.TargetImagePlanned, 4, 1},
			{"10.2.0", nil, v1alpha1.TargetImageShared, 4, 0},
			{"10.3.0", nil, v1alpha1.TargetImagePlanned, 4, 0},
		} {
			host.SetVersions(c.libvirt, "9.0.0")
			lm := target.lm.DeepCopy()
			lm.Spec.Options = &v1alpha1.MigrationOptions{Transfer: &v1alpha1.TransferOptions{ParallelConnections: c.asked}}
			lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: lm.Status.Attempt.ID, Images: []v1alpha1.TargetImage{{Name: "vda", State: c.state}}}
			s := &sourceSession{node: target.node, hv: host, lm: lm, section: &v1alpha1.SourceStatus{
				AttemptID: lm.Status.Attempt.ID, Transfer: &v1alpha1.TransferPlan{Encrypted: true, ParallelConnections: 4},
			}}
			faults, err := s.versionFaults(ctx, "<domain type='kvm'/>", 1<<30)
			if err != nil || len(faults) != c.told || s.section.Transfer.ParallelConnections != c.want {
				t.Errorf("%+v: there are %d connections, and %q is told, %v", c, s.section.Transfer.ParallelConnections, faults, err)
			}
		}
	})
}
