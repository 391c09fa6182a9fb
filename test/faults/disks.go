//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

// Guests with a disk that only their host has. Its images are in a directory of each host that
// is a small file system of its own, so that it can be full.
const (
	diskDir      = lab.PrivateDir + "/faults"
	diskDirMiB   = 192
	diskMiB      = 64
	diskMiBps    = 4
	fillerFile   = diskDir + "/filler"
	imageSuffix  = ".qcow2"
	inTheMiddle  = 500 * time.Millisecond
	virtferrysIn = "virtferry"
)

// imageOf is where a guest's image is, on whatever host.
func imageOf(g *lab.Guest) string { return diskDir + "/" + g.Name() + imageSuffix }

// makeRoom gives each host a directory for images.
func (w *world) makeRoom(ctx context.Context) error {
	for _, h := range w.lab.Hosts() {
		script := fmt.Sprintf("mkdir -p %[1]s && { mountpoint -q %[1]s || mount -t tmpfs -o size=%[2]dm faults %[1]s; }", diskDir, diskDirMiB)
		if _, err := h.Exec(ctx, "sh", "-c", script); err != nil {
			return fmt.Errorf("making room for images: %w", err)
		}
	}
	return nil
}

// disks are those of a guest of a kind.
func (k guestKind) disks(name string) []lab.Disk {
	if !k.disk {
		return nil
	}
	return []lab.Disk{{Path: diskDir + "/" + name + imageSuffix, SizeMiB: diskMiB, Format: "qcow2"}}
}

// storageCopy is how the disk of a guest that has one goes along. Its old image goes once it has moved: an image is
// where the guest is, and nowhere else.
func (k guestKind) storageCopy() *v1alpha1.StorageCopyOptions {
	if !k.disk {
		return nil
	}
	return &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull, SourceImages: v1alpha1.SourceImagesRemove}
}

// The phases of what becomes of images. In the first, the target has recorded that it makes
// them, and is about to.
var (
	makingImages = phase{name: "Making images", brisk: true, reached: status("the plan of an image", func(lm *v1alpha1.LiveMigration) bool {
		target := migration.CurrentTarget(lm)
		return target != nil && len(target.Images) > 0
	})}
	copyingDisks = phase{name: "Copying disks", brisk: true, reached: func(ctx context.Context, r *run) error {
		err := status("the copying of a disk", func(lm *v1alpha1.LiveMigration) bool {
			p := lm.Status.Progress
			return p != nil && p.Disk != nil && p.Disk.ProcessedBytes > 0
		})(ctx, r)
		sleep(ctx, inTheMiddle)
		return err
	}}
)

// diskFull fills the target's directory.
func diskFull(anytime ...ending) fault {
	return fault{
		name: "target's disk full", lasts: 10 * time.Second, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			_, err := r.target.Exec(ctx, "sh", "-c", "dd if=/dev/zero of="+fillerFile+" bs=64k 2>/dev/null; dd if=/dev/zero of="+fillerFile+"2 bs=1k 2>/dev/null; true")
			return err
		},
		repair: func(ctx context.Context, r *run) error {
			_, err := r.target.Exec(ctx, "rm", "-f", fillerFile, fillerFile+"2")
			return err
		},
	}
}

// storageMapped has an administrator say in the middle that storage is elsewhere on the target, and
// the target's agent be killed. That is for later migrations: whoever comes next goes by what
// the attempt says.
func storageMapped(anytime ...ending) fault {
	says := func(ctx context.Context, r *run, spec string) error {
		hv := &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: r.target.Name()}}
		return r.world.api.Patch(ctx, hv, client.RawPatch(types.MergePatchType, []byte(`{"spec":`+spec+`}`)))
	}
	return fault{
		name: "target's storage mapped elsewhere, and target agent killed", lasts: time.Second, anytime: anytime,
		inject: func(ctx context.Context, r *run) error {
			spec := fmt.Sprintf(`{"storageMappings":[{"kind":"Directory","from":%q,"to":%q}]}`, diskDir, lab.PrivateDir+"/elsewhere")
			return errors.Join(says(ctx, r, spec), targetAgent(r).kill(ctx))
		},
		repair: func(ctx context.Context, r *run) error {
			return errors.Join(targetAgent(r).start(), says(ctx, r, "null"))
		},
	}
}

// checkImages: the image is where the guest is, or where it stopped, and no other file; and no
// pool of ours is left.
func (r *run) checkImages(ctx context.Context, h *lab.Host, e ending) error {
	if !r.scenario.guest.disk {
		return nil
	}
	var want []string
	active, known := r.belongs(h, e)
	if active || known {
		want = []string{r.guest.Name() + imageSuffix}
	}
	text, err := h.Exec(ctx, "ls", "-A", diskDir)
	if err != nil {
		return err
	}
	if got := strings.Fields(text); !slices.Equal(got, want) {
		return fmt.Errorf("not in order: on %s there are the files %q, want %q", h.Name(), got, want)
	}
	pools, err := h.Virsh(ctx, "pool-list", "--all", "--name")
	if err == nil && strings.Contains(pools, virtferrysIn) {
		err = fmt.Errorf("not in order: on %s there are the pools %q", h.Name(), strings.Fields(pools))
	}
	return err
}

// checkDisk: all that the guest has written is on its disk. It stands still while that is read.
func (r *run) checkDisk(ctx context.Context, h *lab.Host) (err error) {
	if !r.scenario.guest.disk {
		return nil
	}
	if _, err := h.Virsh(ctx, "suspend", r.guest.UUID()); err != nil {
		return err
	}
	defer func() {
		_, resumed := h.Virsh(ctx, "resume", r.guest.UUID())
		err = errors.Join(err, resumed)
	}()
	disk, err := h.ReadDiskInUse(ctx, imageOf(r.guest))
	if err != nil {
		return err
	}
	newest, err := lab.CheckWrites(disk)
	if err == nil && newest == 0 {
		err = errors.New("nothing is written to it")
	}
	if err != nil {
		return fmt.Errorf("the disk on %s: %w", h.Name(), err)
	}
	r.seen.remark("the disk is whole, up to write %d", newest)
	return nil
}
