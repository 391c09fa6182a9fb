package migration

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// What both hosts see of the disks that are not copied.

const (
	// maxDiskFiles and maxMarkers are what the API takes.
	maxDiskFiles = 128
	maxMarkers   = 64
)

// FilePlace is where a file is on the source, and where it is to be on the target.
type FilePlace struct {
	SourcePath, Path string
}

// SharingFacts are what the source's agent knows of a disk that may be shared.
type SharingFacts struct {
	// Disk is its name, and Type the kind of its source on the target; empty without a medium.
	Disk, Type string
	// Removable is whether it is a medium in a drive.
	Removable bool
	// Writable is whether the guest writes to it, and Optional whether libvirt leaves it out
	// where it is missing.
	Writable, Optional bool
	Cache              string
	// Files are its image and what that is based on, and Complete whether they are all.
	Files    []FilePlace
	Complete bool
}

// Markers names the files by which the target tells whether it sees the same directories. Each
// directory has another: one that is found says that both hosts see that directory, and no
// other.
type Markers struct {
	prefix      string
	directories []string
}

// NewMarkers returns the names of an attempt's markers.
func NewMarkers(prefix string) *Markers { return &Markers{prefix: prefix} }

// For returns the name of the marker beside a file; empty if it has none. There is none for one
// that gets another name: beside it, the target would find another file under that name, if
// any.
func (m *Markers) For(f FilePlace) string {
	if f.SourcePath == "" || path.Base(f.SourcePath) != path.Base(f.Path) {
		return ""
	}
	dir := path.Dir(f.SourcePath)
	at := slices.Index(m.directories, dir)
	if at < 0 {
		if len(m.directories) == maxMarkers {
			return ""
		}
		at = len(m.directories)
		m.directories = append(m.directories, dir)
	}
	return fmt.Sprintf("%s.%d.marker", m.prefix, at)
}

// Paths are where the markers are on the source.
func (m *Markers) Paths() []string {
	out := make([]string, len(m.directories))
	for i, dir := range m.directories {
		out[i] = path.Join(dir, fmt.Sprintf("%s.%d.marker", m.prefix, i))
	}
	return out
}

// fileList collects files that the target is to see.
type fileList struct {
	markers *Markers
	known   map[string]bool
	files   []v1alpha1.DiskFile
}

// add adds a file, unless it is known already.
func (l *fileList) add(d SharingFacts, role v1alpha1.DiskFileRole, f FilePlace) {
	if l.known[f.Path] || f.Path == "" || len(f.Path) > maxPath || len(l.files) == maxDiskFiles {
		return
	}
	l.known[f.Path] = true
	file := v1alpha1.DiskFile{Disk: v1alpha1.DiskName(d.Disk), Role: role, Path: f.Path}
	file.Removable = d.Removable && (role == v1alpha1.DiskFileImage || role == v1alpha1.DiskFileMedium)
	if role == v1alpha1.DiskFileImage || role == v1alpha1.DiskFileBacking {
		file.Marker = l.markers.For(f)
	}
	l.files = append(l.files, file)
}

// addDisk adds the files of a disk of the running guest. What it only reads has to be there,
// and be nothing more.
func (l *fileList) addDisk(d SharingFacts, copied bool) {
	for i, f := range d.Files {
		switch {
		case !d.Writable && (i > 0 || d.Optional):
		case !d.Writable:
			l.add(d, v1alpha1.DiskFileMedium, f)
		case i > 0:
			l.add(d, v1alpha1.DiskFileBacking, f)
		case copied:
			l.known[f.Path] = true
		default:
			l.add(d, v1alpha1.DiskFileImage, f)
		}
	}
}

// DiskFilesOf returns the files that the target is to see, unless their disk is copied: all of
// the running guest's disks but those that the user has named to be copied, and those that only
// its persistent definition has.
func DiskFilesOf(o *v1alpha1.StorageCopyOptions, live, defined []SharingFacts, markers *Markers) []v1alpha1.DiskFile {
	list := fileList{markers: markers, known: map[string]bool{}}
	for _, d := range live {
		list.addDisk(d, o != nil && slices.Contains(o.Disks, v1alpha1.DiskName(d.Disk)))
	}
	for _, d := range defined {
		if d.Writable && len(d.Files) > 0 {
			list.add(d, v1alpha1.DiskFileDefinition, d.Files[0])
		}
	}
	return list.files
}

