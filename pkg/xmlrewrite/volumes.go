package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const volumesField = "volumes"

const (
	// noVolume stands for a disk that the migrate data do not mention.
	noVolume = -1
	// ambiguousVolume stands for an entry where it is not clear which disk it
	// means.
	ambiguousVolume = -2
	// otherVolume stands for a disk of the persistent definition that has the
	// target device of another disk, which the running guest has.
	otherVolume = -3
)

// diskIndex finds disks by something that they should have for themselves.
type diskIndex struct {
	disks []*xmltree.Node
	first map[string]int
	next  []int // By disk: the next one with the same; 0 if there is none.
}

// indexDisks makes an index by what the function returns, if it is something.
func indexDisks(disks []*xmltree.Node, of func(*xmltree.Node) (string, bool)) *diskIndex {
	x := &diskIndex{disks: disks, first: make(map[string]int, len(disks)), next: make([]int, len(disks))}
	for i := len(disks) - 1; i >= 0; i-- {
		if key, ok := of(disks[i]); ok {
			x.next[i] = x.first[key] // 0 if this is the last.
			x.first[key] = i
		}
	}
	return x
}

// volumes finds the entry that means each disk, and reports entries that mean
// no disk or several, and disks that several entries mean.
func (p *planner) volumes() []int {
	if p.matched {
		return p.matches
	}
	disks := p.devices("disk")
	p.matched, p.matches = true, make([]int, len(disks))
	for i := range p.matches {
		p.matches[i] = noVolume
	}
	var bySerial, exactly, byTarget diskIndexes
	for i := range p.data.Volumes {
		v, field := &p.data.Volumes[i], placeOf(volumesField).entry(i)
		switch {
		case (v.Serial == nil) == (v.TargetDevice == nil):
			p.report(ProblemInvalidValue, field, nil, "give either serial or targetDevice, to say which disk this is")
		case v.Serial != nil:
			bySerial.fill(p, (*guest).serialOf)
			in, key := &bySerial, strings.TrimSpace(*v.Serial)
			if bySerial.here.severalHave(key) { // Blanks may tell them apart.
				exactly.fill(p, exactSerialOf)
				in, key = &exactly, *v.Serial
			}
			p.matchVolume(i, field.dot("serial"), in, key)
		default:
			byTarget.fill(p, func(_ *guest, disk *xmltree.Node) (string, bool) {
				return disk.Child("target").Value("dev"), true
			})
			p.matchVolume(i, field.dot("targetDevice"), &byTarget, *v.TargetDevice)
		}
	}
	if p.inactive && p.other != nil {
		p.unmatchOthers(&byTarget)
	}
	return p.matches
}

// serialOf returns the serial of a disk, if it has one.
func (g *guest) serialOf(disk *xmltree.Node) (string, bool) {
	serial := disk.Child("serial")
	return serial.Text(), serial != nil
}

// exactSerialOf returns the serial of a disk with the blanks around it, if it has one.
func exactSerialOf(_ *guest, disk *xmltree.Node) (string, bool) {
	serial := disk.Child("serial")
	return serial.ExactText(), serial != nil
}

// severalHave reports whether several disks have the same.
func (x *diskIndex) severalHave(key string) bool {
	disk, found := x.first[key]
	return found && x.next[disk] > 0
}

// diskIndexes find disks by the same thing in both definitions of the guest.
type diskIndexes struct{ here, other *diskIndex }

// fill makes the indexes, unless that is done.
func (x *diskIndexes) fill(p *planner, of func(*guest, *xmltree.Node) (string, bool)) {
	if x.here != nil {
		return
	}
	x.here = indexDisks(p.devices("disk"), func(disk *xmltree.Node) (string, bool) { return of(p.doc, disk) })
	if p.other != nil {
		x.other = indexDisks(p.other.devices("disk"), func(disk *xmltree.Node) (string, bool) { return of(p.other, disk) })
	}
}

// unmatchOthers takes entries by target device off disks of the persistent
// definition that are other disks than those that the running guest has there.
func (p *planner) unmatchOthers(byTarget *diskIndexes) {
	for d, disk := range p.devices("disk") {
		i := p.matches[d]
		if i < 0 || p.data.Volumes[i].TargetDevice == nil {
			continue
		}
		if running, found := byTarget.other.first[*p.data.Volumes[i].TargetDevice]; found && !p.sameDisk(disk, byTarget.other.disks[running]) {
			p.matches[d] = otherVolume
		}
	}
}

