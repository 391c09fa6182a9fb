package agent

import (
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// What becomes of media that the target does not have.

// ejected returns the drives of one of the guest's definitions whose media the target does not
// have and that are to be empty there, with these media. The other definition may have other
// media in the same drives.
func (s *sourceSession) ejected(definition hypervisor.DomainXML, inactive bool) ([]v1alpha1.EjectedMedium, error) {
	missing := migration.MediaToEject(s.lm)
	if len(missing) == 0 {
		return nil, nil
	}
	disks, err := xmlrewrite.ReadDiskFiles([]byte(definition), s.lm.Spec.MigrateData, xmlrewrite.Options{Inactive: inactive, Storage: s.storageMappings()})
	if err != nil {
		return nil, s.unreadable(err)
	}
	var out []v1alpha1.EjectedMedium
	for _, d := range disks {
		if d.Removable && len(d.Files) > 0 && slices.Contains(missing, d.Files[0].Path) {
			out = append(out, v1alpha1.EjectedMedium{Name: v1alpha1.DiskName(d.Name), Path: d.Files[0].SourcePath})
		}
	}
	return out, nil
}

// emptyDrives are the names of drives.
func emptyDrives(media []v1alpha1.EjectedMedium) []string {
	out := make([]string, 0, len(media))
	for _, m := range media {
		out = append(out, string(m.Name))
	}
	return out
}

// maxEjected is how many the API lists.
const maxEjected = 64

// noteEjected notes in the section what is ejected from the running guest.
func (s *sourceSession) noteEjected(live hypervisor.DomainXML) error {
	media, err := s.ejected(live, false)
	if err != nil {
		return err
	}
	s.noteStorage(func(storage *v1alpha1.SourceStorage) { storage.Ejected = media[:min(len(media), maxEjected)] })
	return nil
}
