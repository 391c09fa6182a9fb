package xmlrewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestReadSecrets: what the target needs is what its definition will refer to, not the
// source's.
func TestReadSecrets(t *testing.T) {
	t.Parallel()
	uuid := func(n int) string { return fmt.Sprintf("%08d-1111-4111-8111-111111111111", n) }
	guest := `<domain><name>g</name><devices>
  <disk type='file' device='disk'><source file='/a'/><target dev='vda'/><serial>A</serial>
    <encryption format='luks'><secret type='passphrase' uuid='` + uuid(1) + `'/></encryption></disk>
  <disk type='network' device='disk'><auth username='admin'><secret type='ceph' usage='client.admin secret'/></auth>
    <source protocol='rbd' name='pool/b'/><target dev='vdb'/><serial>B</serial></disk>
  <disk type='network' device='disk'><source protocol='iscsi' name='iqn.2013-07.com.example:c/1'>
    <auth username='me'><secret type='iscsi' usage='libvirtiscsi'/></auth></source><target dev='vdc'/></disk>
  <disk type='file' device='disk'><source file='/d'><encryption format='luks'><secret type='passphrase' usage='/d'/></encryption></source>
    <target dev='vdd'/></disk>
  <disk type='file' device='disk'><source file='/e'><encryption format='luks'><secret type='passphrase' uuid='` + uuid(1) + `'/></encryption></source>
    <target dev='vde'/></disk>
  <tpm model='tpm-crb'><backend type='emulator'><encryption secret='` + uuid(2) + `'/></backend></tpm>
  <what xmlns='urn:x'><secret uuid='` + uuid(8) + `'/></what>
  <q:what xmlns:q='urn:q'><secret uuid='` + uuid(7) + `'/></q:what>
</devices><metadata><x:secret xmlns:x='urn:x' type='ceph' usage='not ours'/><x:y xmlns:x='urn:x'><secret uuid='` + uuid(9) + `'/></x:y></metadata></domain>`
	for _, c := range []struct {
		name string
		data *v1alpha1.MigrateData
		want []string
	}{
		{"as it is", nil, []string{uuid(1), `ceph "client.admin secret"`, `iscsi "libvirtiscsi"`, `volume "/d"`, uuid(2)}},
		{"with other secrets", &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{
			{Serial: new("A"), Encryption: &v1alpha1.VolumeEncryption{SecretUUID: new(v1alpha1.UUID(uuid(3)))}},
			{Serial: new("B"), Source: &v1alpha1.VolumeSource{Network: &v1alpha1.NetworkVolumeSource{
				Protocol: "rbd", Name: new("pool/b"), Auth: &v1alpha1.VolumeAuth{Username: "other", SecretUUID: new(v1alpha1.UUID(uuid(4)))},
			}}},
		}}, []string{uuid(3), uuid(4), `iscsi "libvirtiscsi"`, `volume "/d"`, uuid(1), uuid(2)}},
	} {
		found, err := ReadSecrets(guest, c.data, Options{})
		var got []string
		for _, r := range found {
			got = append(got, r.String())
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	if _, err := ReadSecrets("<guest/>", nil, Options{}); err == nil {
		t.Error("what is no guest is read")
	}
}

// TestWhatRefersToASecret: by a UUID, or by a use that libvirt knows and a status can hold.
func TestWhatRefersToASecret(t *testing.T) {
	t.Parallel()
	const uuid = "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"
	for _, c := range []struct{ kind, uuid, usage, want string }{
		{"passphrase", uuid, "", uuid},
		{"", "5E26D0F7-8C1E-4B57-9F0E-3A8D2A0C6B11", "", uuid},
		{"ceph", uuid, "x", uuid},
		{"ceph", "x", "", ""},
		{"ceph", "", "x", `ceph "x"`},
		{"ceph", "", "", ""},
		{"tls", "", "x", ""},
		{"ceph", "", strings.Repeat("x", maxUsage), `ceph "` + strings.Repeat("x", maxUsage) + `"`},
		{"ceph", "", strings.Repeat("x", maxUsage+1), ""},
	} {
		r, ok := secretReference(c.kind, c.uuid, c.usage)
		if ok != (c.want != "") || ok && r.String() != c.want {
			t.Errorf("%q, %q, %q: it refers to %s, %t; want %s", c.kind, c.uuid, c.usage, r, ok, c.want)
		}
	}
}
