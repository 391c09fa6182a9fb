package xmlrewrite

import (
	"strings"
	"unicode/utf8"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const vpmemField = "virtualPMEM"

// planVirtualPMEM gives each NVDIMM or virtio-pmem device its backing on the
// target, in order. Other memory devices do not count.
func planVirtualPMEM(p *planner) {
	want := p.data.VirtualPMEM
	if want == nil {
		want = p.offer.VirtualPMEM
	}
	devices := p.doc.persistentMemory()
	if want == nil {
		for _, m := range devices {
			p.keepPMEM(m)
		}
		return
	}
	for i := range want {
		p.checkPath(placeOf(vpmemField).entry(i).dot("path"), want[i].Path)
	}
	running := devices
	if p.inactive && p.other != nil {
		running = p.other.persistentMemory()
	}
	if len(want) != len(running) {
		p.report(ProblemConflict, placeOf(vpmemField), nil,
			"the guest has "+itoa(len(running))+" NVDIMMs and virtio-pmem devices, but the list has "+itoa(len(want))+" entries; give one for each device, in the guest's order")
		return
	}
	if len(devices) > 0 {
		p.warnOfMissingOther(placeOf(vpmemField), devices[0])
	}
	for i, m := range devices {
		path := m.Child("source").Child("path")
		if path == nil {
			p.report(ProblemInvalidXML, placeOf(vpmemField).entry(i), m, "the device has no source path; take the XML from libvirt unchanged")
		} else {
			p.rewritePMEM(m, path, want, i, running)
		}
	}
}

// rewritePMEM gives a device the backing of its entry, which is the one at its
// position among the running guest's devices.
func (p *planner) rewritePMEM(m, path *xmltree.Node, want []v1alpha1.VirtualPMEMMigrateData, position int, running []*xmltree.Node) {
	if p.inactive && p.other != nil {
		have := path.Text()
		position = p.positionOf(have, running)
		if position < 0 {
			p.keepPMEM(m)
			return
		}
	}
	path.SetText(want[position].Path)
	p.claims(pathKey(want[position].Path), claim{field: placeOf(vpmemField).entry(position), at: m})
}

// persistentMemory returns the devices that are persistent memory for the guest.
func (g *guest) persistentMemory() []*xmltree.Node {
	var devices []*xmltree.Node
	for _, m := range g.devices("memory") {
		if isOneOf(m.Value("model"), "nvdimm", "virtio-pmem") {
			devices = append(devices, m)
		}
	}
	return devices
}

// positionOf returns which of the devices of the guest's other definition has
// the same backing; -1 if none has.
func (p *planner) positionOf(path string, devices []*xmltree.Node) int {
	for i, m := range devices {
		if m.Child("source").Child("path").Text() == path {
			return i
		}
	}
	return -1
}

// keepPMEM refuses to keep a device node; a file may be on shared storage.
func (p *planner) keepPMEM(m *xmltree.Node) {
	if path := m.Child("source").Child("path").Text(); path != "" {
		p.claims(pathKey(path), claim{at: m})
	}
	if strings.HasPrefix(m.Child("source").Child("path").Text(), "/dev/") {
		p.report(ProblemMissingData, placeOf(vpmemField), m,
			"the guest's persistent memory is backed by a device of the source host; give its path on the target")
	}
}

// checkPath reports a path that is not absolute or holds control characters.
func (p *planner) checkPath(field *place, path string) bool {
	if len(path) > 1 && path[0] == '/' && isPlain(path) {
		return true
	}
	p.report(ProblemInvalidValue, field, nil, "this must be an absolute path without control characters")
	return false
}

// isPlain reports whether text can stand in an attribute as it is: without
// control characters and whatever XML or UTF-8 cannot hold.
func isPlain(text string) bool {
	i := 0
	for i < len(text) && text[i] >= ' ' && text[i] <= '~' {
		i++
	}
	return i == len(text) || utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || !xmltree.IsCharacter(r) })
}