// matchVolume pairs an entry with the disk that it means, or reports that it
// does not mean exactly one disk of its own.
func (p *planner) matchVolume(entry int, field *place, in *diskIndexes, key string) {
	x := in.here
	disk, found := x.first[key]
	switch {
	case !found:
		if !p.elsewhere(func(*guest) bool { _, has := in.other.first[key]; return has }) {
			p.report(ProblemNotFound, field, nil, "the guest has no such disk; correct or remove the entry")
		}
	case x.next[disk] > 0:
		p.matches[disk] = ambiguousVolume
		count := 1
		for i := x.next[disk]; i > 0; i = x.next[i] {
			p.matches[i] = ambiguousVolume
			count++
		}
		p.report(ProblemAmbiguous, field, x.disks[x.next[disk]], "the guest has "+itoa(count)+" disks that fit; find this one by the other of serial and targetDevice")
	case p.matches[disk] == noVolume:
		p.matches[disk] = entry
	case p.matches[disk] != ambiguousVolume: // Else it is reported already.
		p.report(ProblemAmbiguous, field, x.disks[disk], "entry "+itoa(p.matches[disk])+" means the same disk; merge the two")
	}
}

// planVolumes points disks to their data on the target. Only the host's side
// of a disk changes: what holds the data and how the host reads it.
func planVolumes(p *planner) {
	matches := p.volumes()
	for d, disk := range p.devices("disk") {
		if p.ejectMedium(disk) {
			continue
		}
		i := matches[d]
		if p.isFlattened(disk) {
			p.flatten(disk)
		}
		if i < 0 {
			p.claimDisk(disk, p.mapStorage(disk), placeOf(volumesField))
		} else {
			p.claimDisk(disk, p.data.Volumes[i].Source, placeOf(volumesField).entry(i))
		}
		switch i {
		case noVolume:
			p.keepVolume(disk)
			continue
		case ambiguousVolume:
			continue
		case otherVolume:
			p.warn(placeOf(volumesField), disk, "the running guest has another disk at this target device, which is the one that the entry means, so this one is kept as it is; list it by its serial to move it, too")
			p.keepVolume(disk)
			continue
		}
		v := &p.data.Volumes[i]
		field := placeOf(volumesField).entry(i)
		if v.TargetDevice != nil {
			p.warnOfMissingOther(field.dot("targetDevice"), disk)
		}
		p.checkCredentials(v, field)
		var shape *sourceShape
		if v.Source != nil {
			shape = p.rewriteSource(disk, v, field)
		} else {
			p.keepHostBoundDisk(disk, field.dot("source"))
		}
		p.fitEncryption(disk, v.Encryption, shape, field)
		p.checkData(disk, v, shape, field)
		p.rewriteDriver(disk, v.Driver, p.formatFor(disk, v.Driver, shape, field.dot("driver.format")), field.dot("driver"))
		p.rewriteEncryption(disk, v.Encryption, field.dot("encryption"))
		p.rewriteBackingStore(disk, v, field.dot("backingStore"))
	}
}

// keepVolume judges a disk that the migrate data do not mention.
func (p *planner) keepVolume(disk *xmltree.Node) {
	if p.keepHostBoundDisk(disk, placeOf(volumesField)) {
		return
	}
	if p.judgeKeptSources(disk) {
		return
	}
	if p.data.Volumes == nil || disk.Child("serial") == nil {
		return
	}
	p.report(ProblemMissingData, placeOf(volumesField), disk,
		"the list of volumes leaves out this disk, which has a serial; add an entry for it, without a source if it stays where it is")
}

// keepHostBoundDisk refuses to keep what only the source host has, and reports
// whether it did. It warns of what is another thing on the target unless
// somebody has seen to it.
func (p *planner) keepHostBoundDisk(disk *xmltree.Node, field *place) bool {
	switch kind := disk.Value("type"); {
	case kind == "nvme", kind == "vhostvdpa":
		p.report(ProblemMissingData, field, disk, "the disk is a device of the source host; give the target's")
		return true
	case disk.Child("source").HasAttr("fdgroup"):
		p.report(ProblemMissingData, field, disk, "the source's libvirt was handed the disk as an open file (fdgroup), which the target's does not have; give the disk's source on the target")
		return true
	case kind == "vhostuser":
		p.warn(field, disk, "the disk uses a vhost-user socket of the host, whose path is kept; make sure that the socket there is this guest's on the target, too, or give another in source.vhostUser")
	}
	return false
}

