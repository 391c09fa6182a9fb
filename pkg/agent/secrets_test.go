package agent

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// encrypted is a guest whose disk and storage server need a secret each.
const encrypted = `<domain type='qemu'><name>web</name><uuid>` + guestUUID + `</uuid><devices>
  <disk type='file' device='disk'><source file='/a'><encryption format='luks'>
    <secret type='passphrase' uuid='5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11'/></encryption></source><target dev='vda'/></disk>
  <disk type='network' device='disk'><source protocol='rbd' name='pool/b'><auth username='me'><secret type='ceph' usage='client.me secret'/></auth></source>
    <target dev='vdb'/></disk>
</devices></domain>`

// TestSecretsAreLookedForOnTheTarget before anything is touched, and each that is missing is
// named.
func TestSecretsAreLookedForOnTheTarget(t *testing.T) {
	disk := hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}
	ceph := hypervisor.SecretName{UsageType: "ceph", UsageName: "client.me secret"}
	for _, c := range []struct {
		name          string
		there         []hypervisor.SecretName
		missing, have []string
	}{
		{"none is there", nil, []string{disk.UUID, `ceph "client.me secret"`}, nil},
		{"one is there", []hypervisor.SecretName{disk}, []string{`ceph "client.me secret"`}, []string{disk.UUID}},
		{"both are there", []hypervisor.SecretName{disk, ceph}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: encrypted})
				for _, s := range c.there {
					w.fleet.Host("node-b").AddSecret(s)
				}
				lm := w.settle(w.migrate(guestUUID))
				message := lm.Status.Conditions[0].Message
				if moved := lm.Status.Phase == v1alpha1.PhaseSucceeded; moved != (c.missing == nil) {
					t.Errorf("it is %s: %s", lm.Status.Phase, message)
				}
				for _, name := range c.missing {
					if !strings.Contains(message, name) {
						t.Errorf("%s is not named: %s", name, message)
					}
				}
				for _, name := range c.have {
					if strings.Contains(message, name) {
						t.Errorf("%s is named: %s", name, message)
					}
				}
			})
		})
	}
}
