package agent

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// bubbleTime is when the time of a bubble begins.
func bubbleTime() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// without returns files without some of them.
func without(files fstest.MapFS, names ...string) fstest.MapFS {
	for _, name := range names {
		delete(files, "etc/pki/qemu/"+name)
	}
	return files
}

func TestGuestsAreSentEncrypted(t *testing.T) {
	ca, other := newAuthority(t, bubbleTime()), newAuthority(t, bubbleTime())
	const off = "spec.options.transfer.encryption is Disabled"
	for _, c := range []struct {
		name           string
		source, target fs.FS
		encryption     v1alpha1.Encryption
		encrypted      bool
		destination    string
		because        string // Part of why it is not encrypted, or not moved.
		refused        bool
		disks          string // Where the target has disks arrive.
	}{
		{name: "the certificate has both addresses", disks: "192.0.2.9", source: ca.qemuHost("x"), target: ca.qemuHost("node-b", "192.0.2.9"), encrypted: true},
		{name: "it has not that for disks", disks: "192.0.2.9", source: ca.qemuHost("x"), target: ca.qemuHost("node-b"), encrypted: true, destination: "node-b"},
		{name: "both have certificates", source: ca.qemuHost("node-a"), target: ca.qemuHost("node-b"), encrypted: true},
		{name: "the target's is for another name", source: ca.qemuHost("x"), target: ca.qemuHost("*.lan", "B.lan"), encrypted: true, destination: "b.lan"},
		{name: "the target's is for its IP address", source: ca.qemuHost("x"), target: ca.qemuHost("192.0.2.9"), encrypted: true, destination: "192.0.2.9"},
		{name: "the target's is for nobody", source: ca.qemuHost("x"), target: ca.qemuHost("*.lan"), because: "names neither node-b nor any other host"},
		{name: "the target's is for what is no name", source: ca.qemuHost("x"), target: ca.qemuHost("b_x.lan"), because: "names neither node-b nor any other host"},
		{name: "it is off", source: ca.qemuHost("a"), target: ca.qemuHost("node-b"), encryption: v1alpha1.EncryptionDisabled, because: off},
		{name: "two authorities", source: ca.qemuHost("a"), target: other.qemuHost("node-b"), because: "no certificate authority in common"},
		{
			name: "the source has no key", source: without(ca.qemuHost("a"), "client-key.pem"), target: ca.qemuHost("node-b"),
			because: "on node-a, QEMU's certificate /etc/pki/qemu/client-cert.pem has no key",
		},
		{
			name: "the target has no certificate", source: ca.qemuHost("a"), target: without(ca.qemuHost("node-b"), "server-cert.pem"),
			because: "on node-b, QEMU's certificate /etc/pki/qemu/server-cert.pem is missing",
		},
		{name: "nothing is seen", because: "the agent on node-b does not see its host's certificates"},
		{name: "nothing is seen, but it is required", encryption: v1alpha1.EncryptionRequired, encrypted: true},
		{
			name: "it is required, and the target has no certificates", source: ca.qemuHost("a"), target: fstest.MapFS{"etc/libvirt/qemu.conf": {}},
			encryption: v1alpha1.EncryptionRequired, refused: true, because: "on node-b, QEMU's certificate authority /etc/pki/qemu/ca-cert.pem is missing",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.a.files, w.b.files = c.source, c.target
				w.a.restart()
				w.b.restart()
				w.b.node.Receive.Endpoint.DisksAddress = c.disks
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					lm.Spec.Options = &v1alpha1.MigrationOptions{Transfer: &v1alpha1.TransferOptions{Encryption: c.encryption}}
				}))
				if c.refused {
					w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonSourceCheckFailed, "")
					w.requireCalls(fake.MethodMigrate, 0)
					if p := lm.Status.Source.Problem; len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerEncryptionUnavailable || !strings.Contains(p.Message, c.because) {
						t.Errorf("the problem is %+v", p)
					}
					return
				}
				w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
				plan := lm.Status.Source.Transfer
				if plan == nil || plan.Encrypted != c.encrypted || plan.TLSDestination != c.destination || !strings.Contains(plan.UnencryptedReason, c.because) ||
					plan.Encrypted != (plan.UnencryptedReason == "") {
					t.Errorf("the status says %+v", plan)
				}
				for _, call := range w.fleet.Calls() {
					if got := call.Params.Transfer; call.Method == fake.MethodMigrate && got != (hypervisor.Transferral{TLS: c.encrypted, TLSDestination: c.destination}) {
						t.Errorf("libvirt was asked for %+v", got)
					}
				}
			})
		})
	}
}

