package xmlrewrite

import (
	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const memoryBackingField = "memoryBacking"

const fileBackingField = memoryBackingField + ".fileBacking"

// planMemoryBacking turns memory in files on or off, and says what becomes of
// the files. Where a running guest's memory is cannot change: libvirt compares
// memoryBacking's source on both sides and refuses a difference. So what is
// asked for while it runs must be so already, but the persistent definition can
// become something else. Memory in an anonymous file (memfd), as vhost-user
// needs it, works on every host and is left alone. The target offers nothing
// here, since the guest's memory can stay as it is everywhere.
func planMemoryBacking(p *planner) {
	want := p.data.MemoryBacking
	if want == nil {
		return
	}
	backing := p.domain.Child("memoryBacking")
	source := backing.Child("source").Value("type")
	switch want.FileBacking {
	case v1alpha1.FileBackingNone:
		if want.Discard != nil {
			p.report(ProblemConflict, placeOf(memoryBackingField+".discard"), nil, "discard needs fileBacking: Required")
		}
		switch {
		case source != "file":
		case !p.inactive:
			p.report(ProblemConflict, placeOf(fileBackingField), backing,
				"the guest's memory is in files, and libvirt cannot move it out of them while the guest runs; leave memoryBacking out or say Required, or take the guest's memory out of files and restart it")
		default:
			p.removeFileBacking(backing)
		}
	case v1alpha1.FileBackingRequired:
		p.requireFileBacking(backing, source, want)
	default:
		p.report(ProblemInvalidValue, placeOf(fileBackingField), nil, "this must be Required or None")
	}
}

func (p *planner) removeFileBacking(backing *xmltree.Node) {
	if at := p.sharedMemoryUser(); at != nil {
		p.report(ProblemConflict, placeOf(fileBackingField), at,
			"this device shares the guest's memory with another process, which takes memory in files; say Required, or leave memoryBacking out")
		return
	}
	for _, name := range [...]string{"source", "access", "allocation", "discard"} {
		backing.Child(name).RemoveAll()
	}
	backing.RemoveIfEmpty()
}

// sharedMemoryUser returns a device that needs the guest's memory to be shared.
func (p *planner) sharedMemoryUser() *xmltree.Node {
	for _, name := range [...]string{"interface", "disk"} {
		for _, device := range p.devices(name) {
			if device.Value("type") == "vhostuser" {
				return device
			}
		}
	}
	for _, fs := range p.devices("filesystem") {
		if fs.Child("driver").Value("type") == "virtiofs" {
			return fs
		}
	}
	return nil
}

// sharesMemory reports whether another process can share the guest's memory.
func (p *planner) sharesMemory() bool {
	if want := p.data.MemoryBacking; p.inactive && want != nil && want.FileBacking == v1alpha1.FileBackingRequired {
		return true
	}
	shared := p.domain.Child("memoryBacking").Child("access").Value("mode") == "shared"
	cells := p.domain.Child("cpu").Child("numa").Children("cell")
	for _, cell := range cells {
		if access := cell.Value("memAccess"); access != "shared" && (access != "" || !shared) {
			return false
		}
	}
	return shared || len(cells) > 0
}

func (p *planner) requireFileBacking(backing *xmltree.Node, source string, want *v1alpha1.MemoryBackingMigrateData) {
	if source != "file" && !p.mayMoveIntoFiles(backing, source) {
		return
	}
	p.ensureSetting(backing, "source", "type", "file")
	p.ensureSetting(backing, "access", "mode", "shared")
	p.ensureSetting(backing, "allocation", "mode", "immediate")
	if want.Discard == nil {
		return
	}
	discards := backing.Children("discard")
	switch *want.Discard {
	case v1alpha1.ToggleEnabled:
		if len(discards) == 0 {
			p.addMemoryBacking(xmltree.NewElem("discard"))
		}
		for _, d := range discards[min(1, len(discards)):] {
			d.Remove()
		}
	case v1alpha1.ToggleDisabled:
		for _, d := range discards {
			d.Remove()
		}
	default:
		p.report(ProblemInvalidValue, placeOf(memoryBackingField+".discard"), nil, "this must be Enabled or Disabled")
	}
}

// mayMoveIntoFiles reports whether memory that is not in files may move there,
// and if not, says why.
func (p *planner) mayMoveIntoFiles(backing *xmltree.Node, source string) bool {
	at := backing
	var message string
	switch hugepages := backing.Child("hugepages"); {
	case hugepages != nil:
		at, message = hugepages, "the guest's memory is in huge pages, and cannot be in files at the same time; leave memoryBacking out"
	case source == "memfd":
		message = "the guest's memory is in an anonymous file (memfd), which works on every host; leave memoryBacking out"
	case !p.inactive:
		message = "the guest's memory is not in files, and libvirt cannot move it into them while the guest runs; leave memoryBacking out, or have the guest restarted with its memory in files"
	default:
		return true
	}
	if at == nil {
		at = p.domain
	}
	p.report(ProblemConflict, placeOf(fileBackingField), at, message)
	return false
}

// ensureSetting makes exactly one child carry the setting; other attributes of
// that child stay.
func (p *planner) ensureSetting(backing *xmltree.Node, name, attribute, value string) {
	have := backing.Children(name)
	if len(have) == 0 {
		p.addMemoryBacking(xmltree.NewElem(name, attribute, value))
		return
	}
	have[0].SetAttr(attribute, value)
	for _, extra := range have[1:] {
		extra.Remove()
	}
}

func (p *planner) addMemoryBacking(e *xmltree.Elem) {
	behind := p.domain.Child("currentMemory")
	if behind == nil {
		behind = p.domain.Child("memory")
	}
	p.domain.AppendIn("memoryBacking", behind, e)
}
