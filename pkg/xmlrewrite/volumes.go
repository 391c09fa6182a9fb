package xmlrewrite

import (
	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

const volumesField = "volumes"

// volumeMatches pairs disks with entries of the migrate data.
type volumeMatches map[*node]int

// ambiguousVolume stands for an entry where it is not clear which disk it means.
const ambiguousVolume = -1

// volumes finds the disk that each entry means, and reports entries that mean
// none or several, and disks that several entries mean.
func (p *planner) volumes() volumeMatches {
	if p.matches != nil {
		return p.matches
	}
	p.matches = make(volumeMatches, len(p.data.Volumes))
	if len(p.data.Volumes) == 0 {
		return p.matches
	}
	disks := p.devices("disk")
	bySerial := make(map[string][]*node, len(disks))
	byTarget := make(map[string][]*node, len(disks))
	for i, disk := range disks {
		alone := disks[i : i+1 : i+1] // Spares most disks a list of their own.
		add := func(to map[string][]*node, key string) {
			if have := to[key]; have == nil {
				to[key] = alone
			} else {
				to[key] = append(have, disk)
			}
		}
		if serial := disk.child("serial"); serial != nil {
			add(bySerial, p.doc.text(serial))
		}
		add(byTarget, disk.child("target").value("dev"))
	}
	for i := range p.data.Volumes {
		v := &p.data.Volumes[i]
		field := func(name string) string { return volumesField + "[" + itoa(i) + "]" + name }
		var found []*node
		name := ".serial"
		switch {
		case (v.Serial == nil) == (v.TargetDevice == nil):
			p.report(ProblemInvalidValue, field(""), nil, "give either serial or targetDevice to say which disk is meant")
			continue
		case v.Serial != nil:
			found = bySerial[*v.Serial]
		default:
			found, name = byTarget[*v.TargetDevice], ".targetDevice"
		}
		if len(found) == 1 && !p.isMatched(found[0]) {
			p.matches[found[0]] = i
			continue
		}
		p.matchVolume(field(name), found)
	}
	return p.matches
}

func (p *planner) isMatched(disk *node) bool {
	_, is := p.matches[disk]
	return is
}

// matchVolume reports an entry that does not mean exactly one disk of its own.
func (p *planner) matchVolume(field string, found []*node) {
	switch len(found) {
	case 0:
		if !p.inactive {
			p.report(ProblemNotFound, field, nil, "the guest has no such disk; correct or remove the entry")
		}
	case 1:
		if other := p.matches[found[0]]; other != ambiguousVolume { // Else it is reported already.
			p.report(ProblemAmbiguous, field, found[0], "entry "+itoa(other)+" means the same disk; merge the two")
		}
	default:
		for _, disk := range found {
			p.matches[disk] = ambiguousVolume
		}
		p.report(ProblemAmbiguous, field, found[1], "the guest has "+itoa(len(found))+" such disks; name the disk by what only it has")
	}
}

// planVolumes points disks to their data on the target. Only the host's side
// of a disk changes: what holds the data and how the host reads it.
func planVolumes(p *planner) {
	matches := p.volumes()
	for _, disk := range p.devices("disk") {
		i, listed := matches[disk]
		if !listed {
			p.keepVolume(disk)
			continue
		}
		if i == ambiguousVolume {
			continue
		}
		v := &p.data.Volumes[i]
		field := volumesField + "[" + itoa(i) + "]"
		if v.Source != nil {
			p.rewriteSource(disk, v, field)
		} else if kind := disk.value("type"); kind == "nvme" || kind == "vhostvdpa" {
			p.keepHostBoundDisk(disk, field+".source")
		}
		p.rewriteDriver(disk, v.Driver, field+".driver")
		p.rewriteEncryption(disk, v.Encryption, field+".encryption")
		p.rewriteBackingStore(disk, v, field+".backingStore")
	}
}

// keepVolume judges a disk that the migrate data do not mention.
func (p *planner) keepVolume(disk *node) {
	switch disk.value("type") {
	case "nvme", "vhostvdpa":
		p.keepHostBoundDisk(disk, volumesField)
		return
	}
	if p.data.Volumes == nil || disk.child("serial") == nil {
		return
	}
	if p.inactive {
		p.warn(volumesField, disk, "the list of volumes does not mention this disk, which is kept as it is")
		return
	}
	p.report(ProblemMissingData, volumesField, disk,
		"the list of volumes does not mention this disk; add its serial, with nothing else if its source stays the same")
}

func (p *planner) keepHostBoundDisk(disk *node, field string) {
	const message = "the disk is a device of the source host; say which device it is on the target"
	if p.inactive {
		p.warn(field, disk, message)
		return
	}
	p.report(ProblemMissingData, field, disk, message)
}

func (p *planner) rewriteDriver(disk *node, want *v1alpha1.VolumeDriver, field string) {
	if want == nil {
		return
	}
	settings := [...]struct{ field, name, value string }{
		{"format", "type", stringOf(want.Format)},
		{"cache", "cache", stringOf(want.Cache)},
		{"io", "io", stringOf(want.IO)},
		{"discard", "discard", stringOf(want.Discard)},
	}
	driver := disk.child("driver")
	fresh := newElem("driver", "name", "qemu")
	for _, s := range settings {
		if s.value == "" {
			continue
		}
		if !isName(s.value) {
			p.report(ProblemInvalidValue, field+"."+s.field, nil, "this must be a name as libvirt writes it")
			continue
		}
		if driver != nil {
			driver.setAttr(s.name, s.value)
		} else {
			fresh.attrs = append(fresh.attrs, elemAttr{s.name, s.value})
		}
	}
	if driver == nil && len(fresh.attrs) > 1 {
		disk.insertBehind(nil, fresh)
	}
}

// rewriteEncryption sets the secret that opens the data. The element may be
// inside the source or, in the older form, beside it; it stays where it is.
func (p *planner) rewriteEncryption(disk *node, want *v1alpha1.VolumeEncryption, field string) {
	if want == nil {
		return
	}
	have := append(disk.child("source").children("encryption"), disk.children("encryption")...)
	if want.SecretUUID == nil {
		for _, e := range have {
			e.remove()
		}
		return
	}
	uuid, ok := p.checkUUID(field+".secretUUID", *want.SecretUUID)
	if !ok {
		return
	}
	secret := newElem("secret", "type", "passphrase", "uuid", uuid)
	if len(have) == 0 {
		disk.insertBehind(firstOf(disk, []string{"source"}), newElem("encryption", "format", "luks").add(secret))
		return
	}
	if old := have[0].child("secret"); old == nil || !equalUUID(old.value("uuid"), uuid) {
		p.syncChild(have[0], "secret", secret)
	}
	for _, extra := range have[1:] {
		extra.remove()
	}
}

// rewriteBackingStore decides on a backing chain that is spelled out.
func (p *planner) rewriteBackingStore(disk *node, v *v1alpha1.VolumeMigrateData, field string) {
	store := disk.child("backingStore")
	if v.BackingStore == nil {
		if v.Source != nil && store.child("source") != nil && p.sourceChanges(disk) {
			p.report(ProblemMissingData, field, store,
				"the disk has a backing chain with paths of the source host; say Keep if they are valid on the target, or Detect to let libvirt find the chain")
		}
		return
	}
	switch *v.BackingStore {
	case v1alpha1.BackingStoreKeep:
	case v1alpha1.BackingStoreDetect:
		for _, s := range disk.children("backingStore") {
			s.remove()
		}
	default:
		p.report(ProblemInvalidValue, field, nil, "this must be Keep or Detect")
	}
}

// sourceChanges reports whether an edit of the disk's source is recorded.
func (p *planner) sourceChanges(disk *node) bool {
	if source := disk.child("source"); source != nil && source.touched {
		return true
	}
	return disk.change != nil && len(disk.change.attrs) > 0
}

func stringOf[T ~string](v *T) string {
	if v == nil {
		return ""
	}
	return string(*v)
}
