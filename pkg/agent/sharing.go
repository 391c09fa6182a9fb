package agent

import (
	"context"
	"path"
	"slices"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// How the agents find out together whether both hosts have the same files.

// takesRisks reports whether the user answers for the disks that are not copied: then nothing
// is looked for.
func (s *sourceSession) takesRisks() bool {
	o := s.lm.Spec.Options
	return o != nil && valueOr(o.AllowUnsafe, false)
}

// sharingFacts returns what a definition says of the files of the guest's disks, but for media that
// are left behind; running is what the running guest's says of the same, or empty.
func (s *sourceSession) sharingFacts(definition, running hypervisor.DomainXML) ([]migration.SharingFacts, error) {
	inactive := running == ""
	media, err := s.ejected(definition, inactive)
	if err != nil {
		return nil, err
	}
	options := xmlrewrite.Options{Inactive: inactive, Storage: s.storageMappings(), EmptyDrives: emptyDrives(media)}
	disks, err := xmlrewrite.ReadDiskFiles([]byte(definition), s.lm.Spec.MigrateData, options)
	if err != nil {
		return nil, s.unreadable(err)
	}
	if running != "" {
		found, err := xmlrewrite.ReadDiskFiles([]byte(running), nil, xmlrewrite.Options{})
		if err != nil {
			return nil, s.unreadable(err)
		}
		disks = xmlrewrite.WithFoundFiles(disks, found)
	}
	facts := make([]migration.SharingFacts, len(disks))
	for i, d := range disks {
		facts[i] = migration.SharingFacts{
			Disk: d.Name, Type: d.Type, Removable: d.Removable, Writable: d.Writable, Optional: d.Optional, Cache: d.Cache, Complete: d.Complete,
		}
		for _, f := range d.Files {
			facts[i].Files = append(facts[i].Files, migration.FilePlace{SourcePath: f.SourcePath, Path: f.Path})
		}
	}
	return facts, nil
}

// diskFiles returns the files that the target is to see. Those are left out that only the
// persistent definition has and that are not on the source either: nothing is lost with them.
func (s *sourceSession) diskFiles(ctx context.Context, o *v1alpha1.StorageCopyOptions, definitions []hypervisor.DomainXML, running hypervisor.DomainXML, names *migration.Markers) ([]v1alpha1.DiskFile, error) {
	var facts [2][]migration.SharingFacts // Of the running guest, and of its definition.
	for i, definition := range definitions {
		var err error
		if facts[i], err = s.sharingFacts(definition, running); err != nil {
			return nil, err
		}
		running = ""
	}
	files := migration.DiskFilesOf(o, facts[0], facts[1], names)
	here := sourcePaths(slices.Concat(facts[0], facts[1]))
	sights := s.lookAround(ctx, files, here)
	for i, f := range files {
		if f.Marker != "" {
			// Whatever the target sees is from later on.
			files[i].ChangeTime = migration.ChangeTime(sights[here[f.Path]].StatusChanged)
		}
	}
	return slices.DeleteFunc(files, func(f v1alpha1.DiskFile) bool {
		return f.Role == v1alpha1.DiskFileDefinition && !sights[here[f.Path]].Exists
	}), nil
}

// sourcePaths are where files are here, by where they are to be on the target.
func sourcePaths(facts []migration.SharingFacts) map[string]string {
	here := map[string]string{}
	for _, d := range facts {
		for _, f := range d.Files {
			here[f.Path] = f.SourcePath
		}
	}
	return here
}

// lookAround looks at files here, and returns what there is by path. What cannot be looked at
// is left out: it is not known then.
func (s *sourceSession) lookAround(ctx context.Context, files []v1alpha1.DiskFile, here map[string]string) map[string]hypervisor.ImageSight {
	var paths []string
	for _, f := range files {
		if f.Marker != "" || f.Role == v1alpha1.DiskFileDefinition {
			paths = append(paths, here[f.Path])
		}
	}
	sights, _ := lookAtFiles(ctx, s.hv, paths)
	return sights
}

// lookAtFiles looks at files, once in each directory, and returns what there is by path, and
// why nothing is known of some.
func lookAtFiles(ctx context.Context, hv hypervisor.ImageKeeper, paths []string) (sights map[string]hypervisor.ImageSight, failed map[string]error) {
	byDirectory, order := map[string][]string{}, []string(nil)
	for _, p := range paths {
		dir := path.Dir(p)
		if !slices.Contains(order, dir) {
			order = append(order, dir)
		}
		if !slices.Contains(byDirectory[dir], path.Base(p)) {
			byDirectory[dir] = append(byDirectory[dir], path.Base(p))
		}
	}
	sights, failed = map[string]hypervisor.ImageSight{}, map[string]error{}
	for _, dir := range order {
		seen, err := hv.LookAtImages(ctx, dir, byDirectory[dir])
		for i, name := range byDirectory[dir] {
			if err != nil {
				failed[path.Join(dir, name)] = err
				continue
			}
			sights[path.Join(dir, name)] = seen[i]
		}
	}
	return sights, failed
}

// withoutMarker takes back that there is a marker.
func withoutMarker(facts *v1alpha1.GuestFacts, marker string) {
	for i := range facts.DiskFiles {
		if facts.DiskFiles[i].Marker == marker {
			facts.DiskFiles[i].Marker = ""
		}
	}
}

// proveSharing notes which disks both hosts have been proven to share, and whether that makes
// it safe to move the guest.
func (s *sourceSession) proveSharing(ctx context.Context, live, running hypervisor.DomainXML) error {
	if len(s.section.Guest.DiskFiles) == 0 || s.takesRisks() {
		return nil
	}
	facts, err := s.sharingFacts(live, running)
	if err != nil {
		return err
	}
	times := map[string]time.Time{}
	for p, sight := range s.lookAround(ctx, s.section.Guest.DiskFiles, sourcePaths(facts)) {
		times[p] = sight.StatusChanged
	}
	sharing := migration.ProveSharing(s.lm, s.section, facts, times)
	s.noteStorage(func(storage *v1alpha1.SourceStorage) {
		storage.Shared, storage.ProvenSafe = sharing.Disks, sharing.Safe
	})
	return nil
}

// provenSafe reports whether libvirt's check of disks is overridden by what is known of them.
func (s *sourceSession) provenSafe() bool {
	return s.section.Storage != nil && s.section.Storage.ProvenSafe
}

// lookAtDiskFiles looks for the files that the guest needs here, and says which are missing.
func (s *targetSession) lookAtDiskFiles(ctx context.Context) ([]v1alpha1.TargetDiskFile, error) {
	guest := migration.CurrentSource(s.lm).Guest
	var paths []string
	for _, f := range guest.DiskFiles {
		if !s.node.Receive.mayLook(f.Path) {
			continue
		}
		paths = append(paths, f.Path)
		if marker := markerBeside(f); marker != "" {
			paths = append(paths, marker)
		}
	}
	sights, failed := lookAtFiles(ctx, s.hv, paths)
	lacks := map[string]bool{} // By directory.
	for p, err := range failed {
		dir := path.Dir(p)
		if _, known := lacks[dir]; !known {
			lacks[dir] = refusedByLibvirt(err) && s.lacksDirectory(ctx, dir)
		}
		if lacks[dir] {
			sights[p] = hypervisor.ImageSight{}
			continue
		}
		s.log.Info("It is not known whether a file of the guest is here", "file", p, "reason", messageOf(err))
	}
	files := make([]v1alpha1.TargetDiskFile, 0, len(guest.DiskFiles))
	for _, f := range guest.DiskFiles {
		file := v1alpha1.TargetDiskFile{Path: f.Path, State: v1alpha1.TargetDiskFileUnknown}
		sight, known := sights[f.Path]
		switch {
		case !known:
		case !sight.Exists:
			file.State = v1alpha1.TargetDiskFileMissing
		case sights[markerBeside(f)].Exists:
			file.State, file.ChangeTime = v1alpha1.TargetDiskFileMarked, migration.ChangeTime(sight.StatusChanged)
		default:
			file.State = v1alpha1.TargetDiskFilePresent
		}
		files = append(files, file)
	}
	return files, refuseFor(v1alpha1.ReasonTargetCheckFailed, migration.MissingFiles(s.lm, s.node.Name, guest, files))
}

// lacksDirectory reports whether a directory into which libvirt cannot look is certainly not there:
// it is not among what is in the directory that it would be in. None is looked into that guests
// may not use, and libvirt does not list what begins with a dot everywhere.
func (s *targetSession) lacksDirectory(ctx context.Context, dir string) bool {
	if !s.node.Receive.mayLook(dir) || path.Base(dir)[0] == '.' {
		return false
	}
	sights, err := s.hv.LookAtImages(ctx, path.Dir(dir), []string{path.Base(dir)})
	if err != nil {
		return refusedByLibvirt(err) && s.lacksDirectory(ctx, path.Dir(dir))
	}
	return !sights[0].Exists
}

// markerBeside is where the marker of a file would be; empty if it has none.
func markerBeside(f v1alpha1.DiskFile) string {
	if f.Marker == "" || f.Marker != path.Base(f.Marker) {
		return ""
	}
	return path.Join(path.Dir(f.Path), f.Marker)
}

// mayLook reports whether libvirt may look for a file. The path comes from another node.
func (c ReceiveConfig) mayLook(file string) bool {
	return path.IsAbs(file) && path.Clean(file) == file && c.allowsPath(file)
}
