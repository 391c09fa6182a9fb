package agent

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// What the target's agent does about disks.

// mostPlans is how often it is tried to plan images while others are promised space in more and
// more directories.
const mostPlans = 4

// planImages looks at where the guest's disks are to be, and decides which have to be copied. The
// error is a refusal, or one that is worth another try.
func (s *targetSession) planImages(ctx context.Context) ([]v1alpha1.TargetImage, error) {
	disks := migration.SpaceTaken(s.lm, migration.CurrentSource(s.lm).Guest.Disks)
	if len(disks) == 0 {
		return nil, nil // Where others have theirs is none of its business.
	}
	now := s.node.Clock.Now()
	for range mostPlans {
		seen, err := s.lookAtPlaces(ctx, disks, s.node.space.others(s.lm.UID))
		if err != nil {
			return nil, err
		}
		images, blockers, done := s.node.space.plan(s.lm, disks, seen.places(disks, s.node.Receive), seen,
			func(places []migration.ImagePlace, space *migration.Space) ([]v1alpha1.TargetImage, []v1alpha1.Blocker) {
				return migration.PlanImages(s.node.Name, disks, places, space, now)
			})
		if !done {
			continue
		}
		for i := range images {
			images[i].Marked = images[i].State == v1alpha1.TargetImagePlanned && !migration.DryRun(s.lm)
		}
		return images, refuseFor(v1alpha1.ReasonTargetCheckFailed, blockers)
	}
	return nil, errors.New("other guests are being promised space in other directories at the same time")
}

// mayHold reports whether the image of a disk, and what it is based on, may be where they are
// to be. The paths come from another node.
func (c ReceiveConfig) mayHold(d v1alpha1.GuestDisk) bool {
	return !slices.ContainsFunc(imagePaths(d), func(p string) bool { return !path.IsAbs(p) || path.Clean(p) != p || !c.allowsPath(p) })
}

// imagePaths are those of a disk's image and of what that is based on.
func imagePaths(d v1alpha1.GuestDisk) []string {
	paths := []string{d.Path}
	if d.Backing != nil {
		paths = append(paths, d.Backing.Path)
	}
	return paths
}

// makeImages makes the images that were planned, once that is recorded: whoever comes next
// must know that they may be there.
func (s *targetSession) makeImages(ctx context.Context) time.Duration {
	if due, wait := s.imagesDue(ctx); !due {
		return wait
	}
	section := s.section.DeepCopy()
	defer func() {
		s.section = section
		s.out.report(section, atOnce)
	}()
	for i := range section.Images {
		if section.Images[i].State != v1alpha1.TargetImagePlanned {
			continue
		}
		err := s.makeImage(ctx, &section.Images[i])
		var r *refusal
		switch {
		case errors.As(err, &r):
			s.log.Info("Refusing the guest", "reason", r.Reason)
			section.Problem = r.problem()
			return 0
		case err != nil:
			s.log.Error(err, "Making an image failed; trying again", "after", retryInterval)
			return retryInterval
		}
	}
	section.ReadyTime = new(metav1.NewMicroTime(s.node.Clock.Now()))
	return 0
}

// imagesDue reports whether the images that were planned are to be made, or how long to wait. A
// record that came too late keeps nobody from ending the migration, and what this process was
// told first may be older than what another has done since; so the object is read once more.
func (s *targetSession) imagesDue(ctx context.Context) (due bool, wait time.Duration) {
	if !s.out.flush(ctx, recordPatience) {
		return false, retryInterval
	}
	lm, err := s.node.Recorder.Refresh(ctx, s.lm)
	switch {
	case errors.Is(err, ErrGone):
		return false, 0
	case err != nil:
		s.log.Error(err, "Reading the object again failed; trying again", "after", retryInterval)
		return false, retryInterval
	case migration.Finished(lm), migration.Abandoned(lm), migration.CancelRequested(lm), migration.AttemptID(lm) != s.section.AttemptID:
		return false, 0 // It is about to be heard of.
	}
	if current := migration.CurrentTarget(lm); current != nil && !migration.MakesImages(lm, current) {
		s.section = current.DeepCopy()
		return false, followFirst
	}
	return true, 0
}

