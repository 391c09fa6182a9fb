package xmlrewrite

import "github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"

// planBlockTuning has the limits of block devices follow the disks that are on
// these devices. One of a disk that is on no block device any more goes.
func planBlockTuning(p *planner) {
	tune := p.domain.Child("blkiotune")
	if tune.Child("device") == nil {
		return
	}
	disks, matches := p.devices("disk"), p.volumes()
	on := indexDisks(disks, blockDevice)
	for d := tune.Child("device"); d != nil; d = d.NextSame() {
		path := d.Child("path")
		if path == nil {
			continue
		}
		disk, found := on.first[path.Text()]
		switch {
		case !found:
			// pathMappings may map it.
		case matches[disk] < 0 || p.data.Volumes[matches[disk]].Source == nil:
		case p.data.Volumes[matches[disk]].Source.Block != nil:
			path.SetText(p.data.Volumes[matches[disk]].Source.Block.Path)
		default:
			p.warn(placeOf(volumesField).entry(matches[disk]).dot("source"), d, "libvirt limits block devices only, and the disk of this limit will not be on one, so the limit is removed; if it is still needed, limit the disk by other means, such as iotune")
			d.Remove()
			tune.RemoveIfEmpty()
		}
	}
}

// blockDevice returns the block device that a disk is on, if it is on one.
func blockDevice(disk *xmltree.Node) (string, bool) {
	return disk.Child("source").Value("dev"), disk.Value("type") == "block"
}

// isLimitWithoutDisk reports whether an element names the block device of a limit, and none
// of the guest's disks is on that.
func isLimitWithoutDisk(path *xmltree.Node) bool {
	if path.Name != "path" || path.Parent.Name != "device" || path.Parent.Parent.Name != "blkiotune" {
		return false
	}
	domain := path.Parent.Parent.Parent
	for devices := domain.Child("devices"); devices != nil; devices = devices.NextSame() {
		for disk := devices.Child("disk"); disk != nil; disk = disk.NextSame() {
			if dev, ok := blockDevice(disk); ok && dev == path.Text() {
				return false
			}
		}
	}
	return true
}
