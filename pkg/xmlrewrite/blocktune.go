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
		disk, found := on.first[cleanText(path)]
		switch {
		case !found:
			// pathMappings may map it.
		case matches[disk] < 0 || p.data.Volumes[matches[disk]].Source == nil:
			p.claims(limitKey(path.Text()), claim{at: d})
		case p.data.Volumes[matches[disk]].Source.Block != nil:
			to := p.data.Volumes[matches[disk]].Source.Block.Path
			path.SetText(to)
			p.claims(limitKey(to), claim{field: placeOf(volumesField).entry(matches[disk]), at: d})
		default:
			p.warn(placeOf(volumesField).entry(matches[disk]).dot("source"), d, "libvirt limits block devices only, and the disk of this limit will not be on one, so the limit is removed; if it is still needed, limit the disk by other means, such as iotune")
			d.Remove()
			tune.RemoveIfEmpty()
		}
	}
}

// limitKey stands for the limit of a block device, of which there can be but one.
func limitKey(dev string) string {
	clean, _ := cleanPath(dev)
	return "limit " + clean
}

// blockDevice returns the block device that a disk is on, if it is on one.
func blockDevice(disk *xmltree.Node) (string, bool) {
	dev, _ := cleanPath(disk.Child("source").Value("dev"))
	return dev, disk.Value("type") == "block"
}

// cleanText returns the path that is the text of an element.
func cleanText(n *xmltree.Node) string {
	clean, _ := cleanPath(n.Text())
	return clean
}

// diskDevices are the block devices that a guest's disks are on. The zero value looks when it
// is asked first.
type diskDevices struct{ devices map[string]bool }

// missLimit reports whether an element names the block device of a limit, and none of the
// guest's disks is on that.
func (d *diskDevices) missLimit(path *xmltree.Node) bool {
	if path.Name != "path" || path.Parent.Name != "device" || path.Parent.Parent.Name != "blkiotune" {
		return false
	}
	if d.devices == nil {
		d.devices = devicesOfDisks(path.Parent.Parent.Parent)
	}
	return !d.devices[cleanText(path)]
}

func devicesOfDisks(domain *xmltree.Node) map[string]bool {
	found := make(map[string]bool)
	for devices := domain.Child("devices"); devices != nil; devices = devices.NextSame() {
		for disk := devices.Child("disk"); disk != nil; disk = disk.NextSame() {
			if dev, ok := blockDevice(disk); ok {
				found[dev] = true
			}
		}
	}
	return found
}
