//go:build e2e

package libvirt

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

// noPoolsLeft fails the test if a pool that was made for a call is still there.
func noPoolsLeft(t *testing.T, host *lab.Host) {
	t.Helper()
	out, err := host.Virsh(t.Context(), "pool-list", "--all", "--name")
	if err != nil || strings.Contains(out, ownPools) {
		t.Errorf("pools on %s: %q, %v", host.Name(), out, err)
	}
}

// directory makes a directory on a host, and removes it when the test ends.
func directory(t *testing.T, host *lab.Host, name string) string {
	t.Helper()
	dir := lab.PrivateDir + "/" + name
	if err := os.MkdirAll(host.Path(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(host.Path(dir)) })
	return dir
}

// TestE2EImages: they are made in the size that is asked for, to the byte, never in the place of
// anything, and removed again; and nothing else changes, whether the directory belongs to a
// pool or not.
func TestE2EImages(t *testing.T) {
	host := nodeA()
	c := startClient(t, host, Config{})
	for _, pooled := range []bool{false, true} {
		t.Run(fmt.Sprintf("pool=%v", pooled), func(t *testing.T) {
			ctx := t.Context()
			dir := directory(t, host, "images")
			if pooled {
				if _, err := host.Virsh(ctx, "pool-create-as", "mine", "dir", "--target", dir); err != nil {
					t.Fatal(err)
				}
				defer func() { _, _ = host.Virsh(t.Context(), "pool-destroy", "mine") }()
			}
			if err := os.WriteFile(host.Path(dir+"/other"), []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, image := range []hypervisor.NewImage{
				{Path: dir + "/raw.img", Format: "raw", CapacityBytes: 3<<20 + 512},
				{Path: dir + "/web.qcow2", Format: "qcow2", CapacityBytes: 64 << 20},
				{Path: dir + "/full.img", Format: "raw", CapacityBytes: 64 << 20, Preallocate: true},
				{Path: dir + "/full.qcow2", Format: "qcow2", CapacityBytes: 64 << 20, Preallocate: true},
				{Path: dir + "/top.qcow2", Format: "qcow2", CapacityBytes: 64 << 20, BackingPath: dir + "/web.qcow2", BackingFormat: "qcow2"},
			} {
				if sight, err := c.LookAtImage(ctx, image.Path); err != nil || sight.Exists || sight.AvailableBytes == 0 {
					t.Errorf("before, %s is %+v, %v", image.Path, sight, err)
				}
				before := time.Now().Add(-time.Second)
				if err := c.MakeImage(ctx, image); err != nil {
					t.Fatal(err)
				}
				sight, err := c.LookAtImage(ctx, image.Path)
				if err != nil || !sight.Exists || sight.CapacityBytes != image.CapacityBytes || sight.Format != image.Format ||
					(sight.AllocatedBytes > 1<<20) != image.Preallocate || image.Preallocate && sight.AllocatedBytes < image.CapacityBytes || sight.Changed.Before(before) || sight.Changed.After(time.Now()) {
					t.Errorf("%s is %+v, %v", image.Path, sight, err)
				}
				if err := c.MakeImage(ctx, image); !errors.Is(err, hypervisor.ErrImageExists) {
					t.Errorf("made twice, %s fails with %v", image.Path, err)
				}
			}
			if err := c.MakeImage(ctx, hypervisor.NewImage{Path: dir + "/other", Format: "raw", CapacityBytes: 512}); !errors.Is(err, hypervisor.ErrImageExists) {
				t.Errorf("a file that is there fails with %v", err)
			}
			if err := c.MakeImage(ctx, hypervisor.NewImage{Path: dir + "/odd.qcow2", Format: "qcow2", CapacityBytes: 3<<20 + 512}); err == nil || hypervisor.KindOf(err) != hypervisor.KindOther {
				t.Errorf("an odd size fails with %v", err)
			}
			for _, name := range []string{"raw.img", "full.img", "full.qcow2", "top.qcow2", "web.qcow2", "web.qcow2", "odd.qcow2"} {
				if err := c.RemoveImage(ctx, dir+"/"+name); err != nil {
					t.Error(err)
				}
			}
			left, err := os.ReadDir(host.Path(dir))
			text, _ := os.ReadFile(host.Path(dir + "/other"))
			if err != nil || len(left) != 1 || string(text) != "precious" {
				t.Errorf("left are %v, %v, with %q", left, err, text)
			}
			if out, err := host.Virsh(ctx, "pool-list", "--name"); pooled && (err != nil || !strings.Contains(out, "mine")) {
				t.Errorf("the pools are %q, %v", out, err)
			}
			noPoolsLeft(t, host)
		})
	}
	t.Run("a firmware that is a symbolic link", func(t *testing.T) {
		sight, err := c.LookAtImage(t.Context(), "/usr/share/OVMF/OVMF_CODE_4M.ms.fd")
		if err != nil || !sight.Exists || sight.CapacityBytes != 3653632 {
			t.Errorf("it is seen as %+v, %v", sight, err)
		}
		noPoolsLeft(t, host)
	})
	t.Run("a directory that does not exist", func(t *testing.T) {
		_, err := c.LookAtImage(t.Context(), lab.PrivateDir+"/nowhere/web.qcow2")
		t.Log(err)
		if hypervisor.KindOf(err) != hypervisor.KindOther {
			t.Errorf("the error is of kind %s", hypervisor.KindOf(err))
		}
		noPoolsLeft(t, host)
	})
	t.Run("a pool that an earlier process has left", func(t *testing.T) {
		dir := directory(t, host, "leftover")
		if _, err := host.Virsh(t.Context(), "pool-create-as", ownPools+"old", "dir", "--target", dir); err != nil {
			t.Fatal(err)
		}
		if err := c.MakeImage(t.Context(), hypervisor.NewImage{Path: dir + "/a", Format: "raw", CapacityBytes: 512}); err != nil {
			t.Error(err)
		}
		noPoolsLeft(t, host)
	})
	t.Run("two processes in one directory", func(t *testing.T) {
		dir := directory(t, host, "crowded")
		other := startClient(t, host, Config{})
		var wait sync.WaitGroup
		for _, client := range []*Client{c, other} {
			wait.Go(func() {
				for i := range 40 {
					_, err := client.LookAtImage(t.Context(), dir+"/none")
					if err != nil && hypervisor.KindOf(err) != hypervisor.KindBusy {
						t.Errorf("look %d: %v", i, err)
					}
				}
			})
		}
		wait.Wait()
		noPoolsLeft(t, host)
	})
	t.Run("a symbolic link that leads nowhere", func(t *testing.T) {
		dir, elsewhere := directory(t, host, "links"), directory(t, host, "elsewhere")
		for _, format := range []string{"raw", "qcow2"} {
			if err := os.Symlink(elsewhere+"/precious", host.Path(dir+"/"+format)); err != nil {
				t.Fatal(err)
			}
			err := c.MakeImage(t.Context(), hypervisor.NewImage{Path: dir + "/" + format, Format: format, CapacityBytes: 1 << 20})
			if !errors.Is(err, hypervisor.ErrImageExists) {
				t.Errorf("%s: the error is %v", format, err)
			}
			if link, err := os.Readlink(host.Path(dir + "/" + format)); err != nil || link != elsewhere+"/precious" {
				t.Errorf("%s: the link is %q, %v", format, link, err)
			}
		}
		if entries, err := os.ReadDir(host.Path(elsewhere)); err != nil || len(entries) > 0 {
			t.Errorf("behind the links are %v, %v", entries, err)
		}
	})
	t.Run("a pool that is not active", func(t *testing.T) {
		dir := directory(t, host, "inactive")
		if _, err := host.Virsh(t.Context(), "pool-define-as", "sleeping", "dir", "--target", dir); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = host.Virsh(t.Context(), "pool-undefine", "sleeping") }()
		_, err := c.LookAtImage(t.Context(), dir+"/a")
		if hypervisor.KindOf(err) != hypervisor.KindOther || !strings.Contains(err.Error(), "virsh pool-start") {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestE2EMigrateCopiesDisks: those that are listed, with all that the guest writes meanwhile,
// in full or only what is in the topmost image. libvirt itself makes no image where no pool
// has the directory, and takes none of another size.
func TestE2EMigrateCopiesDisks(t *testing.T) {
	const size = 32 << 20
	for name, disks := range map[string]hypervisor.DiskCopy{
		"in full": {Disks: []string{"vda"}, SynchronousWrites: true}, "incrementally": {Disks: []string{"vda"}, Incremental: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
			dir := directory(t, nodeA(), "copied")
			directory(t, nodeB(), "copied")
			base := hypervisor.NewImage{Path: dir + "/base.qcow2", Format: "qcow2", CapacityBytes: size}
			top := hypervisor.NewImage{Path: dir + "/web.qcow2", Format: "qcow2", CapacityBytes: size, BackingPath: base.Path, BackingFormat: "qcow2"}
			makeImages(t, a, base, top)
			copied := top
			if disks.Incremental {
				makeImages(t, b, base)
			} else {
				copied.BackingPath, copied.BackingFormat = "", ""
			}
			guest := startGuest(t, nodeA(), lab.GuestConfig{
				Name: "carried", Disks: []lab.Disk{{Path: top.Path, Format: "qcow2"}}, Load: lab.Load{DiskMiBps: 4},
			})
			uuid := guest.UUID()
			if _, err := guest.Ticks().Wait(ctx, "node-a", 2); err != nil {
				t.Fatal(err)
			}
			if got, err := a.DiskSize(ctx, uuid, "vda"); err != nil || got.CapacityBytes != size || got.AllocatedBytes == 0 {
				t.Errorf("the disk's size is %+v, %v", got, err)
			}
			params := paramsFor(t, a, uuid, nodeB())
			params.Copy, params.PostCopy = disks, true // Which may be switched to once the disks are in step.
			refuses(t, a, uuid, params, "storage")
			large := copied
			large.CapacityBytes += 1 << 20
			makeImages(t, b, large)
			refuses(t, a, uuid, params, "different sizes")
			if err := b.RemoveImage(ctx, copied.Path); err != nil {
				t.Fatal(err)
			}
			makeImages(t, b, copied)
			if err := a.Migrate(ctx, uuid, params); err != nil {
				t.Fatal(err)
			}
			if _, err := guest.Ticks().Wait(ctx, "node-b", 2); err != nil {
				t.Fatal(err)
			}
			if _, err := nodeB().Virsh(ctx, "destroy", uuid); err != nil {
				t.Fatal(err)
			}
			before, after := newestWrite(t, nodeA(), top.Path), newestWrite(t, nodeB(), copied.Path)
			t.Logf("the newest write is %d on the source, %d on the target", before, after)
			if before == 0 || after <= before {
				t.Error("the guest has not gone on with its disk")
			}
		})
	}
}

func makeImages(t *testing.T, c *Client, images ...hypervisor.NewImage) {
	t.Helper()
	for _, image := range images {
		if err := c.MakeImage(t.Context(), image); err != nil {
			t.Fatal(err)
		}
	}
}

// refuses fails the test if a migration does not fail with these words.
func refuses(t *testing.T, c *Client, uuid string, params hypervisor.MigrateParams, words string) {
	t.Helper()
	err := c.Migrate(t.Context(), uuid, params)
	t.Log(err)
	if hypervisor.KindOf(err) != hypervisor.KindOther || !strings.Contains(err.Error(), words) {
		t.Fatalf("the migration fails with %v", err)
	}
}

// newestWrite returns the newest of a guest's writes to a disk, all of which has to be there.
func newestWrite(t *testing.T, host *lab.Host, path string) int {
	t.Helper()
	disk, err := host.ReadDisk(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	newest, err := lab.CheckWrites(disk)
	if err != nil {
		t.Errorf("the disk on %s: %v", host.Name(), err)
	}
	return newest
}