// MissingFiles says which of the guest's files the target would have to have, and has not.
// Media are no blockers where they are to be ejected then.
func MissingFiles(lm *v1alpha1.LiveMigration, node string, guest *v1alpha1.GuestFacts, seen []v1alpha1.TargetDiskFile) []v1alpha1.Blocker {
	var blockers []v1alpha1.Blocker
	for _, f := range guest.DiskFiles {
		at := slices.IndexFunc(seen, func(t v1alpha1.TargetDiskFile) bool { return t.Path == f.Path })
		if at < 0 || seen[at].State != v1alpha1.TargetDiskFileMissing || f.Removable && EjectsMedia(lm) {
			continue
		}
		if b := missingFile(node, guest, f); b != nil {
			blockers = append(blockers, *b)
		}
	}
	return blockers
}

// missingFile says what is wrong with a file that the target does not have; nil if that is to
// be so.
func missingFile(node string, guest *v1alpha1.GuestFacts, f v1alpha1.DiskFile) *v1alpha1.Blocker {
	copied := slices.IndexFunc(guest.Disks, func(d v1alpha1.GuestDisk) bool { return d.Name == f.Disk })
	if f.Removable && copied < 0 {
		return &v1alpha1.Blocker{Code: v1alpha1.BlockerMediumMissing, Message: fmt.Sprintf(
			"%s does not have %s, the medium in the guest's drive %s. If the guest does not need it, create another LiveMigration with options.ejectMissingMedia, or eject it "+
				"with `virsh change-media --eject`; otherwise ask an administrator to put it there, or say by migrateData.volumes or, for all guests, by spec.storageMappings of the "+
				"Hypervisor %[1]s where that has it, and then create another LiveMigration", node, f.Path, f.Disk)}
	}
	code := v1alpha1.BlockerDiskMissing
	var message string
	switch f.Role {
	case v1alpha1.DiskFileImage:
		if copied >= 0 {
			return nil
		}
		message = fmt.Sprintf("%s does not have %s, the image of the guest's disk %s. If only the source has it, create another LiveMigration that has it copied, by options.storageCopy; "+
			"otherwise ask an administrator to make the storage available on %[1]s, or give the disk's place there by migrateData.volumes or, for all guests, by spec.storageMappings of the Hypervisor %[1]s", node, f.Path, f.Disk)
	case v1alpha1.DiskFileBacking:
		if copied >= 0 && (guest.Disks[copied].Backing == nil || guest.Disks[copied].Backing.Path != f.Path) {
			return nil
		}
		message = fmt.Sprintf("%s does not have %s, on which the image of the guest's disk %s is based. Ask an administrator to put it there, with the same contents, or create another "+
			"LiveMigration that copies all of the disk, by options.storageCopy.mode Full", node, f.Path, f.Disk)
	case v1alpha1.DiskFileMedium:
		code = v1alpha1.BlockerMediumMissing
		message = fmt.Sprintf("%s does not have %s, which the guest reads as its disk %s. Ask an administrator to put it there, or say by migrateData.volumes or, for all guests, by spec.storageMappings of the Hypervisor %[1]s where that has it; and then create another LiveMigration", node, f.Path, f.Disk)
	case v1alpha1.DiskFileDefinition:
		message = fmt.Sprintf("The guest's persistent definition has the disk %s at %s, which the running guest does not have, so that it is not copied; and %s does not see it, so that "+
			"the guest could not be started there again. Ask an administrator to attach it to the guest or to take it out of the definition with `virsh detach-disk --config`, and then create another LiveMigration",
			f.Disk, f.Path, node)
	default:
		return nil
	}
	return &v1alpha1.Blocker{Code: code, Message: message}
}

// Sharing says of the disks that are not copied whether both hosts have been proven to have one
// and the same image of each.
type Sharing struct {
	Disks []v1alpha1.SharedDisk
	// Safe is whether it is safe to move the guest although libvirt may not know that.
	Safe bool
}

// ProveSharing decides whether libvirt's check of disks may be overridden. libvirt lets pass
// what is read-only, copied, on a network, or in a file on a file system whose type it knows
// to be shared; block devices it takes to be shared. With that flag, it looks at none of them:
// so each has to be safe by what is known here, and a file to be proven to be the same.
//
// A floppy disk that is ejected for the move is safe as well: there is but one guest to write to it.
//
// It is proven if three things are so: the target has seen the source's marker in the file's
// directory; there is a file of that name; and that file's status has changed last when the
// file's on the source has, or in between two looks there if the guest writes to it. The third
// is for symbolic links and for files that are mounted over others: the same directory may
// lead to different files on two hosts. No program can set that time.
//
// looks are the times of the last change on the source, by path there, read now.
func ProveSharing(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, disks []SharingFacts, looks map[string]time.Time) Sharing {
	out := Sharing{Safe: true}
	proven := leavesFloppy(source, disks)
	for _, d := range disks {
		if !d.Writable || d.Type == "" || isCopied(source, d.Disk) {
			continue
		}
		doubt := cacheDoubt(d)
		if doubt == "" {
			doubt = placeDoubt(lm, source, d, looks)
		}
		if doubt == "" && d.Type != oneFile {
			continue
		}
		proven, out.Safe = proven || doubt == "", out.Safe && doubt == ""
		if len(out.Disks) < maxDisks {
			out.Disks = append(out.Disks, v1alpha1.SharedDisk{Name: v1alpha1.DiskName(d.Disk), Doubt: doubt})
		}
	}
	out.Safe = out.Safe && proven
	return out
}

