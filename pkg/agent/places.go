package agent

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// placesSeen is what libvirt has been seen to say of where images are, or are to be.
type placesSeen struct {
	// asked are the directories that had to be looked at.
	asked map[string]bool
	// directories and files are those of which libvirt has told, and refused why it has not.
	directories map[string]migration.FileSystemSight
	files       map[string]hypervisor.ImageSight
	refused     map[string]error
	// linked are where places of disks lead by links and must not, by their paths.
	linked map[string]string
}

// lookAtPlaces looks at where the images of disks are to be, and at images of others that are on
// their way here, in each directory at once. libvirt looks at no place that it must not use. The
// error is one that is worth another try: that there is no answer about where only others have
// images is none, since storage of theirs that hangs is not to keep the guest here.
func (s *targetSession) lookAtPlaces(ctx context.Context, disks []v1alpha1.GuestDisk, others []string) (*placesSeen, error) {
	seen := &placesSeen{
		asked: map[string]bool{}, directories: map[string]migration.FileSystemSight{},
		files: map[string]hypervisor.ImageSight{}, refused: map[string]error{},
	}
	var paths []string
	own := map[string]bool{} // Directories of the guest itself.
	places := make([]string, 0, len(disks))
	for _, d := range disks {
		places = append(places, imagePaths(d)...)
	}
	seen.linked = s.node.leadsOut(ctx, places)
	for _, d := range disks {
		if s.node.Receive.mayHold(d) && seen.linkOf(d) == "" {
			own[path.Dir(d.Path)] = true
			paths = append(paths, d.Path)
			if d.Marker != "" && d.Marker == path.Base(d.Marker) {
				paths = append(paths, path.Join(path.Dir(d.Path), d.Marker))
			}
		}
	}
	for _, image := range others {
		seen.asked[path.Dir(image)] = true
		if s.node.Receive.mayLook(image) {
			paths = append(paths, image)
		}
	}
	if err := seen.look(ctx, s.hv, paths, own); err != nil {
		return nil, err
	}
	doubtful := migration.DoubtfulDirectories(seen.directories)
	again := slices.DeleteFunc(paths, func(p string) bool { return !slices.Contains(doubtful, path.Dir(p)) })
	if err := seen.look(ctx, s.hv, again, own); err != nil {
		return nil, err
	}
	return seen, nil
}

// look takes in what libvirt says of files and of the file systems that they are on. It has to
// answer about those in the guest's own directories.
func (p *placesSeen) look(ctx context.Context, hv hypervisor.ImageKeeper, paths []string, own map[string]bool) error {
	sights, failed := lookAtFiles(ctx, hv, paths)
	for file, err := range failed {
		silent := hypervisor.KindOf(err) == hypervisor.KindTimeout && !own[path.Dir(file)]
		if !refusedByLibvirt(err) && !silent {
			return fmt.Errorf("looking at where images are to be: %w", err)
		}
		p.asked[path.Dir(file)], p.refused[path.Dir(file)] = true, err
	}
	for file, sight := range sights {
		dir, fileSystem := path.Dir(file), migration.FileSystemOf(sight)
		if before, known := p.directories[dir]; known {
			fileSystem = before.With(fileSystem)
		}
		if before, known := p.files[file]; known {
			sight.AllocatedBytes = min(sight.AllocatedBytes, before.AllocatedBytes) // As if nothing was written meanwhile.
		}
		p.asked[dir], p.directories[dir], p.files[file] = true, fileSystem, sight
	}
	return nil
}

// places are those of disks.
func (p *placesSeen) places(disks []v1alpha1.GuestDisk, receive ReceiveConfig) []migration.ImagePlace {
	out := make([]migration.ImagePlace, len(disks))
	for i, d := range disks {
		dir := path.Dir(d.Path)
		out[i].Allowed, out[i].LinkedTo = receive.mayHold(d), p.linkOf(d)
		switch err := p.refused[dir]; {
		case !out[i].Allowed, out[i].LinkedTo != "":
		case err != nil:
			out[i].Problem = messageOf(err)
		default:
			out[i].Image = p.files[d.Path]
			out[i].MarkerSeen = d.Marker != "" && d.Marker == path.Base(d.Marker) && p.files[path.Join(dir, d.Marker)].Exists
		}
	}
	return out
}

// linkOf is where a place of a disk leads by a link and must not; empty if none does.
func (p *placesSeen) linkOf(d v1alpha1.GuestDisk) string {
	for _, place := range imagePaths(d) {
		if to := p.linked[place]; to != "" {
			return to
		}
	}
	return ""
}
