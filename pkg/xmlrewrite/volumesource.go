package xmlrewrite

import (
	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// sourceShape is the source of a device as it is to become: the element with the
// attributes and children that say where the data are, and the type of the device.
// Children of one name are beside each other.
type sourceShape struct {
	xmltree.Elem
	kind     string
	protocol string
}

// newShape returns an empty shape.
func newShape(kind string) *sourceShape {
	return &sourceShape{Elem: xmltree.Elem{Name: "source"}, kind: kind}
}

// attr returns the value that an attribute is to have; empty if it is to go.
func (s *sourceShape) attr(name string) string {
	for _, a := range s.Attrs {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// childrenOf returns the children of this name.
func (s *sourceShape) childrenOf(name string) []*xmltree.Elem {
	var found []*xmltree.Elem
	for _, c := range s.Children {
		if c.Name == name {
			found = append(found, c)
		}
	}
	return found
}

// has reports whether there is a child of this name.
func (s *sourceShape) has(name string) bool { return len(s.childrenOf(name)) > 0 }

// volumeProtocol returns the protocol as the migrate data has it.
func (s *sourceShape) volumeProtocol() v1alpha1.VolumeProtocol {
	return v1alpha1.VolumeProtocol(s.protocol)
}

// isLocation reports whether an attribute says where the data are. Those are
// replaced altogether; other attributes stay.
func isLocation(name string) bool {
	switch name {
	case "file", "fdgroup", "dev", "dir", "pool", "volume", "mode", "protocol", "name", "query",
		"tls", "tlsHostname", "type", "path", "namespace":
		return true
	}
	return false
}

// locationChildren are the child elements that say where the data are and how
// to be let in, besides hosts and authentication. They are replaced altogether.
func locationChildren() [6]string {
	return [...]string{"address", "snapshot", "config", "initiator", "identity", "ssl"}
}

// connectionChildren tune a connection. They stay with the same protocol.
func connectionChildren() []string {
	return []string{"cookies", "readahead", "timeout", "reconnect", "knownHosts"}
}

// rewriteSource points a disk to its data on the target, and returns where they are; nil if
// that cannot be.
func (p *planner) rewriteSource(disk *xmltree.Node, v *v1alpha1.VolumeMigrateData, field *place) *sourceShape {
	shape, ok := p.shapeOf(v.Source, field.dot("source"))
	if !ok || !p.fitsDevice(disk, shape, field.dot("source")) {
		return nil
	}
	source := disk.Child("source")
	sameKind := disk.Value("type") == shape.kind && source.Value("protocol") == shape.protocol
	disk.SetAttr("type", shape.kind)
	if source == nil {
		e := &shape.Elem
		if shape.kind == "nvme" {
			e.AddAttr("managed", "yes")
		}
		disk.InsertBehind(disk.FirstOf("driver"), e)
		p.moveAuth(disk, nil, shape)
		return shape
	}
	p.keepCredentials(disk, source, shape, sameKind, v, field)
	p.syncLocation(disk, source, shape)
	if slices := source.Child("slices"); slices != nil && p.sourceChanges(disk) {
		p.warn(field.dot("source"), slices, "the disk is a part of an image, and becomes the same part of the new image; make sure that its data is there in the same place, and so that of other disks that are parts of the old one")
	}
	if !sameKind {
		p.leaveKind(source, shape, field)
	}
	return shape
}

// leaveKind removes from a source what the new kind does not have.
func (p *planner) leaveKind(source *xmltree.Node, shape *sourceShape, field *place) {
	if policy := source.HasAttr("startupPolicy"); policy && !isOneOf(shape.kind, "file", "block", "dir", "volume") {
		p.warn(field, source, "libvirt has no startupPolicy for this kind of source, so it is removed: if the data is missing on the target, the guest cannot be started there")
		source.RemoveAttr("startupPolicy")
	}
	source.RemoveAttr("managed")
	if shape.kind == "nvme" {
		source.SetAttr("managed", "yes")
	}
	for _, name := range connectionChildren() {
		source.SyncChild(name, nil)
	}
}

// syncLocation makes the attributes and children of the source that say where
// the data are those of the shape.
func (p *planner) syncLocation(disk, source *xmltree.Node, shape *sourceShape) {
	for name := range source.Attrs() {
		if isLocation(name) && shape.attr(name) == "" {
			source.RemoveAttr(name)
		}
	}
	for _, a := range shape.Attrs {
		source.SetAttr(a.Name, a.Value)
	}
	source.SyncList("host", shape.childrenOf("host"))
	p.moveAuth(disk, source, shape)
	if source.FirstChild == nil && len(shape.Children) == 0 {
		return
	}
	for _, name := range locationChildren() {
		want := shape.childrenOf(name)
		if name != "address" || len(want) == 0 || !samePCI(source.Child(name), want[0]) {
			source.SyncList(name, want)
		}
	}
}

// moveAuth keeps authentication where the guest has it: inside the source or,
// in the older form, beside it.
func (p *planner) moveAuth(disk, source *xmltree.Node, shape *sourceShape) {
	var want *xmltree.Elem
	if auth := shape.childrenOf("auth"); len(auth) > 0 {
		want = auth[0]
	}
	if source == nil {
		disk.SyncChild("auth", nil)
		return
	}
	if disk.Child("auth") != nil && source.Child("auth") == nil {
		disk.SyncChild("auth", want)
		return
	}
	disk.SyncChild("auth", nil)
	source.SyncChild("auth", want)
}

// fitsDevice refuses what libvirt or QEMU would: passing SCSI commands through
// needs something that understands them, a disk behind a vhost-user socket is
// another device in QEMU than all others, and directories and web servers cannot be
// written to.
func (p *planner) fitsDevice(disk *xmltree.Node, shape *sourceShape, field *place) bool {
	if kind := disk.Value("type"); (kind == "vhostuser") != (shape.kind == "vhostuser") {
		p.report(ProblemConflict, field, disk, "a disk cannot move to or from a vhost-user socket while the guest runs; choose another kind of source")
		return false
	}
	if shape.kind == "dir" && disk.Value("type") != "dir" && writesTo(disk) {
		p.report(ProblemConflict, field, disk, "the guest may write to this disk, but libvirt offers directories read-only; choose another kind of source")
		return false
	}
	if readsOnly := isOneOf(shape.protocol, "http", "https", "ftp", "ftps", "tftp"); readsOnly && writesTo(disk) &&
		!isOneOf(disk.Child("source").Value("protocol"), "http", "https", "ftp", "ftps", "tftp") {
		p.report(ProblemConflict, field, disk, "the guest may write to this disk, but QEMU can only read over "+shape.protocol+"; choose another protocol or kind of source")
		return false
	}
	if disk.Value("device") != "lun" || shape.kind == "block" || shape.kind == "volume" || shape.protocol == "iscsi" {
		return true
	}
	p.report(ProblemConflict, field, disk, "the guest sends SCSI commands to the disk itself (device='lun'), which takes block, storagePool or the protocol iscsi; choose one of those")
	return false
}

// writesTo reports whether the guest may write to a disk.
func writesTo(disk *xmltree.Node) bool {
	return disk.Value("device") != "cdrom" && disk.Child("readonly") == nil
}

// shapeOf turns the migrate data's source into a shape.
func (p *planner) shapeOf(s *v1alpha1.VolumeSource, field *place) (shape *sourceShape, ok bool) {
	given, good := 0, true
	plain := func(src *v1alpha1.PathSource, name, kind, attribute string) {
		if src == nil {
			return
		}
		given++
		good = p.checkPath(field.dot(name).dot("path"), src.Path) && good
		shape = newShape(kind)
		if kind == "vhostuser" {
			shape.AddAttr("type", "unix")
		}
		shape.AddAttr(attribute, src.Path)
	}
	plain(s.File, "file", "file", "file")
	plain(s.Block, "block", "block", "dev")
	plain(s.Directory, "directory", "dir", "dir")
	plain(s.VhostUser, "vhostUser", "vhostuser", "path")
	plain(s.VhostVDPA, "vhostVDPA", "vhostvdpa", "dev")
	if s.StoragePool != nil {
		given++
		shape, ok = p.poolShape(s.StoragePool, field.dot("storagePool"))
		good = ok && good
	}
	if s.NVMe != nil {
		given++
		shape, ok = p.nvmeShape(s.NVMe, field.dot("nvme"))
		good = ok && good
	}
	if s.Network != nil {
		given++
		shape, ok = p.networkShape(s.Network, field.dot("network"))
		good = ok && good
	}
	if given != 1 {
		p.report(ProblemInvalidValue, field, nil,
			"give exactly one of file, block, directory, network, storagePool, nvme, vhostUser and vhostVDPA")
		return nil, false
	}
	return shape, good
}

func (p *planner) poolShape(s *v1alpha1.StoragePoolSource, field *place) (*sourceShape, bool) {
	before := len(p.problems)
	p.checkText(field.dot("pool"), s.Pool)
	p.checkText(field.dot("volume"), s.Volume)
	p.checkOneOf(field.dot("mode"), stringOf(s.Mode), "host", "direct")
	shape := newShape("volume")
	shape.AddAttr("pool", s.Pool)
	shape.AddAttr("volume", s.Volume)
	shape.AddAttr("mode", stringOf(s.Mode))
	return shape, len(p.problems) == before
}

func (p *planner) nvmeShape(s *v1alpha1.NVMeSource, field *place) (*sourceShape, bool) {
	address, ok := p.checkPCI(field.dot("pciAddress"), s.PCIAddress)
	if s.Namespace < 1 {
		p.report(ProblemInvalidValue, field.dot("namespace"), nil, "a namespace is at least 1")
		ok = false
	}
	shape := newShape("nvme")
	shape.AddAttr("type", "pci")
	shape.AddAttr("namespace", itoa(s.Namespace))
	shape.Children = append(shape.Children, address.element())
	return shape, ok
}
