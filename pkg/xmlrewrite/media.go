package xmlrewrite

import (
	"slices"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// ejectMedium empties a drive that is to have no medium on the target, and reports whether it is
// one. What the migrate data say of its medium has no meaning then.
func (p *planner) ejectMedium(disk *xmltree.Node) bool {
	if !isDrive(disk) || !slices.Contains(p.emptied, disk.Child("target").Value("dev")) {
		return false
	}
	disk.Child("source").RemoveAll()
	disk.Child("backingStore").RemoveAll()
	return true
}

// isDrive reports whether a disk is a drive whose medium can be changed.
func isDrive(disk *xmltree.Node) bool { return isOneOf(disk.Value("device"), "cdrom", "floppy") }