// TestAResumedPostCopyIsSentAsItBegan, whatever has become of the certificates and of the
// agent: libvirt refuses other flags than the first.
func TestAResumedPostCopyIsSentAsItBegan(t *testing.T) {
	ca := newAuthority(t, bubbleTime())
	inWorld(t, func(w *world) {
		w.a.files, w.b.files = ca.qemuHost("a"), ca.qemuHost("b.lan")
		w.a.restart()
		w.b.restart()
		w.busy()
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsPostCopyBroken})
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		w.a.files, w.b.files = nil, nil
		w.a.restart()
		w.b.restart()
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.requireEnd(w.settle(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
		var calls []hypervisor.Transferral
		for _, call := range w.fleet.Calls() {
			if call.Method == fake.MethodMigrate || call.Method == fake.MethodRecoverPostCopy {
				calls = append(calls, call.Params.Transfer)
			}
		}
		want := hypervisor.Transferral{TLS: true, TLSDestination: "b.lan"}
		if len(calls) < 2 || calls[0] != want || calls[len(calls)-1] != want {
			t.Errorf("libvirt was asked for %+v", calls)
		}
	})
}

// TestConnectionsCompressionAndSwitchover are handed over, and refused before anything is touched where
// a version does not have them.
func TestConnectionsCompressionAndSwitchover(t *testing.T) {
	options := &v1alpha1.TransferOptions{
		ParallelConnections: new(int32(4)), Compression: &v1alpha1.CompressionOptions{Method: v1alpha1.CompressionZstd, Level: new(int32(3))},
		SwitchoverBandwidthMiBps: new(int64(1000)),
	}
	want := hypervisor.Transferral{ParallelConnections: 4, Compression: hypervisor.CompressionZstd, CompressionLevel: 3, SwitchoverBandwidthMiBps: 1000}
	for _, c := range []struct{ name, source, target, refused string }{
		{"both can", "11.1.0", "9.4.0", ""},
		{"the source cannot tell QEMU of the switch-over", "11.0.0", "11.3.0", "11.0.0 on node-a"},
		{"the source cannot compress", "9.0.0", "11.3.0", "9.0.0 on node-a"},
		{"the target cannot decompress", "11.3.0", "9.0.0", "9.0.0 on node-b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").SetVersions(c.source, "10.0.0")
				w.fleet.Host("node-b").SetVersions(c.target, "10.0.0")
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					lm.Spec.Options = &v1alpha1.MigrationOptions{Transfer: options}
				}))
				if c.refused != "" {
					w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonSourceCheckFailed, "")
					w.requireCalls(fake.MethodMigrate, 0)
					if p := lm.Status.Source.Problem; p.Blockers[0].Code != v1alpha1.BlockerVersionUnsupported || !strings.Contains(p.Message, c.refused) {
						t.Errorf("the problem is %+v", p)
					}
					return
				}
				w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
				for _, call := range w.fleet.Calls() {
					if call.Method == fake.MethodMigrate && call.Params.Transfer != want {
						t.Errorf("libvirt was asked for %+v", call.Params.Transfer)
					}
				}
				if plan := lm.Status.Source.Transfer; plan == nil || plan.ParallelConnections != 4 || plan.Compression != v1alpha1.CompressionZstd {
					t.Errorf("the status says %+v", plan)
				}
			})
		})
	}
}