// makeImage makes an image. What is found in its place is ours only if it may be: an earlier
// try, by whatever process, had no answer, and it is what that one would have made.
func (s *targetSession) makeImage(ctx context.Context, image *v1alpha1.TargetImage) error {
	d, known := s.diskOf(image)
	if !known || !s.node.Receive.mayHold(d) {
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerDiskNotCopyable,
			"The source does not report the disk %s any more. Create another LiveMigration", image.Name)
	}
	for place, to := range s.node.leadsOut(ctx, imagePaths(d)) { // Since it was planned.
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerPathNotAllowed,
			"Somebody has put a symbolic link into the place of the disk %s on %s: %s now leads to %s, where guests may not have images. Ask an administrator to remove the link, and then create another LiveMigration", d.Name, s.node.Name, place, to)
	}
	wanted := hypervisor.NewImage{Path: d.Path, Format: d.Format, CapacityBytes: uint64(d.CapacityBytes), Preallocate: migration.Preallocates(s.lm)} //nolint:gosec // Positive by the plan.
	if d.EncryptionSecretUUID != nil {
		wanted.SecretUUID = string(*d.EncryptionSecretUUID)
	}
	if d.Backing != nil {
		wanted.BackingPath, wanted.BackingFormat = d.Backing.Path, d.Backing.Format
	}
	if err := s.markPlace(ctx, image); err != nil {
		return err
	}
	s.log.Info("Making an image for the guest", "disk", d.Name, "image", d.Path)
	err := s.hv.MakeImage(ctx, wanted)
	if errors.Is(err, hypervisor.ErrImageExists) && s.maybeMade {
		err = s.imageFound(ctx, d, image, wanted, err)
	}
	switch {
	case err == nil:
		image.State = v1alpha1.TargetImageMade
		return nil
	case errors.Is(err, hypervisor.ErrImageExists):
		image.State = v1alpha1.TargetImageNotOurs
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerImageExists,
			"Somebody else%s has made the file %s on %s, where an image for the disk %s was to be made. Ask an administrator to remove it if nobody needs it, and then create another LiveMigration", s.orWe(wanted), d.Path, s.node.Name, d.Name)
	case refusedByLibvirt(err):
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerImagePlaceUnusable,
			"libvirt on %s cannot make an image for the disk %s at %s: %s. Ask an administrator to fix that, and then create another LiveMigration", s.node.Name, d.Name, d.Path, messageOf(err))
	default:
		s.maybeMade = true
		return fmt.Errorf("making the image of the disk %s: %w", d.Name, err)
	}
}

// orWe admits that a file in an image's place may come from an earlier try of which there was no
// answer: an image that takes all of its space at once looks like any disk that is full.
func (s *targetSession) orWe(wanted hypervisor.NewImage) string {
	if s.maybeMade && wanted.Preallocate {
		return ", or an earlier try of this migration that had no answer,"
	}
	return ""
}

// imageFound tells whether what is in an image's place was made by an earlier try, or by
// another process; else it returns the error that there is something. What is left of one that
// did not come as far as the image is taken away, and the image made.
func (s *targetSession) imageFound(ctx context.Context, d v1alpha1.GuestDisk, image *v1alpha1.TargetImage, wanted hypervisor.NewImage, exists error) error {
	sight, err := s.hv.LookAtImage(ctx, d.Path)
	switch {
	case err != nil:
		return fmt.Errorf("looking at the image of the disk %s: %w", d.Name, err)
	case migration.IsOurs(d, *image, sight):
		return nil
	case !migration.IsReservation(*image, sight):
		return exists
	}
	if err := s.hv.RemoveImage(ctx, d.Path); err != nil {
		return fmt.Errorf("removing what an earlier try has left in the place of the disk %s: %w", d.Name, err)
	}
	return s.hv.MakeImage(ctx, wanted) //nolint:wrapcheck // The caller does.
}

