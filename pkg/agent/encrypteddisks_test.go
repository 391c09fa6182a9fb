package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestEncryptedDisksAreNotBared: what is encrypted on the source goes over the network in the
// clear only if the user says that nothing is to be encrypted; and it is made by a secret that
// the target has.
func TestEncryptedDisksAreNotBared(t *testing.T) {
	ca := newAuthority(t, bubbleTime())
	const secret = "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"
	const xml = `<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
		`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/web.qcow2'><encryption format='luks'><secret type='passphrase' uuid='` + secret +
		`'/></encryption></source><target dev='vda' bus='virtio'/></disk></devices></domain>`
	for name, c := range map[string]struct {
		tls, without bool // QEMU can encrypt, and the target lacks the secret.
		shared       bool
		encryption   v1alpha1.Encryption
		dry          bool
		refused      v1alpha1.BlockerCode
		message      string
	}{
		"it is sent encrypted":           {tls: true},
		"it would be bared":              {refused: v1alpha1.BlockerEncryptionUnavailable, message: "The disk vda is encrypted, and would be sent to node-b without: the agent on node-b does not see"},
		"it would be, says a dry run":    {dry: true, refused: v1alpha1.BlockerEncryptionUnavailable},
		"it is bared on request":         {encryption: v1alpha1.EncryptionDisabled},
		"both hosts have it":             {shared: true},
		"the target has not the secret":  {tls: true, without: true, refused: v1alpha1.BlockerSecretMissing},
		"it is encrypted, in a dry run ": {tls: true, dry: true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if c.tls {
					w.a.files, w.b.files = ca.qemuHost("node-a"), ca.qemuHost("node-b")
					w.a.restart()
					w.b.restart()
				}
				if c.shared {
					w.fleet.ShareDirectory("/images")
				}
				if !c.without {
					w.fleet.Host("node-b").AddSecret(hypervisor.SecretName{UUID: secret}, "x")
				}
				a := w.fleet.Host("node-a")
				a.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, LiveXML: xml, PersistentXML: xml})
				a.AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 1 << 30})
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					copies(v1alpha1.StorageCopyOptions{})(lm)
					lm.Spec.Options.Transfer, lm.Spec.DryRun = &v1alpha1.TransferOptions{Encryption: c.encryption}, new(c.dry)
				}))
				if c.refused == "" {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Fatalf("it ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
					}
					if d := lm.Status.Source.Guest.Disks; len(d) != 1 || d[0].EncryptionSecretUUID == nil || *d[0].EncryptionSecretUUID != secret {
						t.Errorf("the target is told of %+v", d)
					}
					return
				}
				var found []v1alpha1.Blocker
				for _, p := range []*v1alpha1.Problem{lm.Status.Source.Problem, problemOf(lm.Status.Target)} {
					if p != nil {
						found = append(found, p.Blockers...)
					}
				}
				if !slices.ContainsFunc(found, func(b v1alpha1.Blocker) bool { return b.Code == c.refused && strings.Contains(b.Message, c.message) }) {
					t.Errorf("it ends in %s, with %+v", lm.Status.Phase, found)
				}
				w.requireCalls(fake.MethodMigrate, 0)
				w.requireFiles("node-b", "")
			})
		})
	}
}

func problemOf(target *v1alpha1.TargetStatus) *v1alpha1.Problem {
	if target == nil {
		return nil
	}
	return target.Problem
}
