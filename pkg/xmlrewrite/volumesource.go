package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// sourceShape is a disk's source as it is to become: the type of the disk and
// the attributes and children of the source element that say where the data are.
// Children of one name are beside each other.
type sourceShape struct {
	kind     string
	protocol string
	attrs    []elemAttr
	children []*elem

	attrRoom  [6]elemAttr // Where attrs starts.
	childRoom [4]*elem    // Where children starts.
}

// newShape returns an empty shape. The one before it is no longer good.
func (p *planner) newShape(kind string) *sourceShape {
	s := &p.shape
	*s = sourceShape{kind: kind}
	s.attrs, s.children = s.attrRoom[:0], s.childRoom[:0]
	return s
}

// element makes a source element of the shape.
func (s *sourceShape) element() *elem {
	return &elem{name: "source", attrs: slices.Clone(s.attrs), children: slices.Clone(s.children)}
}

// attr returns the value that an attribute is to have; empty if it is to go.
func (s *sourceShape) attr(name string) string {
	for i := range s.attrs {
		if s.attrs[i].name == name {
			return s.attrs[i].value
		}
	}
	return ""
}

// childrenOf returns the children of this name.
func (s *sourceShape) childrenOf(name string) []*elem {
	from := 0
	for from < len(s.children) && s.children[from].name != name {
		from++
	}
	to := from
	for to < len(s.children) && s.children[to].name == name {
		to++
	}
	return s.children[from:to]
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

func (p *planner) rewriteSource(disk *node, v *v1alpha1.VolumeMigrateData, field *place) {
	shape, ok := p.shapeOf(v.Source, field.dot("source"))
	if !ok || !p.fitsDevice(disk, shape, field.dot("source")) {
		return
	}
	source := disk.child("source")
	sameKind := disk.value("type") == shape.kind && source.value("protocol") == shape.protocol
	disk.setAttr("type", shape.kind)
	if source == nil {
		e := shape.element()
		if shape.kind == "nvme" {
			e.attrs = append(e.attrs, elemAttr{"managed", "yes"})
		}
		disk.insertBehind(firstOf(disk, []string{"driver"}), e)
		p.moveAuth(disk, nil, shape)
		return
	}
	p.keepCredentials(disk, source, shape, sameKind)
	p.syncLocation(disk, source, shape)
	if sameKind {
		return
	}
	if policy := source.hasAttr("startupPolicy"); policy && !isOneOf(shape.kind, "file", "block", "dir", "volume") {
		p.warn(field, source, "libvirt has no startupPolicy for this kind of source, so it is removed: if the data is missing on the target, the guest cannot be started there")
		source.removeAttr("startupPolicy")
	}
	source.removeAttr("managed")
	if shape.kind == "nvme" {
		source.setAttr("managed", "yes")
	}
	for _, name := range connectionChildren() {
		p.syncChild(source, name, nil)
	}
}

// syncLocation makes the attributes and children of the source that say where
// the data are those of the shape.
func (p *planner) syncLocation(disk, source *node, shape *sourceShape) {
	for i := range source.attrs {
		if name := source.attrs[i].name; isLocation(name) && shape.attr(name) == "" {
			source.removeAttr(name)
		}
	}
	for i := range shape.attrs {
		source.setAttr(shape.attrs[i].name, shape.attrs[i].value)
	}
	p.syncList(source, "host", shape.childrenOf("host"))
	p.moveAuth(disk, source, shape)
	if source.first == nil && len(shape.children) == 0 {
		return
	}
	for _, name := range locationChildren() {
		want := shape.childrenOf(name)
		if name != "address" || len(want) == 0 || !samePCI(source.child(name), want[0]) {
			p.syncList(source, name, want)
		}
	}
}

// keepCredentials keeps what lets the host in to where the data were, and are to
// be, if the migrate data have no word for it: the identity for ssh, and the
// authentication of a pool's volume.
func (p *planner) keepCredentials(disk, source *node, shape *sourceShape, sameKind bool) {
	if !sameKind {
		return
	}
	if identity := source.child("identity"); identity != nil && shape.protocol == "ssh" && len(shape.childrenOf("identity")) == 0 {
		shape.addChild(p.doc.copyOf(identity))
	}
	auth := source.child("auth")
	if auth == nil {
		auth = disk.child("auth")
	}
	if auth != nil && shape.kind == "volume" {
		shape.addChild(p.doc.copyOf(auth))
	}
}

// moveAuth keeps authentication where the guest has it: inside the source or,
// in the older form, beside it.
func (p *planner) moveAuth(disk, source *node, shape *sourceShape) {
	var want *elem
	if auth := shape.childrenOf("auth"); len(auth) > 0 {
		want = auth[0]
	}
	if source == nil {
		p.syncChild(disk, "auth", nil)
		return
	}
	if disk.child("auth") != nil && source.child("auth") == nil {
		p.syncChild(disk, "auth", want)
		return
	}
	p.syncChild(disk, "auth", nil)
	p.syncChild(source, "auth", want)
}

// fitsDevice refuses what libvirt or QEMU would: passing SCSI commands through
// needs something that understands them, a disk behind a vhost-user socket is
// another device in QEMU than all others, and directories cannot be written to.
func (p *planner) fitsDevice(disk *node, shape *sourceShape, field *place) bool {
	if kind := disk.value("type"); (kind == "vhostuser") != (shape.kind == "vhostuser") {
		p.report(ProblemConflict, field, disk, "a disk cannot move to or from a vhost-user socket while the guest runs; choose another kind of source")
		return false
	}
	if shape.kind == "dir" && disk.value("type") != "dir" && disk.value("device") != "cdrom" && disk.child("readonly") == nil {
		p.report(ProblemConflict, field, disk, "the guest may write to this disk, but libvirt offers directories read-only; choose another kind of source")
		return false
	}
	if disk.value("device") != "lun" || shape.kind == "block" || shape.kind == "volume" || shape.protocol == "iscsi" {
		return true
	}
	p.report(ProblemConflict, field, disk, "the guest sends SCSI commands to the disk itself (device='lun'), which takes block, storagePool or the protocol iscsi; choose one of those")
	return false
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
		shape = p.newShape(kind)
		if kind == "vhostuser" {
			shape.add("type", "unix")
		}
		shape.add(attribute, src.Path)
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
	shape := p.newShape("volume")
	shape.add("pool", s.Pool)
	shape.add("volume", s.Volume)
	shape.add("mode", stringOf(s.Mode))
	return shape, len(p.problems) == before
}

func (p *planner) nvmeShape(s *v1alpha1.NVMeSource, field *place) (*sourceShape, bool) {
	address, ok := p.checkPCI(field.dot("pciAddress"), s.PCIAddress)
	if s.Namespace < 1 {
		p.report(ProblemInvalidValue, field.dot("namespace"), nil, "a namespace is at least 1")
		ok = false
	}
	shape := p.newShape("nvme")
	shape.add("type", "pci")
	shape.add("namespace", itoa(s.Namespace))
	shape.children = append(shape.children, address.element())
	return shape, ok
}

func (s *sourceShape) add(name, value string) {
	if value != "" {
		s.attrs = append(s.attrs, elemAttr{name, value})
	}
}
