//go:build e2e

package libvirt

import (
	"context"
	"os"
	"testing"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestE2EPreallocate: images of all formats take all of their space at once and, where there is not
// that much, nothing is left of them.
func TestE2EPreallocate(t *testing.T) {
	host := nodeA()
	c := startClient(t, host, Config{})
	ctx := t.Context()
	dir := directory(t, host, "prealloc")
	if out, err := host.Exec(ctx, "mount", "-t", "tmpfs", "-o", "size=48m", "none", dir); err != nil {
		t.Fatal(out, err)
	}
	t.Cleanup(func() { _, _ = host.Exec(context.WithoutCancel(ctx), "umount", dir) })
	const secret = "0b5c1a4e-3a55-4f0e-9d0b-6d2d7c1f7a11"
	loan := hypervisor.SecretLoan{Name: hypervisor.SecretName{UUID: secret}, Borrower: "a/b/c", Value: []byte("passphrase")}
	if err := c.LendSecret(ctx, loan); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = host.Virsh(context.WithoutCancel(ctx), "secret-undefine", secret) })
	for name, image := range map[string]hypervisor.NewImage{
		"raw":             {Format: "raw"},
		"qcow2":           {Format: "qcow2"},
		"encrypted qcow2": {Format: "qcow2", SecretUUID: secret},
	} {
		t.Run(name, func(t *testing.T) {
			image.Preallocate, image.Path = true, dir+"/web"
			for size, fits := range map[uint64]bool{24 << 20: true, 96 << 20: false} {
				image.CapacityBytes = size
				err := c.MakeImage(t.Context(), image)
				sight, lookErr := c.LookAtImage(t.Context(), image.Path)
				t.Log(size, err, sight)
				if lookErr != nil || (err == nil) != fits || sight.Exists != fits || fits && (sight.AllocatedBytes < size || sight.CapacityBytes != size) {
					t.Errorf("of %d bytes, it is %+v, %v, %v", size, sight, err, lookErr)
				}
				if err := c.RemoveImage(t.Context(), image.Path); err != nil {
					t.Error(err)
				}
				if left, err := os.ReadDir(host.Path(dir)); err != nil || len(left) > 0 {
					t.Errorf("left are %v, %v", left, err)
				}
			}
		})
	}
	noPoolsLeft(t, host)
}