// rewriteDriver sets how the data are read and written; empty is the format that stays.
func (p *planner) rewriteDriver(disk *xmltree.Node, want *v1alpha1.VolumeDriver, format string, field *place) {
	if want == nil {
		want = &v1alpha1.VolumeDriver{}
	}
	settings := [...]struct{ field, name, value string }{
		{"format", "type", format},
		{"cache", "cache", stringOf(want.Cache)},
		{"io", "io", stringOf(want.IO)},
		{"discard", "discard", stringOf(want.Discard)},
	}
	driver := disk.Child("driver")
	fresh := xmltree.NewElem("driver", "name", "qemu")
	for _, s := range settings {
		if s.value == "" {
			continue
		}
		if !isName(s.value) {
			p.report(ProblemInvalidValue, field.dot(s.field), nil, "this must be a name as libvirt writes it")
			continue
		}
		if driver != nil {
			driver.SetAttr(s.name, s.value)
		} else {
			fresh.AddAttr(s.name, s.value)
		}
	}
	if driver == nil && len(fresh.Attrs) > 1 {
		disk.InsertBehind(nil, fresh)
	}
	p.checkIOMode(disk, want, field)
	if format != "" && format != "qcow2" { // No other format has these.
		driver.RemoveAttr("discard_no_unref")
		driver.Child("metadata_cache").RemoveAll()
	}
}

// rewriteEncryption sets the secret that opens the data. The element may be
// inside the source or, in the older form, beside it; it stays where it is.
func (p *planner) rewriteEncryption(disk *xmltree.Node, want *v1alpha1.VolumeEncryption, field *place) {
	if want == nil {
		return
	}
	inside, beside := disk.Child("source").Child("encryption"), disk.Child("encryption")
	if want.SecretUUID == nil {
		inside.RemoveAll()
		beside.RemoveAll()
		return
	}
	uuid, ok := p.checkUUID(field.dot("secretUUID"), *want.SecretUUID)
	if !ok {
		return
	}
	have := inside
	if have == nil {
		have = beside
	} else {
		beside.RemoveAll()
	}
	if have == nil {
		disk.InsertBehind(disk.Child("source"), xmltree.NewElem("encryption", "format", "luks").Add(passphrase(uuid)))
		return
	}
	if old := have.Child("secret"); old == nil || !equalUUID(old.Value("uuid"), uuid) {
		have.SyncChild("secret", passphrase(uuid))
	}
	have.NextSame().RemoveAll()
}

func passphrase(uuid string) *xmltree.Elem {
	return xmltree.NewElem("secret", "type", "passphrase", "uuid", uuid)
}

// rewriteBackingStore decides on a backing chain and a data file that are spelled out.
func (p *planner) rewriteBackingStore(disk *xmltree.Node, v *v1alpha1.VolumeMigrateData, field *place) {
	store, dataFile := disk.Child("backingStore"), disk.Child("source").Child("dataStore")
	if p.isFlattened(disk) {
		return
	}
	if v.BackingStore == nil {
		at, what := store, "a backing chain"
		if store.Child("source") == nil {
			at, what = dataFile, "a data file of its own"
		}
		if v.Source != nil && at.Child("source") != nil && p.sourceChanges(disk) {
			p.report(ProblemMissingData, field, at,
				"the disk has "+what+", with paths of the source host; say Keep if they are valid on the target or mapped by pathMappings, or Detect to let libvirt find it")
		}
		return
	}
	switch *v.BackingStore {
	case v1alpha1.BackingStoreKeep:
	case v1alpha1.BackingStoreDetect:
		store.RemoveAll()
		dataFile.RemoveAll()
	default:
		p.report(ProblemInvalidValue, field, nil, "this must be Keep or Detect")
	}
}

// isFlattened reports whether the target has all of a disk in one image. One of the persistent
// definition is that disk only if it has the same image as the running guest's.
func (p *planner) isFlattened(disk *xmltree.Node) bool {
	name := disk.Child("target").Value("dev")
	if !slices.Contains(p.flat, name) {
		return false
	}
	return !p.inactive || p.other != nil && slices.ContainsFunc(p.other.devices("disk"), func(running *xmltree.Node) bool {
		return running.Child("target").Value("dev") == name && running.Child("source").Value("file") == disk.Child("source").Value("file")
	})
}

// flatten takes away what a disk is based on. What the map of paths says of that has served.
func (p *planner) flatten(disk *xmltree.Node) {
	store := disk.Child("backingStore")
	for at := store; at != nil; at = at.Child("backingStore") {
		_ = p.hasPathMapping(at.Child("source").Value("file"))
	}
	store.RemoveAll()
}

// sourceChanges reports whether an edit of the disk's source is recorded.
func (p *planner) sourceChanges(disk *xmltree.Node) bool {
	if source := disk.Child("source"); source != nil && source.Edited() {
		return true
	}
	return disk.EditsTag()
}

func stringOf[T ~string](v *T) string {
	if v == nil {
		return ""
	}
	return string(*v)
}
