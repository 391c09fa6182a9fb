//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

// Who moves the guest.
const (
	byVirsh         = "virsh migrate --copy-storage-all"
	byLiveMigration = "LiveMigration"
	byThin          = "LiveMigration, image grows"
)

const (
	imageDir = lab.PrivateDir + "/bench"
	image    = imageDir + "/disk.qcow2"
	// moveTimeout is how long a move may take that has nothing in its way.
	moveTimeout = 5 * time.Minute
)

// move is a measured move.
type move struct {
	by    string
	took  time.Duration
	bytes int64 // That the target has received in that time.
	done  bool
	says  string // What the LiveMigration says of its end.
}

// mover moves the guest.
type mover func(ctx context.Context, from, to *lab.Host) (move, error)

// bench is a lab with a guest to be moved.
type bench struct {
	*shuttle.Bench
	o options
}

// newBench starts a guest with a disk that is full of noise. On both hosts, a pool has the
// directory, without which virsh would have to be given an image.
func newBench(ctx context.Context, shared *shuttle.Bench, o options) (*bench, error) {
	b := &bench{shared, o}
	for _, h := range b.Lab.Hosts() {
		if err := os.MkdirAll(h.Path(imageDir), 0o755); err != nil {
			return nil, fmt.Errorf("making a directory for images: %w", err)
		}
		if _, err := h.Virsh(ctx, "pool-create-as", "bench", "dir", "--target", imageDir); err != nil {
			return nil, err
		}
	}
	if err := fill(ctx, b.Lab.Hosts()[0], o.diskMiB); err != nil {
		return nil, err
	}
	err := b.StartGuest(ctx, lab.GuestConfig{
		Name: "block", Persistent: true, Disks: []lab.Disk{{Path: image, SizeMiB: o.diskMiB, Format: "qcow2"}},
	})
	return b, err
}

// fill makes an image all of which is written.
func fill(ctx context.Context, h *lab.Host, mib int) error {
	const raw = imageDir + "/noise"
	file, err := os.Create(h.Path(raw))
	if err != nil {
		return fmt.Errorf("making noise: %w", err)
	}
	noise, block := rand.NewChaCha8([32]byte{}), make([]byte, 1<<20)
	for range mib {
		_, _ = noise.Read(block) // It never fails.
		if _, err = file.Write(block); err != nil {
			break
		}
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("making noise: %w", err)
	}
	_, err = h.Exec(ctx, "qemu-img", "convert", "-O", "qcow2", raw, image)
	return errors.Join(err, os.Remove(h.Path(raw)))
}

// move moves the guest to the host where it is not. The image that it leaves behind is removed
// afterwards, and the disks are at rest.
func (b *bench) move(ctx context.Context, do mover) (move, error) {
	from, to := b.Sides()
	if err := from.WaitPublished(ctx, b.Guest); err != nil {
		return move{}, err
	}
	if _, err := from.Exec(ctx, "sync"); err != nil {
		return move{}, err
	}
	before, err := to.ReceivedBytes()
	if err != nil {
		return move{}, err
	}
	m, err := do(ctx, from, to)
	if err != nil {
		return m, err
	}
	after, err := to.ReceivedBytes()
	m.bytes = after - before
	if err != nil || !m.done {
		return m, err
	}
	if on := b.Guest.RunningOn(ctx); on != to {
		return m, fmt.Errorf("the guest does not run on %s afterwards", to.Name())
	}
	b.Moves++
	if err := os.Remove(from.Path(image)); err != nil {
		return m, fmt.Errorf("removing the image that was left: %w", err)
	}
	_, err = from.Virsh(ctx, "pool-refresh", "bench")
	return m, err
}

// virsh moves the guest as virsh does. What has to be prepared for that does not count.
func (b *bench) virsh(ctx context.Context, from, to *lab.Host) (move, error) {
	options := []string{"--copy-storage-all"}
	if b.o.encrypt {
		options = append(options, "--tls")
	}
	run, discard, err := b.Guest.PrepareMigration(ctx, from, to, options...)
	if err != nil {
		return move{}, err
	}
	defer discard()
	begin := time.Now()
	err = run(ctx)
	return move{by: byVirsh, took: time.Since(begin), done: err == nil}, err
}

