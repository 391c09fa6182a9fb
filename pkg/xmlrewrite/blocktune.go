package xmlrewrite

// planBlockTuning has the limits of block devices follow the disks that are on
// these devices. One of a disk that is on no block device any more goes.
func planBlockTuning(p *planner) {
	for d := p.domain.child("blkiotune").child("device"); d != nil; d = d.sibling() {
		path := d.child("path")
		if path == nil {
			continue
		}
		switch disk, entry := p.diskOn(p.doc.text(path)); {
		case disk == nil:
			p.warn(placeOf(volumesField), path, "this limit is for a block device of the host on which the guest has no disk; it is kept, so make sure that it is right on the target")
		case entry < 0 || p.data.Volumes[entry].Source == nil:
		case p.data.Volumes[entry].Source.Block != nil:
			path.setText(p.doc, p.data.Volumes[entry].Source.Block.Path)
		default:
			p.warn(placeOf(volumesField).entry(entry).dot("source"), d, "the disk that this limit is for is on no block device any more, so the limit goes")
			d.remove()
			d.parent.removeIfEmpty()
		}
	}
}

// diskOn returns the guest's disk that is on a block device, and the entry that
// means the disk, or noVolume.
func (p *planner) diskOn(path string) (*node, int) {
	matches := p.volumes()
	for i, disk := range p.devices("disk") {
		if disk.value("type") == "block" && disk.child("source").value("dev") == path {
			return disk, matches[i]
		}
	}
	return nil, noVolume
}
