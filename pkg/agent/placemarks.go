package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// markPlace makes the mark beside an image that is to be made, unless this attempt has it
// already. Nobody else who sees the directory can have it then.
func (s *targetSession) markPlace(ctx context.Context, image *v1alpha1.TargetImage) error {
	if !image.Marked {
		return nil // An older agent has planned it.
	}
	mark := migration.MarkPath(image.Path)
	err := s.hv.MakeImage(ctx, hypervisor.NewImage{Path: mark, Format: "raw", CapacityBytes: migration.MarkBytes(s.section.AttemptID)})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hypervisor.ErrImageExists):
		return s.markFound(ctx, image, mark)
	case refusedByLibvirt(err):
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerImagePlaceUnusable,
			"libvirt on %s cannot make a file beside the image for the disk %s, %s: %s. Ask an administrator to fix that, and then create another LiveMigration", s.node.Name, image.Name, mark, messageOf(err))
	default:
		return fmt.Errorf("marking the place of the disk %s: %w", image.Name, err)
	}
}

// markFound tells whether a mark that is there already is this attempt's.
func (s *targetSession) markFound(ctx context.Context, image *v1alpha1.TargetImage, mark string) error {
	sight, err := s.hv.LookAtImage(ctx, mark)
	switch {
	case err != nil:
		return fmt.Errorf("looking at the mark of the disk %s: %w", image.Name, err)
	case migration.IsMarkOf(s.section.AttemptID, sight):
		return nil
	case !sight.Exists:
		return fmt.Errorf("the mark of the disk %s, which is there, is not seen yet", image.Name)
	}
	image.State, image.Marked = v1alpha1.TargetImageNotOurs, false
	return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerImageExists,
		"Another migration is using %s, where %s was to make an image for the disk %s: its mark %s is there, be it from this node or from another that sees the directory. Wait until that migration has ended, and then "+
			"create another LiveMigration; if no migration needs the file any more, ask an administrator to remove it with `virsh vol-delete`", image.Path, s.node.Name, image.Name, mark)
}

// unmarkPlace takes the mark of an image away again, if it is this attempt's.
func (s *targetSession) unmarkPlace(ctx context.Context, image *v1alpha1.TargetImage) error {
	if !image.Marked {
		return nil
	}
	mark := migration.MarkPath(image.Path)
	sight, err := s.hv.LookAtImage(ctx, mark)
	if err == nil && migration.IsMarkOf(s.section.AttemptID, sight) {
		err = s.hv.RemoveImage(ctx, mark)
	}
	if err != nil {
		return err //nolint:wrapcheck // The caller says what it is about.
	}
	image.Marked, image.Error = false, ""
	return nil
}

// removeMarks takes away what kept others from the images of a guest that has come.
func (s *targetSession) removeMarks(ctx context.Context) time.Duration {
	section := s.section.DeepCopy()
	for i := range section.Images {
		if err := s.unmarkPlace(ctx, &section.Images[i]); err != nil {
			s.log.Error(err, "Removing a mark failed; trying again", "image", section.Images[i].Path, "after", followInterval)
			section.Images[i].Error = messageOf(err)
		}
	}
	s.section = section
	s.out.report(section, atOnce)
	return followInterval
}
