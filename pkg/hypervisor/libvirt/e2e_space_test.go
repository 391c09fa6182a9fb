//go:build e2e

package libvirt

import (
	"context"
	"testing"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestE2ESpace: what libvirt says of directories tells which of them are on one file system,
// however they are mounted, and what is written to an image is missing in it.
func TestE2ESpace(t *testing.T) {
	host := nodeA()
	c := startClient(t, host, Config{})
	ctx := t.Context()
	plain, other, bound, small := directory(t, host, "plain"), directory(t, host, "other"), directory(t, host, "bound"), directory(t, host, "small")
	mount := func(args ...string) {
		t.Helper()
		if out, err := host.Exec(ctx, "mount", args...); err != nil {
			t.Fatal(out, err)
		}
		dir := args[len(args)-1]
		t.Cleanup(func() { _, _ = host.Exec(context.WithoutCancel(ctx), "umount", dir) })
	}
	mount("--bind", plain, bound)
	mount("-t", "tmpfs", "-o", "size=64m", "none", small)
	within := small + "/within"
	if out, err := host.Exec(ctx, "mkdir", within); err != nil {
		t.Fatal(out, err)
	}
	look := func(file string) hypervisor.ImageSight {
		t.Helper()
		sight, err := c.LookAtImage(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		return sight
	}
	const slack = 1 << 30 // Others write to what is not ours alone.
	for _, x := range []struct {
		a, b string
		want bool
	}{{plain, other, true}, {plain, bound, true}, {small, within, true}, {plain, small, false}, {bound, within, false}} {
		a, b := look(x.a+"/any"), look(x.b+"/any")
		alike := a.FileSystemBytes == b.FileSystemBytes && max(a.AvailableBytes, b.AvailableBytes)-min(a.AvailableBytes, b.AvailableBytes) < slack
		if alike != x.want {
			t.Errorf("%s and %s, %+v and %+v, look alike: %t", x.a, x.b, a, b, alike)
		}
	}
	if got := look(small + "/any"); got.FileSystemBytes != 64<<20 || got.AvailableBytes > 64<<20 || got.AvailableBytes < 60<<20 {
		t.Errorf("the small one is %+v", got)
	}
	image := within + "/web.raw"
	if err := c.MakeImage(ctx, hypervisor.NewImage{Path: image, Format: "raw", CapacityBytes: 32 << 20}); err != nil {
		t.Fatal(err)
	}
	empty := look(image)
	if out, err := host.Exec(ctx, "dd", "if=/dev/zero", "of="+image, "bs=1M", "count=8", "conv=notrunc"); err != nil {
		t.Fatal(out, err)
	}
	const written = 8 << 20
	if full := look(image); full.AllocatedBytes-empty.AllocatedBytes != written || empty.AvailableBytes-full.AvailableBytes != written {
		t.Errorf("%d bytes were written: before, it is %+v, and then %+v", written, empty, full)
	}
	noPoolsLeft(t, host)
}
