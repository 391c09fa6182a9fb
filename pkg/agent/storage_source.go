package agent

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// What the source's agent does about disks.

// fileNamePart is what may become a part of the name of a file.
var fileNamePart = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// markerBytes is the size of a marker: there are no smaller disks.
const markerBytes = 512

// markerName begins the names of the files by which the target tells whether it sees the same
// directories. No other attempt has the same.
func markerName(attempt string) (string, error) {
	if !fileNamePart.MatchString(attempt) {
		return "", fmt.Errorf("the attempt %q cannot be a part of a file's name", attempt)
	}
	return "virtferry-" + attempt, nil
}

// diskFacts returns what there is to know of the running guest's disks. Only of those that can
// be copied, the size is asked.
func (s *sourceSession) diskFacts(ctx context.Context, live, running hypervisor.DomainXML) ([]migration.DiskFacts, error) {
	options := xmlrewrite.Options{Storage: s.storageMappings()}
	disks, err := xmlrewrite.ReadDisks([]byte(live), s.lm.Spec.MigrateData, options)
	if err != nil {
		return nil, s.unreadable(err)
	}
	found, err := xmlrewrite.ReadDisks([]byte(running), s.lm.Spec.MigrateData, options)
	if err != nil {
		return nil, s.unreadable(err)
	}
	disks = xmlrewrite.WithFoundChains(disks, found)
	facts := make([]migration.DiskFacts, 0, len(disks))
	for _, d := range disks {
		fact := migration.DiskFacts{
			Name: d.Name, Type: d.Type, Format: d.Format, SourcePath: d.SourcePath, Path: d.Path, Writable: d.Writable,
			Chained: d.Chained, BackingPath: d.BackingPath, BackingFormat: d.BackingFormat, ChainUnknown: !d.ChainKnown, SecretUUID: d.SecretUUID, Obstacle: d.Obstacle,
		}
		if d.Writable && d.Path != "" {
			size, err := s.hv.DiskSize(ctx, s.lm.Status.DomainUUID, d.Name)
			if err != nil && !refusedByLibvirt(err) {
				return nil, fmt.Errorf("reading the size of the disk %s: %w", d.Name, err)
			}
			fact.Size = size
		}
		facts = append(facts, fact)
	}
	return facts, nil
}

// running returns the running guest's definition, with what libvirt has found in its images.
func (s *sourceSession) running(ctx context.Context) (hypervisor.DomainXML, error) {
	text, err := s.hv.DomainXML(ctx, s.lm.Status.DomainUUID, hypervisor.XMLRunning)
	if err != nil {
		return "", fmt.Errorf("reading what the guest's disks are based on: %w", err)
	}
	return text, nil
}

// refusedByLibvirt reports whether an error about images is libvirt's last word.
func refusedByLibvirt(err error) bool {
	switch hypervisor.KindOf(err) { //nolint:exhaustive // All others are worth another try.
	case hypervisor.KindOther, hypervisor.KindOperationInvalid, hypervisor.KindConfigUnsupported:
		return true
	default:
		return false
	}
}

// disksOf adds to what the target has to know of the guest the disks that are to be copied, the
// files that it is to see unless they are, and by which mappings they are where they are. It
// returns the markers that the target is to look for. There are disks as well if the error is a
// refusal.
func (s *sourceSession) disksOf(ctx context.Context, definitions []hypervisor.DomainXML, guest *v1alpha1.GuestFacts) (markers []string, err error) {
	if guest.BlockDevices, err = s.blockDevices(definitions[0]); err != nil {
		return nil, err
	}
	name, err := markerName(s.lm.Status.Attempt.ID)
	if err != nil {
		return nil, err
	}
	running, err := s.running(ctx)
	if err != nil {
		return nil, err
	}
	if guest.StorageMappings, err = s.usedStorageMappings(definitions, running); err != nil {
		return nil, err
	}
	names, o := migration.NewMarkers(name), migration.StorageCopy(s.lm)
	var blockers []v1alpha1.Blocker
	if o != nil {
		facts, err := s.diskFacts(ctx, definitions[0], running)
		if err != nil {
			return nil, err
		}
		guest.Disks, blockers = migration.ChooseDisks(o, facts, names)
	}
	if !s.takesRisks() || migration.EjectsMedia(s.lm) {
		if guest.DiskFiles, err = s.diskFiles(ctx, o, definitions, running, names); err != nil {
			return nil, err
		}
	}
	if s.takesRisks() {
		// Only what is needed to eject media: nothing is compared.
		guest.DiskFiles = migration.OnlyMedia(guest.DiskFiles)
	}
	return names.Paths(), refuseFor(v1alpha1.ReasonSourceCheckFailed, blockers)
}

