package xmlrewrite

import (
	"fmt"
	"slices"
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