// TestDisksAreNotSentInPlainWhereEncryptionIsRequired: a libvirt that encrypts only the memory
// copies none then.
func TestDisksAreNotSentInPlainWhereEncryptionIsRequired(t *testing.T) {
	for _, c := range []struct {
		version    string
		encryption v1alpha1.Encryption
		ignored    []v1alpha1.KnownFault
		refused    bool
	}{
		{"8.1.0", v1alpha1.EncryptionRequired, nil, true},
		{"8.2.0", v1alpha1.EncryptionRequired, nil, false},
		{"8.1.0", v1alpha1.EncryptionRequired, []v1alpha1.KnownFault{v1alpha1.FaultDisksUnencrypted}, false},
		{"8.1.0", v1alpha1.EncryptionAuto, nil, false},
	} {
		inWorld(t, func(w *world) {
			w.diskGuest()
			w.fleet.Host("node-a").SetVersions(c.version, "7.2.0")
			lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
				copies(v1alpha1.StorageCopyOptions{})(lm)
				lm.Spec.Options.Transfer = &v1alpha1.TransferOptions{Encryption: c.encryption}
				lm.Spec.Options.IgnoreKnownFaults = c.ignored
			}))
			if !c.refused {
				w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
				return
			}
			w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonSourceCheckFailed, "")
			w.requireCalls(fake.MethodMigrate, 0)
			if p := lm.Status.Source.Problem; p.Blockers[0].Code != v1alpha1.BlockerEncryptionUnavailable {
				t.Errorf("the problem is %+v", p)
			}
		})
	}
}

// TestAServerNameIsCheckedBeforeItIsUsed: it comes from the target's agent.
func TestAServerNameIsCheckedBeforeItIsUsed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.api.spoil = func(section *v1alpha1.TargetStatus) {
			section.Host.MigrationTLS = &v1alpha1.MigrationTLS{Ready: true, ServerName: "node-b?x=y"}
		}
		lm := w.settle(w.migrateWith(guestUUID, func(*v1alpha1.LiveMigration) {}))
		w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
	})
}

// TestCertificatesThatCannotBeReadHoldNothingUp: they are not known then.
func TestCertificatesThatCannotBeReadHoldNothingUp(t *testing.T) {
	inWorld(t, func(w *world) {
		files := &hangingFiles{FS: fstest.MapFS{}, mended: make(chan struct{})}
		defer close(files.mended)
		w.a.files, w.b.files = files, files
		w.a.restart()
		w.b.restart()
		for _, uid := range []types.UID{"first", "second"} {
			begun := time.Now()
			lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
				lm.UID, lm.Name = uid, string(uid)
				if uid == "second" {
					lm.Spec.TargetNode = "node-a"
				}
			}))
			source := lm.Status.Source
			if uid == "first" && (lm.Status.Phase != v1alpha1.PhaseSucceeded || source.Transfer == nil || source.Transfer.Encrypted) || time.Since(begun) > time.Minute {
				t.Errorf("%s: %s after %s: %+v", uid, lm.Status.Phase, time.Since(begun), lm.Status)
			}
		}
	})
}

// TestEndsOfCertificatesAreTold to whoever watches the node's load.
func TestEndsOfCertificatesAreTold(t *testing.T) {
	ca := newAuthority(t, bubbleTime())
	whilePublishing(t, func(p *publishing) {
		p.files = HostFiles{Host: without(ca.qemuHost("node-a"), "client-cert.pem")}
		p.start()
		p.pass(time.Second)
		want := []CertificateEnd{
			{Use: "migration", Certificate: "authority", End: bubbleTime().Add(certificateValidity)},
			{Use: "migration", Certificate: "server", End: bubbleTime().Add(certificateValidity)},
		}
		if got := p.node.Load().Certificates; !slices.Equal(got, want) {
			t.Errorf("they are %v, want %v", got, want)
		}
	})
}

// TestCertificatesThatTheAgentMayNotRead say nothing of whether QEMU can encrypt.
func TestCertificatesThatTheAgentMayNotRead(t *testing.T) {
	t.Parallel()
	ready, hidden := hostfiles.Certificate{State: hostfiles.CertificateReady}, hostfiles.Certificate{State: hostfiles.CertificateUnreadable}
	for _, c := range []struct {
		authority, own hostfiles.Certificate
		known          bool
	}{
		{ready, ready, true},
		{hidden, ready, false},
		{ready, hidden, false},
		{hidden, hidden, false},
	} {
		if got := sendingTLS(&hostfiles.Credentials{Authority: c.authority, Client: c.own}); (got != nil) != c.known {
			t.Errorf("of an authority that is %s and a certificate that is %s: %+v", c.authority.State, c.own.State, got)
		}
	}
}