// leavesFloppy reports whether the guest leaves a medium behind to which it can write: libvirt
// looks at that as well.
func leavesFloppy(source *v1alpha1.SourceStatus, disks []SharingFacts) bool {
	return source.Storage != nil && slices.ContainsFunc(source.Storage.Ejected, func(m v1alpha1.EjectedMedium) bool {
		return slices.ContainsFunc(disks, func(d SharingFacts) bool { return d.Writable && d.Disk == string(m.Name) })
	})
}

func isCopied(source *v1alpha1.SourceStatus, disk string) bool {
	return source.Storage != nil && slices.ContainsFunc(source.Storage.Images, func(i v1alpha1.SourceImage) bool { return string(i.Name) == disk })
}

// placeDoubt says why a disk may not be the same on both hosts; empty if it is, or if libvirt
// takes it to be, whatever its flags.
func placeDoubt(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, d SharingFacts, looks map[string]time.Time) string {
	switch d.Type {
	case oneFile:
		return fileDoubt(lm, source, d, looks)
	case "network", "block":
		return ""
	default:
		return "it is neither in a file, nor a block device, nor on a network"
	}
}

// cacheDoubt says what is wrong with how the host's page cache is used; empty if nothing is.
// QEMU writes out what it has in it when the guest stops, and the target's drops what is in
// its own before the guest runs there, which is why libvirt minds none but on an old QEMU. In
// the mode unsafe, nothing is written out.
func cacheDoubt(d SharingFacts) string {
	if d.Cache == "unsafe" && d.Type != "network" {
		return "its cache mode is unsafe: what the guest has written may not have left the source's memory"
	}
	return ""
}

func fileDoubt(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, d SharingFacts, looks map[string]time.Time) string {
	if len(d.Files) == 0 || !d.Complete {
		return "it is not known what files its data are in"
	}
	for _, f := range d.Files {
		if doubt := oneFileDoubt(lm, source, f, looks[f.SourcePath]); doubt != "" {
			return doubt
		}
	}
	return ""
}

// oneFileDoubt says why a file may not be the same on both hosts; empty if it is.
func oneFileDoubt(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, f FilePlace, now time.Time) string {
	target := CurrentTarget(lm)
	here := slices.IndexFunc(source.Guest.DiskFiles, func(d v1alpha1.DiskFile) bool { return d.Path == f.Path })
	there := -1
	if target != nil {
		there = slices.IndexFunc(target.DiskFiles, func(d v1alpha1.TargetDiskFile) bool { return d.Path == f.Path })
	}
	node := lm.Status.TargetNode
	switch {
	case here < 0, there < 0, source.Guest.DiskFiles[here].Marker == "":
		return fmt.Sprintf("the hosts have not compared %s", f.Path)
	case target.DiskFiles[there].State != v1alpha1.TargetDiskFileMarked:
		return fmt.Sprintf("%s does not see in %s what the source has just written there", node, path.Dir(f.Path))
	}
	before, seen := source.Guest.DiskFiles[here].ChangeTime, target.DiskFiles[there].ChangeTime
	switch {
	case before == nil, seen == nil, now.IsZero():
		return fmt.Sprintf("it is not known when %s was last changed", f.Path)
	case seen.Time.Before(before.Time), seen.After(now.Truncate(time.Microsecond)):
		return fmt.Sprintf("the file %s on %s was not last changed when the source's was, as if it were another one behind a symbolic link or a mount", f.Path, node)
	}
	return ""
}

// ChangeTime is a time of a file's last change as the API has it; nil if it is not known.
func ChangeTime(t time.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	return new(metav1.NewMicroTime(t.Truncate(time.Microsecond)))
}

// doubts says why disks have not been proven to be shared; empty if there is nothing to say.
func doubts(source *v1alpha1.SourceStatus) string {
	if source.Storage == nil {
		return ""
	}
	var parts []string
	for _, d := range source.Storage.Shared {
		if d.Doubt != "" {
			parts = append(parts, fmt.Sprintf("%s: %s", d.Name, d.Doubt))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (not proven to be shared: " + strings.Join(parts, "; ") + ")"
}
