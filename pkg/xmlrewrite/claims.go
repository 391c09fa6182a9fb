package xmlrewrite

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// claim is a device of the guest that will use something of the target.
type claim struct {
	field  *place // The entry that says so; nil if the device is kept as it is.
	at     *xmltree.Node
	shared bool  // Another that shares it may use the same.
	part   *part // What it uses of an image; nil is all.

	next *claim // Another of the same. Those that the migrate data give come first.
}

// part is a part of an image, in bytes.
type part struct{ offset, size uint64 }

// partOf returns the part of the image that a disk is; nil if it is all of it.
func partOf(disk *xmltree.Node) *part {
	slice := disk.Child("source").Child("slices").Child("slice")
	if slice == nil {
		return nil
	}
	offset, errOffset := strconv.ParseUint(slice.Value("offset"), 10, 64)
	size, errSize := strconv.ParseUint(slice.Value("size"), 10, 64)
	if errOffset != nil || errSize != nil {
		return nil
	}
	return &part{offset, size}
}

// meets reports whether two parts have something in common.
func (a *part) meets(b *part) bool {
	return a == nil || b == nil || b.offset-a.offset < a.size || a.offset-b.offset < b.size
}

// excludes reports whether two devices cannot both use the same, and the migrate data is why
// they would.
func (c *claim) excludes(other *claim) bool {
	return c.part.meets(other.part) && !(c.shared && other.shared) && (c.field != nil || other.field != nil)
}

// adds reports whether it is not known already, of another, that something is used like this.
func (c *claim) adds(other *claim) bool {
	return c.part != nil || other.part != nil || c.shared != other.shared || (c.field == nil) != (other.field == nil)
}

// claims notes what of the target the guest's devices use, and reports two that use the
// same because of the migrate data. An empty key stands for nothing.
func (p *planner) claims(key string, c claim) {
	if key == "" {
		return
	}
	if p.claimed == nil {
		p.claimed = make(map[string]*claim)
	}
	first := p.claimed[key]
	var given *claim // The last of those that the migrate data give.
	for other := first; other != nil && (c.field != nil || other.field != nil); other = other.next {
		switch {
		case c.excludes(other):
			p.reportClaims(c, *other)
			return
		case !c.adds(other):
			return
		case other.field != nil:
			given = other
		}
	}
	if c.field == nil && given != nil {
		c.next, given.next = given.next, &c
		return
	}
	c.next, p.claimed[key] = first, &c
}

// reportClaims reports two devices that would use the same.
func (p *planner) reportClaims(c, other claim) {
	if c.field == nil {
		c, other = other, c
	}
	with := "the device " + other.at.Path() + ", which is kept as it is, uses"
	if other.field != nil {
		with = "the entry " + other.field.String() + " gives"
	}
	p.report(ProblemConflict, c.field, c.at, with+" the same thing of the target; give each of the guest's devices one of its own")
}

// claimDisk notes where the data of a disk will be. Disks that are all read-only, or all
// made for it, may share that.
func (p *planner) claimDisk(disk *xmltree.Node, source *v1alpha1.VolumeSource, field *place) {
	c := claim{
		field: field, at: disk, part: partOf(disk),
		shared: mayShare(disk),
	}
	if source == nil {
		c.field = nil
		p.claims(diskKey(disk.Value("type"), disk.Child("source")), c)
		return
	}
	p.claims(sourceKey(source), c)
	if source.NVMe != nil { // Other disks may be on other namespaces of the same device.
		if a, ok := parsePCI(string(source.NVMe.PCIAddress)); ok {
			c.shared = true
			p.claims(pciKey(a.String()), c)
		}
	}
}

// mayShare reports whether a disk may have its data in common with others of the guest.
func mayShare(disk *xmltree.Node) bool {
	return disk.Child("readonly") != nil || disk.Child("shareable") != nil || disk.Value("device") == "cdrom"
}

