//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestEncryptedDisksAreCopied into an image that is encrypted by the same passphrase.
func TestEncryptedDisksAreCopied(t *testing.T) { env.moveEncryptedDisk(t) }

func (e *environment) moveEncryptedDisk(t *testing.T) {
	t.Helper()
	const image, secret = lab.PrivateDir + "/encrypted.qcow2", "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b15"
	for _, h := range []*lab.Host{e.a, e.b} {
		keepSecretFor(t, h, "<usage type='volume'><volume>"+image+"</volume></usage>", secret, passphrase)
		t.Cleanup(func() { _ = os.Remove(h.Path(image)) })
	}
	contents := bytes.Repeat([]byte(mediumText+"\n"), 1<<17)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	crypt(t, "-O", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", plain, e.a.Path(image))
	g := e.startGuest(t, e.a, lab.GuestConfig{Persistent: true, ExtraDevices: "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" + image +
		"'><encryption format='luks'><secret type='passphrase' uuid='" + secret + "'/></encryption></source><target dev='vdc' bus='virtio'/></disk>"})
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: e.b.Name(), Options: &v1alpha1.MigrationOptions{
		StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull, SourceImages: v1alpha1.SourceImagesRemove},
	}}
	lm := e.awaitPhase(t, e.migrate(t, spec), v1alpha1.PhaseSucceeded)
	if plan := lm.Status.Source.Transfer; plan == nil || !plan.Encrypted {
		t.Errorf("it was sent as %+v", plan)
	}
	e.requireOn(t, g, e.b)
	if _, err := e.b.Virsh(t.Context(), "destroy", g.UUID()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(e.b.Path(image))
	if err != nil || bytes.Contains(raw, []byte(mediumText)) {
		t.Errorf("the image is not encrypted: %v", err)
	}
	if _, err := os.Stat(e.a.Path(image)); err == nil {
		t.Error("the image on the source is left")
	}
	after := filepath.Join(t.TempDir(), "after")
	crypt(t, "--image-opts", "driver=qcow2,encrypt.key-secret=key,file.filename="+e.b.Path(image), "-O", "raw", after)
	if got, err := os.ReadFile(after); err != nil || !bytes.Equal(got, contents) {
		t.Errorf("what was on the disk is not there any more: %d bytes, %v", len(got), err)
	}
}

// passphrase opens the image.
const passphrase = "open sesame"

// crypt converts an image, with the passphrase as the key of the one that is encrypted.
func crypt(t *testing.T, args ...string) {
	t.Helper()
	command := append([]string{"convert", "--object", "secret,id=key,data=" + passphrase}, args...)
	for {
		out, err := exec.CommandContext(t.Context(), "qemu-img", command...).CombinedOutput()
		if err == nil {
			return
		}
		if !bytes.Contains(out, []byte("Unable to get accurate CPU usage")) { // By chance.
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
	}
}
