package xmlrewrite

import (
	"strings"
	"unicode/utf8"
)

const vpmemField = "virtualPMEM"

// planVirtualPMEM gives each NVDIMM or virtio-pmem device its backing on the
// target, in order. Other memory devices do not count.
func planVirtualPMEM(p *planner) {
	var devices []*node
	for _, m := range p.devices("memory") {
		if isOneOf(m.value("model"), "nvdimm", "virtio-pmem") {
			devices = append(devices, m)
		}
	}
	want := p.data.VirtualPMEM
	if want == nil {
		want = p.offer.VirtualPMEM
	}
	if want == nil {
		p.checkKeptPMEM(devices)
		return
	}
	for i := range want {
		p.checkPath(placeOf(vpmemField).entry(i).dot("path"), want[i].Path)
	}
	if len(want) != len(devices) {
		if p.inactive {
			p.warn(placeOf(vpmemField), p.domain, "the persistent definition has another number of NVDIMMs and virtio-pmem devices; they are kept")
			return
		}
		p.report(ProblemConflict, placeOf(vpmemField), nil,
			"the guest has "+itoa(len(devices))+" NVDIMMs and virtio-pmem devices, and the migrate data "+itoa(len(want))+"; give one entry for each")
		return
	}
	for i, m := range devices {
		path := m.child("source").child("path")
		if path == nil {
			p.report(ProblemInvalidXML, placeOf(vpmemField).entry(i), m, "the device has no source path; take the XML from libvirt unchanged")
			continue
		}
		path.setText(p.doc, want[i].Path)
	}
}

// checkKeptPMEM refuses to keep a device node; a file may be on shared storage.
func (p *planner) checkKeptPMEM(devices []*node) {
	for _, m := range devices {
		if !strings.HasPrefix(p.doc.text(m.child("source").child("path")), "/dev/") {
			continue
		}
		const message = "the guest's persistent memory is backed by a device of the source host; give its path on the target"
		if p.inactive {
			p.warn(placeOf(vpmemField), m, message)
			continue
		}
		p.report(ProblemMissingData, placeOf(vpmemField), m, message)
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
	return i == len(text) || utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || !isCharacter(r) })
}