// refuseFor makes a refusal of what stands in the way; nil if nothing does.
func refuseFor(reason string, blockers []v1alpha1.Blocker) error {
	problems := make([]error, 0, len(blockers))
	for _, b := range blockers {
		problems = append(problems, refuse(reason, b.Code, "%s", b.Message))
	}
	return allOf(problems)
}

// mark makes the markers, and returns what is to be said of them, with what was wrong before
// and is now. They are recorded first, so that whoever comes next removes them.
//
// Without them, the target cannot tell anything of the disks that may have to be copied, which
// are left out then. Of the others, it cannot tell whether they are the same.
func (s *sourceSession) mark(ctx context.Context, facts *v1alpha1.GuestFacts, markers []string, before error) (*v1alpha1.SourceStorage, error) {
	if len(markers) == 0 {
		return nil, before
	}
	storage := &v1alpha1.SourceStorage{Markers: markers}
	s.section = &v1alpha1.SourceStatus{AttemptID: s.lm.Status.Attempt.ID, Storage: storage}
	s.report(atOnce)
	if !s.out.flush(ctx, recordPatience) {
		return storage, errors.New("the markers could not be recorded")
	}
	for _, marker := range markers {
		err := s.makeMarker(ctx, marker)
		switch needed := slices.ContainsFunc(facts.Disks, func(d v1alpha1.GuestDisk) bool { return d.Marker == path.Base(marker) }); {
		case err == nil:
		case !needed:
			// Storage that does not answer keeps no guest from leaving it.
			s.log.Info("The target cannot tell whether it sees a directory", "marker", marker, "reason", messageOf(err))
			withoutMarker(facts, path.Base(marker))
		default:
			facts.Disks, facts.DiskFiles = nil, nil
			return storage, allOf([]error{before, err})
		}
	}
	return storage, before
}

// makeMarker makes a marker, unless it is there: no other attempt has the same name.
func (s *sourceSession) makeMarker(ctx context.Context, marker string) error {
	err := s.hv.MakeImage(ctx, hypervisor.NewImage{Path: marker, Format: "raw", CapacityBytes: markerBytes})
	switch {
	case err == nil, errors.Is(err, hypervisor.ErrImageExists):
		return nil
	case refusedByLibvirt(err):
		return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerImagePlaceUnusable,
			"libvirt on %s cannot make a file in %s, by which %s could tell whether it sees the guest's disks: %s. Name the disks that are to be copied in options.storageCopy.disks of another LiveMigration",
			s.node.Name, path.Dir(marker), s.lm.Status.TargetNode, messageOf(err))
	default:
		return fmt.Errorf("making a marker: %w", err)
	}
}

// mostMarkerTries is how often markers are tried to be removed that libvirt has no answer about.
const mostMarkerTries = 3

// removeMarkers takes the markers away again. What libvirt refuses to remove, or has no answer
// about, stays listed, and keeps nobody from going on.
func (s *sourceSession) removeMarkers(ctx context.Context) time.Duration {
	var left []string
	for _, marker := range s.section.Storage.Markers {
		err := s.hv.RemoveImage(ctx, marker)
		switch {
		case err == nil:
			continue
		case refusedByLibvirt(err), s.markerTries >= mostMarkerTries:
			s.log.Error(err, "Removing a marker failed; it stays", "marker", marker)
			s.markersKept = true
		default:
			s.markerTries++
			s.log.Error(err, "Removing a marker failed; trying again", "after", retryInterval)
			return retryInterval
		}
		left = append(left, marker)
	}
	s.noteStorage(func(storage *v1alpha1.SourceStorage) { storage.Markers = left })
	s.report(atOnce)
	return noWait
}

