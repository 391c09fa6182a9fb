package xmlrewrite

// planBlockTuning has the limits of block devices follow the disks that are on
// these devices. One of a disk that is on no block device any more goes.
func planBlockTuning(p *planner) {
	tune := p.domain.child("blkiotune")
	if tune.child("device") == nil {
		return
	}
	disks, matches := p.devices("disk"), p.volumes()
	on := indexDisks(disks, func(disk *node) (string, bool) {
		return disk.child("source").value("dev"), disk.value("type") == "block"
	})
	for d := tune.child("device"); d != nil; d = d.sibling() {
		path := d.child("path")
		if path == nil {
			continue
		}
		disk, found := on.first[p.doc.text(path)]
		switch {
		case !found:
			p.warn(placeOf(volumesField), path, "none of the guest's disks is on the block device that this limit is for; it is kept, so make sure that the path is right on the target")
		case matches[disk] < 0 || p.data.Volumes[matches[disk]].Source == nil:
		case p.data.Volumes[matches[disk]].Source.Block != nil:
			path.setText(p.doc, p.data.Volumes[matches[disk]].Source.Block.Path)
		default:
			p.warn(placeOf(volumesField).entry(matches[disk]).dot("source"), d, "libvirt limits block devices only, and the disk of this limit will not be on one, so the limit is removed; if it is still needed, limit the disk by other means, such as iotune")
			d.remove()
			tune.removeIfEmpty()
		}
	}
}