// liveMigration moves the guest by a LiveMigration, from the moment in which the object is created
// to the one in which a watch shows its success. The image is like the one that libvirt makes for
// virsh, all of whose space is taken at once.
func (b *bench) liveMigration(ctx context.Context, _, to *lab.Host) (move, error) {
	return b.copied(ctx, to, byLiveMigration, v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull, Preallocate: new(true)})
}

// thin is liveMigration with an image that grows with what is copied.
func (b *bench) thin(ctx context.Context, _, to *lab.Host) (move, error) {
	return b.copied(ctx, to, byThin, v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull})
}

func (b *bench) copied(ctx context.Context, to *lab.Host, by string, o v1alpha1.StorageCopyOptions) (move, error) {
	lm, m, err := b.migrate(ctx, to, v1alpha1.MigrationOptions{StorageCopy: &o}, moveTimeout)
	m.by = by
	if err == nil && !m.done {
		err = fmt.Errorf("the migration ended in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
	}
	return m, err
}

// migrate makes a LiveMigration and waits for its end. After patience it is cancelled.
func (b *bench) migrate(ctx context.Context, to *lab.Host, o v1alpha1.MigrationOptions, patience time.Duration) (*v1alpha1.LiveMigration, move, error) {
	encryption := v1alpha1.EncryptionDisabled
	if b.o.encrypt {
		encryption = v1alpha1.EncryptionRequired
	}
	o.Transfer = &v1alpha1.TransferOptions{Encryption: encryption}
	begin := time.Now()
	lm, err := b.Create(ctx, "block", to, o, nil)
	if err != nil {
		return nil, move{}, err
	}
	w, err := b.Watch(ctx, lm.Name)
	if err != nil {
		return nil, move{}, err
	}
	defer w.Stop()
	impatient := time.After(patience)
	for {
		select {
		case <-ctx.Done():
			return lm, move{}, context.Cause(ctx)
		case <-impatient:
			if err := b.Annotate(ctx, lm, v1alpha1.AnnotationCancel, "no-end"); err != nil {
				return lm, move{}, err
			}
		case event, open := <-w.ResultChan():
			if !open {
				return lm, move{}, errors.New("the watch ended before the migration")
			}
			if now, ok := event.Object.(*v1alpha1.LiveMigration); ok {
				lm = now
			}
			if migration.Finished(lm) {
				return lm, move{by: byLiveMigration, took: time.Since(begin), done: lm.Status.Phase == v1alpha1.PhaseSucceeded, says: saysOfEnd(lm)}, nil
			}
		}
	}
}

// saysOfEnd is what a LiveMigration says of its end.
func saysOfEnd(lm *v1alpha1.LiveMigration) string {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason + ": " + c.Message
	}
	return ""
}

// converge moves the guest while it writes to its disk faster than may be copied. What it writes
// goes through its memory, so that this changes as fast: once the disks are done, the guest may be
// paused for it.
func (b *bench) converge(ctx context.Context, synchronous bool) (move, error) {
	from, _ := b.Sides()
	if _, err := b.Guest.Command(ctx, from, "diskrate "+strconv.Itoa(b.o.writeMiBps)); err != nil {
		return move{}, err
	}
	m, err := b.move(ctx, func(ctx context.Context, _, to *lab.Host) (move, error) {
		_, m, err := b.migrate(ctx, to, v1alpha1.MigrationOptions{
			BandwidthMiBps: new(int64(b.o.linkMiBps)), AllowPause: new(true),
			StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull, SynchronousWrites: new(synchronous)},
		}, b.o.patience)
		return m, err
	})
	if err != nil {
		return m, fmt.Errorf("moving the guest that writes, with synchronous writes %t: %w", synchronous, err)
	}
	on, _ := b.Sides()
	_, err = b.Guest.Command(ctx, on, "diskrate 0")
	return m, err
}
