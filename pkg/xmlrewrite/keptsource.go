package xmlrewrite

import (
	"cmp"
	"path"
	"regexp"
	"strings"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// discovered are block devices that a host names in the order in which it finds
// them, or by the way that leads to them.
var discovered = regexp.MustCompile(`^/dev/(` +
	`(s|h|v|xv|rss)d[a-z]+[0-9]*|fio[a-z]+[0-9]*|cciss/.+|dasd[a-z]+[0-9]*|nvme[0-9]+n[0-9]+(p[0-9]+)?|mmcblk[0-9]+((p|boot)[0-9]+)?|pmem[0-9]+(\.[0-9]+)?s?(p[0-9]+)?|` +
	`(dm-|md|md_d|loop|nbd|rbd|zd|sr|scd|bcache|zram|ram|fd|ublkb|mtdblock)[0-9]+(p[0-9]+)?|(cdrom|dvd)[0-9]*|` +
	`(mapper/|disk/by-id/dm-name-)mpath[a-z]+(-part|p)?[0-9]*|disk/by-diskseq/.+|block/.+)$`)

// isDiscovered reports whether another host may have given the name of a block device to
// another disk. A path over the network is the same from everywhere.
func isDiscovered(dev string) bool {
	dev = path.Clean(dev)
	if way, byPath := strings.CutPrefix(dev, "/dev/disk/by-path/"); byPath {
		return !strings.HasPrefix(way, "ip-")
	}
	return discovered.MatchString(dev)
}

// judgeKeptSources judges where the data of a disk are that the migrate data do not mention,
// and reports whether it refused that. All that a disk is based on counts, and what an image
// keeps its data in.
func (p *planner) judgeKeptSources(disk *xmltree.Node) bool {
	source := disk.Child("source")
	// QEMU may open a block device as a file, too.
	if isOneOf(disk.Value("type"), "block", "file") && (isDiscovered(source.Value("dev")) || isDiscovered(source.Value("file"))) {
		p.report(ProblemMissingData, placeOf(volumesField), disk,
			"each host names its block devices like this one by itself, so the name may be that of another disk on the target; give the disk's source there, or list the disk without a source if the name is right there, too")
		return true
	}
	p.warnOfKeptHosts(source)
	refused := p.judgeKeptBase(source.Child("dataStore"))
	for at := disk.Child("backingStore"); at != nil; at = at.Child("backingStore") {
		refused = p.judgeKeptBase(at) || refused
		refused = p.judgeKeptBase(at.Child("source").Child("dataStore")) || refused
	}
	return refused
}

// judgeKeptBase judges one of the things that a disk is based on, if there is one, and
// reports whether it refused that.
func (p *planner) judgeKeptBase(at *xmltree.Node) bool {
	source := at.Child("source")
	if dev := cmp.Or(source.Value("dev"), source.Value("file")); isOneOf(at.Value("type"), "block", "file") && isDiscovered(dev) && !p.hasPathMapping(dev) {
		p.report(ProblemMissingData, placeOf(pathMappingsField), at,
			"the disk is based on a block device that each host names by itself, so the name may be that of another disk on the target; map its path here, or list the disk in volumes if the name is right there, too")
		return true
	}
	p.warnOfKeptHosts(source)
	return false
}

// hasPathMapping reports whether the map of paths has a word for a path.
func (p *planner) hasPathMapping(dev string) bool {
	_, mapped, _ := p.pathMap().to(dev)
	return mapped
}

// warnOfKeptHosts warns of what the source names of the host itself, or by which the host
// makes itself known.
func (p *planner) warnOfKeptHosts(source *xmltree.Node) {
	const advice = "; make sure that it is right on the target, or list the disk in volumes"
	for _, h := range source.Children("host") {
		switch {
		case h.Value("transport") == "unix" && inBackingChain(h) && p.hasPathMapping(h.Value("socket")):
		case h.Value("transport") == "unix":
			p.warn(placeOf(volumesField), h, "the disk's server is reached through a socket of the host, which is kept"+advice)
		case scopeOf(h.Value("name")) == scopeLoopback || scopeOf(h.Value("name")) == scopeAny:
			p.warn(placeOf(volumesField), h, "the disk's server is on the host itself, and the disk will use the one on the target"+advice)
		}
	}
	p.warnOfInitiator(source.Child("initiator"), placeOf(volumesField), advice)
	p.warnOfUser(source.Child("identity"), placeOf(volumesField), advice)
}

// warnOfInitiator warns of the name by which the host makes itself known to a disk's server.
func (p *planner) warnOfInitiator(initiator *xmltree.Node, field *place, advice string) {
	if iqn := initiator.Child("iqn"); iqn != nil {
		p.warn(field, iqn, "the host makes itself known to the disk's server by this name, which is kept"+advice)
	}
}

// warnOfUser warns of a user of the host that a disk's server is asked as.
func (p *planner) warnOfUser(identity *xmltree.Node, field *place, advice string) {
	if identity.HasAttr("user") || identity.HasAttr("group") {
		p.warn(field, identity, "the disk's server is asked as this user and group of the host, which is kept"+advice)
	}
}

// isInstalled reports whether a path is where packages put their files. What is
// there is the host's own version of it, and libvirt refuses a guest for which
// it is missing.
func isInstalled(name string) bool {
	name = path.Clean(name)
	return strings.HasPrefix(name, "/usr/") && !strings.HasPrefix(name, "/usr/local/")
}

// isLibvirts reports whether a path is in a directory in which libvirt itself
// makes what the guest needs.
func isLibvirts(name string) bool {
	name = path.Clean(name)
	for _, dir := range [...]string{"/var/lib/libvirt/qemu/", "/var/lib/libvirt/swtpm/", "/var/log/libvirt/", "/run/libvirt/", "/var/run/libvirt/"} {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}