// diskOf returns the disk of which the source has told that an image is for it. A source whose
// agent looks at the guest anew tells of none.
func (s *targetSession) diskOf(image *v1alpha1.TargetImage) (disk v1alpha1.GuestDisk, known bool) {
	source := migration.CurrentSource(s.lm)
	if source == nil || source.Guest == nil {
		return disk, false
	}
	at := slices.IndexFunc(source.Guest.Disks, func(d v1alpha1.GuestDisk) bool { return d.Name == image.Name && d.Path == image.Path })
	if at < 0 {
		return disk, false
	}
	return source.Guest.Disks[at], true
}

// removeImages removes the images that were made for a guest that does not come.
func (s *targetSession) removeImages(ctx context.Context) time.Duration {
	if due, wait := s.removalDue(ctx); !due {
		return wait
	}
	section := s.section.DeepCopy()
	for i := range section.Images {
		image := &section.Images[i]
		err := error(nil)
		if image.State == v1alpha1.TargetImageMade || image.State == v1alpha1.TargetImagePlanned {
			err = s.removeImage(ctx, image)
		}
		if err == nil {
			err = s.unmarkPlace(ctx, image)
		}
		if err != nil {
			s.log.Error(err, "Removing an image failed; trying again", "image", image.Path, "after", followInterval)
			image.Error = messageOf(err)
		}
	}
	s.section = section
	s.out.report(section, atOnce)
	return followInterval
}

// removalDue reports whether images are still to be removed, or how long to wait. The guest is
// looked at once more: whatever is active here may write to them. So is the object: another
// process may have ended this long ago, and what is there now be somebody else's.
func (s *targetSession) removalDue(ctx context.Context) (due bool, wait time.Duration) {
	lm, err := s.node.Recorder.Refresh(ctx, s.lm)
	switch {
	case errors.Is(err, ErrGone):
		return false, followInterval
	case err != nil:
		s.log.Error(err, "Reading the object again failed; trying again", "after", followInterval)
		return false, followInterval
	case migration.Finished(lm), migration.AttemptID(lm) != s.section.AttemptID:
		return false, 0 // It is about to be heard of.
	}
	seen := look(ctx, s.hv, s.lm.Status.DomainUUID)
	switch {
	case !seen.seen:
		return false, retryInterval
	case seen.domain != nil && seen.domain.Active():
		if s.section.Domain != nil && migration.Started(s.lm) {
			return false, s.observe(ctx, true)
		}
		return false, retryInterval
	}
	return true, 0
}

// removeImage removes an image that was made for the guest. Of one that may not have been, it
// must be certain that it was.
func (s *targetSession) removeImage(ctx context.Context, image *v1alpha1.TargetImage) error {
	d, known := s.diskOf(image)
	if to := s.node.leadsOut(ctx, []string{image.Path}); len(to) > 0 {
		return fmt.Errorf("the image's place has become a symbolic link to %s", to[image.Path])
	}
	sights, err := s.hv.LookAtImages(ctx, path.Dir(image.Path), []string{path.Base(image.Path), path.Base(migration.MarkPath(image.Path))})
	if err != nil {
		return err //nolint:wrapcheck // The caller says what it is about.
	}
	sight, mark := sights[0], sights[1]
	made := image.State == v1alpha1.TargetImageMade
	switch {
	case !sight.Exists:
		image.State, image.Error = v1alpha1.TargetImageRemoved, ""
		return nil
	case mark.Exists && !migration.IsMarkOf(s.section.AttemptID, mark), // Somebody else has the place by now.
		!made && !migration.IsReservation(*image, sight) && (!known || !migration.IsOurs(d, *image, sight)),
		made && known && migration.WasReplaced(d, sight):
		image.State, image.Error = v1alpha1.TargetImageNotOurs, ""
		return nil
	}
	s.log.Info("Removing an image that was made for the guest, which has not come", "disk", image.Name, "image", image.Path)
	if err := s.hv.RemoveImage(ctx, image.Path); err != nil {
		return err //nolint:wrapcheck // The same.
	}
	image.State, image.Error = v1alpha1.TargetImageRemoved, ""
	return nil
}