// claimInterface notes what an interface is given, or keeps, that no other device can have.
func (p *planner) claimInterface(nic *xmltree.Node, want *v1alpha1.InterfaceMigrateData, kindChanges bool, field *place) {
	if want.Source != nil {
		p.claimConnection(want.Source, claim{field: field, at: nic})
	} else {
		p.claimKept(nic.Value("type"), nic.Child("source"))
	}
	switch have := nic.Child("target").Value("dev"); {
	case want.TargetDevice != nil:
		p.claims("network device "+*want.TargetDevice, claim{field: field, at: nic})
	case have != "" && !kindChanges && !madeUp.MatchString(have): // Else it does not stay.
		p.claims("network device "+have, claim{at: nic})
	}
}

// claimConnection notes what an interface is given to be connected to.
func (p *planner) claimConnection(s *v1alpha1.InterfaceSource, c claim) {
	switch {
	case s.HostDevice != nil:
		if a, ok := parsePCI(string(s.HostDevice.PCIAddress)); ok {
			p.claims(pciKey(a.String()), c)
		}
	case s.VDPA != nil:
		p.claims(pathKey(s.VDPA.Path), c)
	case s.VhostUser != nil && s.VhostUser.Mode == "server": // Clients may share a switch's socket.
		p.claims(pathKey(s.VhostUser.Path), c)
	case s.Direct != nil:
		c.shared = stringOf(s.Direct.Mode) != "passthrough" // Which takes the whole device.
		p.claims(directKey(s.Direct.Device), c)
	}
}

// claimKept notes what an interface stays connected to. What only the source host has does not
// stay.
func (p *planner) claimKept(kind string, source *xmltree.Node) {
	switch {
	case kind == "direct" && source.HasAttr("dev"):
		p.claims(directKey(source.Value("dev")), claim{at: source, shared: source.Value("mode") != "passthrough"})
	case kind == "vhostuser" && source.Value("mode") == "server":
		p.claims(pathKey(source.Value("path")), claim{at: source})
	}
}

// madeUp are names of network devices that libvirt makes up, and makes up anew on the target.
var madeUp = regexp.MustCompile(`^(vnet|vif|macvtap|macvlan)\d+$`)

// directKey stands for a network device of the host that interfaces are put on (macvtap).
func directKey(dev string) string { return "direct " + dev }

func pciKey(address string) string { return "pci " + address }

// volumeKey stands for a volume of a storage pool.
func volumeKey(pool, volume string) string { return "pool " + pool + "\x00" + volume }

func pathKey(name string) string { return "path " + path.Clean(name) }

// sourceKey returns what the data of a disk are in, as the migrate data say; empty if it
// is something that disks may share.
func sourceKey(s *v1alpha1.VolumeSource) string {
	switch {
	case s.File != nil:
		return pathKey(s.File.Path)
	case s.Block != nil:
		return pathKey(s.Block.Path)
	case s.VhostUser != nil:
		return pathKey(s.VhostUser.Path)
	case s.VhostVDPA != nil:
		return pathKey(s.VhostVDPA.Path)
	case s.StoragePool != nil:
		return volumeKey(s.StoragePool.Pool, s.StoragePool.Volume)
	case s.NVMe != nil:
		if a, ok := parsePCI(string(s.NVMe.PCIAddress)); ok {
			return "nvme " + a.String() + " " + itoa(s.NVMe.Namespace)
		}
	case s.Network != nil:
		return networkKey(string(s.Network.Protocol), stringOf(s.Network.Name), stringOf(s.Network.SnapshotName), stringOf(s.Network.ConfigFile), hostsGiven(s.Network))
	}
	return ""
}

// diskKey is the same for a disk as it is.
func diskKey(kind string, source *xmltree.Node) string {
	switch kind {
	case "file", "block", "vhostuser", "vhostvdpa":
		for _, name := range [...]string{"file", "dev", "path"} {
			if at := source.Value(name); at != "" {
				return pathKey(at)
			}
		}
	case "volume":
		return volumeKey(source.Value("pool"), source.Value("volume"))
	case "network":
		return networkKey(source.Value("protocol"), source.Value("name"), source.Child("snapshot").Value("name"), source.Child("config").Value("file"), hostsOf(source))
	}
	return ""
}

func networkKey(protocol, name, snapshot, config string, hosts []string) string {
	return strings.Join([]string{"network", protocol, name, snapshot, config, strings.Join(hosts, "\x00")}, "\x00")
}
