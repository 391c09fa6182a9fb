package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// sourceShape is a disk's source as it is to become: the type of the disk and
// the attributes and children of the source element that say where the data are.
type sourceShape struct {
	kind     string
	protocol string
	attrs    []elemAttr
	children []*elem
}

// locationAttrs are the attributes by which a source says where the data are.
// They are replaced altogether; other attributes stay.
func locationAttrs() []string {
	return []string{
		"file", "dev", "dir", "pool", "volume", "mode", "protocol", "name", "query",
		"tls", "tlsHostname", "type", "path", "namespace",
	}
}

// locationChildren are the child elements that say where the data are and how
// to be let in. They are replaced altogether.
func locationChildren() []string {
	return []string{"host", "auth", "address", "snapshot", "config", "initiator", "identity", "ssl"}
}

// connectionChildren tune a connection. They stay with the same protocol.
func connectionChildren() []string {
	return []string{"cookies", "readahead", "timeout", "reconnect", "knownHosts"}
}

func (p *planner) rewriteSource(disk *node, v *v1alpha1.VolumeMigrateData, field string) {
	shape, ok := p.shapeOf(v.Source, field+".source")
	if !ok || !p.fitsDevice(disk, shape, field+".source") {
		return
	}
	source := disk.child("source")
	sameKind := disk.value("type") == shape.kind && source.value("protocol") == shape.protocol
	disk.setAttr("type", shape.kind)
	if source == nil {
		e := &elem{name: "source", attrs: shape.attrs, children: shape.children}
		if shape.kind == "nvme" {
			e.attrs = append(e.attrs, elemAttr{"managed", "yes"})
		}
		disk.insertBehind(firstOf(disk, []string{"driver"}), e)
		p.moveAuth(disk, nil, shape)
		return
	}
	p.syncLocation(disk, source, shape)
	if sameKind {
		return
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
func (p *planner) syncLocation(disk, source *node, shape sourceShape) {
	for _, name := range locationAttrs() {
		i := slices.IndexFunc(shape.attrs, func(a elemAttr) bool { return a.name == name })
		if i >= 0 {
			source.setAttr(name, shape.attrs[i].value)
		} else {
			source.removeAttr(name)
		}
	}
	for _, name := range locationChildren() {
		var want []*elem
		for _, c := range shape.children {
			if c.name == name {
				want = append(want, c)
			}
		}
		switch {
		case name == "auth":
			p.moveAuth(disk, source, shape)
		case name == "address" && len(want) == 1 && samePCI(source.child("address"), want[0]):
		default:
			p.syncList(source, name, want)
		}
	}
}

// moveAuth keeps authentication where the guest has it: inside the source or,
// in the older form, beside it.
func (p *planner) moveAuth(disk, source *node, shape sourceShape) {
	var want *elem
	if i := slices.IndexFunc(shape.children, func(e *elem) bool { return e.name == "auth" }); i >= 0 {
		want = shape.children[i]
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

// fitsDevice refuses what libvirt would: passing SCSI commands through needs
// something that understands them.
func (p *planner) fitsDevice(disk *node, shape sourceShape, field string) bool {
	if disk.value("device") != "lun" || shape.kind == "block" || shape.kind == "volume" || shape.protocol == "iscsi" {
		return true
	}
	p.report(ProblemConflict, field, disk, "the disk passes SCSI commands through, which needs a block device, a pool's volume or iscsi")
	return false
}

// shapeOf turns the migrate data's source into a shape.
func (p *planner) shapeOf(s *v1alpha1.VolumeSource, field string) (sourceShape, bool) {
	var shape sourceShape
	given, good := 0, true
	plain := func(src *v1alpha1.PathSource, name, kind, attribute string, more ...elemAttr) {
		if src == nil {
			return
		}
		given++
		good = p.checkPath(field+"."+name+".path", src.Path) && good
		shape = sourceShape{kind: kind, attrs: append(more, elemAttr{attribute, src.Path})}
	}
	plain(s.File, "file", "file", "file")
	plain(s.Block, "block", "block", "dev")
	plain(s.Directory, "directory", "dir", "dir")
	plain(s.VhostUser, "vhostUser", "vhostuser", "path", elemAttr{"type", "unix"})
	plain(s.VhostVDPA, "vhostVDPA", "vhostvdpa", "dev")
	if s.StoragePool != nil {
		given++
		var ok bool
		shape, ok = p.poolShape(s.StoragePool, field+".storagePool")
		good = ok && good
	}
	if s.NVMe != nil {
		given++
		var ok bool
		shape, ok = p.nvmeShape(s.NVMe, field+".nvme")
		good = ok && good
	}
	if s.Network != nil {
		given++
		var ok bool
		shape, ok = p.networkShape(s.Network, field+".network")
		good = ok && good
	}
	if given != 1 {
		p.report(ProblemInvalidValue, field, nil,
			"give exactly one of file, block, directory, network, storagePool, nvme, vhostUser and vhostVDPA")
		return shape, false
	}
	return shape, good
}

func (p *planner) poolShape(s *v1alpha1.StoragePoolSource, field string) (sourceShape, bool) {
	before := len(p.problems)
	p.checkText(field+".pool", s.Pool)
	p.checkText(field+".volume", s.Volume)
	p.checkOneOf(field+".mode", stringOf(s.Mode), "host", "direct")
	shape := sourceShape{kind: "volume"}
	shape.add("pool", s.Pool)
	shape.add("volume", s.Volume)
	shape.add("mode", stringOf(s.Mode))
	return shape, len(p.problems) == before
}

func (p *planner) nvmeShape(s *v1alpha1.NVMeSource, field string) (sourceShape, bool) {
	address, ok := p.checkPCI(field+".pciAddress", s.PCIAddress)
	if s.Namespace < 1 {
		p.report(ProblemInvalidValue, field+".namespace", nil, "a namespace is at least 1")
		ok = false
	}
	return sourceShape{
		kind:     "nvme",
		attrs:    []elemAttr{{"type", "pci"}, {"namespace", itoa(s.Namespace)}},
		children: []*elem{address.element()},
	}, ok
}

func (s *sourceShape) add(name, value string) {
	if value != "" {
		s.attrs = append(s.attrs, elemAttr{name, value})
	}
}
