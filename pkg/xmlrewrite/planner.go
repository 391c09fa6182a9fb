package xmlrewrite

import (
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// planner is the workplace of the steps.
type planner struct {
	doc    *guest
	domain *xmltree.Node
	// data is the user's, offer the target's; neither is nil.
	data     *v1alpha1.MigrateData
	offer    *v1alpha1.MigrateData
	networks []v1alpha1.NetworkMapping // The target's.
	storage  *storageMap               // The target's.
	emptied  []string                  // Drives, by their names.
	flat     []string                  // The disks that are based on nothing there.
	dropped  []v1alpha1.PerfEvent      // Those that the target cannot count.
	inactive bool
	other    *guest // The guest's other definition, or nil.
	target   TargetFacts

	matched    bool  // Set by volumes, as is matches.
	matches    []int // By disk: its entry, noVolume, ambiguousVolume or otherVolume.
	nicMatches []int // By interface: its entry, noInterface, ambiguousInterface or otherInterface. Set by interfaceMatches.

	portsGiven map[*xmltree.Node]int32 // The ports of listeners on the target that the migrate data gives.

	paths *pathMap // Set by pathMap.

	claimed map[string]*claim // What of the target the guest's devices use.

	problems Problems
	warnings Problems
}

func itoa[T ~int | ~int32 | ~int64](v T) string { return strconv.FormatInt(int64(v), 10) }

const dataRoot = "spec.migrateData."

func newPlanner(domainXML string, data *v1alpha1.MigrateData, opts Options) (*planner, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return nil, err
	}
	p := &planner{
		doc: doc, domain: doc.Root,
		data: data, offer: opts.Offer, networks: opts.Networks, storage: newStorageMap(opts.Storage), emptied: opts.EmptyDrives, flat: opts.Flattened, dropped: opts.DroppedPerfEvents,
		inactive: opts.Inactive, target: opts.Target,
		portsGiven: map[*xmltree.Node]int32{},
	}
	if opts.Other != "" {
		if p.other, err = parseGuest(opts.Other); err != nil {
			return nil, err
		}
	}
	if p.data == nil {
		p.data = &v1alpha1.MigrateData{}
	}
	if p.offer == nil {
		p.offer = &v1alpha1.MigrateData{}
	}
	return p, nil
}

// devices returns the devices of this element name, in document order.
func (p *planner) devices(name string) []*xmltree.Node { return p.doc.devices(name) }

// elsewhere reports whether an entry that means nothing here may mean something
// in the guest's other definition, which the function looks up.
func (p *planner) elsewhere(has func(*guest) bool) bool {
	if p.other == nil {
		return p.inactive
	}
	return has(p.other)
}

// report adds a problem. The field is relative to the migrate data.
func (p *planner) report(kind ProblemKind, field *place, at *xmltree.Node, message string) {
	path := ""
	if field != nil {
		path = dataRoot + field.String()
	}
	p.problems = append(p.problems, Problem{Kind: kind, DataPath: path, XMLPath: at.Path(), Message: message})
}

// warn notes something that was left alone.
func (p *planner) warn(field *place, at *xmltree.Node, message string) {
	p.warnings = append(p.warnings, Problem{
		Kind: ProblemKeptAsIs, DataPath: dataRoot + field.String(), XMLPath: at.Path(), Message: message,
	})
}