// noteStorage notes what there is to say of the disks. Nothing at all is left out: the API
// server takes no section without contents.
func (s *sourceSession) noteStorage(change func(*v1alpha1.SourceStorage)) {
	storage := s.section.Storage.DeepCopy()
	if storage == nil {
		storage = &v1alpha1.SourceStorage{}
	}
	change(storage)
	s.section.Storage = nil
	if len(storage.Markers)+len(storage.Images)+len(storage.Shared)+len(storage.Ejected) > 0 {
		s.section.Storage = storage
	}
}

// planCopy decides which disks are copied, and notes that in the section. The definition that
// the target gets must have them where the target has looked: libvirt copies to what that
// says, over whatever is there.
func (s *sourceSession) planCopy(ctx context.Context, live, running, rewritten hypervisor.DomainXML) error {
	if len(s.section.Guest.Disks) == 0 {
		return nil
	}
	if err := s.checkPlaces(rewritten); err != nil {
		return err
	}
	facts, err := s.diskFacts(ctx, live, running)
	if err != nil {
		return err
	}
	images, err := migration.CopyPlan(s.lm, facts)
	if err != nil {
		return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerDiskNotCopyable,
			"The guest's disks cannot be copied to %s: %s. Create another LiveMigration; if that fails likewise, ask an administrator whether the agents on both nodes are of the same version", s.lm.Status.TargetNode, err)
	}
	if disk := migration.BaresDisks(s.lm, s.section, images); disk != "" {
		return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerEncryptionUnavailable,
			"The disk %s is encrypted, and would be sent to %s without: %s. Ask an administrator to put that right or, if the network between the hosts can be trusted, create another LiveMigration with options.transfer.encryption: Disabled",
			disk, s.lm.Status.TargetNode, s.section.Transfer.UnencryptedReason)
	}
	s.noteStorage(func(storage *v1alpha1.SourceStorage) { storage.Images = images })
	return nil
}

func (s *sourceSession) checkPlaces(rewritten hypervisor.DomainXML) error {
	there, err := xmlrewrite.ReadDisks([]byte(rewritten), nil, xmlrewrite.Options{})
	if err != nil {
		return s.unreadable(err)
	}
	for _, d := range s.section.Guest.Disks {
		if !slices.ContainsFunc(there, func(t xmlrewrite.Disk) bool { return t.Name == string(d.Name) && t.Path == d.Path }) {
			return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerDiskNotCopyable,
				"The disk %s is not at %s in the guest's definition for %s, where it was to be copied to. Create another LiveMigration", d.Name, d.Path, s.lm.Status.TargetNode)
		}
	}
	return nil
}

// removeImages removes the images that the guest has left: it runs on the target, from
// others, which were made for it.
func (s *sourceSession) removeImages(ctx context.Context) time.Duration {
	if s.now.domain != nil && s.now.domain.Active() {
		return followInterval
	}
	section := s.section.DeepCopy()
	for i := range section.Storage.Images {
		image := &section.Storage.Images[i]
		if image.RemovedTime != nil {
			continue
		}
		s.log.Info("Removing an image that the guest has left", "disk", image.Name, "image", image.Path)
		if err := s.hv.RemoveImage(ctx, image.Path); err != nil {
			s.log.Error(err, "Removing the image failed; trying again", "after", followInterval)
			image.Error = messageOf(err)
			continue
		}
		image.RemovedTime, image.Error = new(metav1.NewMicroTime(s.node.Clock.Now())), ""
	}
	s.section = section
	s.report(atOnce)
	return followInterval
}
