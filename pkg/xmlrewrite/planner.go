package xmlrewrite

import (
	"iter"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// planner is the workplace of the steps.
type planner struct {
	doc    *document
	domain *node
	// data is the user's, offer the target's; neither is nil.
	data     *v1alpha1.MigrateData
	offer    *v1alpha1.MigrateData
	inactive bool
	other    *document // The guest's other definition, or nil.
	target   TargetFacts

	matched    bool        // Set by volumes, as is matches.
	matches    []int       // By disk: its entry, noVolume, ambiguousVolume or otherVolume.
	nicMatches []int       // By interface: its entry, noInterface or ambiguousInterface. Set by interfaceMatches.
	shape      sourceShape // Room for the one at hand.

	problems Problems
	warnings Problems
}

const dataRoot = "spec.migrateData."

// newPlanner reads the document with the scanner, which must be kept until the
// plan is made.
func newPlanner(s *scanner, domainXML string, data *v1alpha1.MigrateData, opts Options) (*planner, error) {
	doc, err := s.domain(domainXML)
	if err != nil {
		return nil, err
	}
	p := &planner{
		doc: doc, domain: doc.root,
		data: data, offer: opts.Offer,
		inactive: opts.Inactive, target: opts.Target,
	}
	if opts.Other != "" {
		if p.other, err = parseDomain(opts.Other); err != nil {
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

// parseDomain reads a document whose root is a domain.
func parseDomain[Text ~string | ~[]byte](domainXML Text) (*document, error) {
	return new(scanner).domain(string(domainXML))
}

func (s *scanner) domain(domainXML string) (*document, error) {
	doc, err := s.document(domainXML)
	if err != nil {
		return nil, Problems{{
			Kind:    ProblemInvalidXML,
			Message: "the guest's XML cannot be read: " + err.Error(),
		}}
	}
	if doc.root.name != "domain" {
		return nil, Problems{{
			Kind:    ProblemInvalidXML,
			Message: "the guest's XML must have <domain> as its root element",
		}}
	}
	return doc, nil
}

// devices returns the devices of this element name, in document order.
func (p *planner) devices(name string) []*node { return p.doc.devices(name) }

func (d *document) devices(name string) []*node {
	if d.sorted == nil {
		d.sortDevices()
	}
	for i := range d.sorted {
		if d.sorted[i].name == name {
			return d.sorted[i].devices
		}
	}
	return nil
}

// sortDevices sorts the devices by element name, once for all steps.
func (d *document) sortDevices() {
	d.sorted = make([]deviceList, 0, 16)
	total := 0
	for device := range d.eachDevice() {
		d.listOf(device.name).count++
		total++
	}
	room := make([]*node, total)
	for i := range d.sorted {
		l := &d.sorted[i]
		l.devices, room = room[:0:l.count], room[l.count:]
	}
	for device := range d.eachDevice() {
		l := d.listOf(device.name)
		l.devices = append(l.devices, device)
	}
}

// eachDevice goes through the devices in document order.
func (d *document) eachDevice() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for c := d.root.first; c != nil; c = c.next {
			if c.name != "devices" || c.foreign {
				continue
			}
			for device := c.first; device != nil; device = device.next {
				if !device.foreign && !yield(device) {
					return
				}
			}
		}
	}
}

// listOf returns the list of the devices of this name.
func (d *document) listOf(name string) *deviceList {
	for i := range d.sorted {
		if d.sorted[i].name == name {
			return &d.sorted[i]
		}
	}
	d.sorted = append(d.sorted, deviceList{name: name})
	return &d.sorted[len(d.sorted)-1]
}

// elsewhere reports whether an entry that means nothing here may mean something
// in the guest's other definition, which the function looks up.
func (p *planner) elsewhere(has func(*document) bool) bool {
	if p.other == nil {
		return p.inactive
	}
	return has(p.other)
}

// report adds a problem. The field is relative to the migrate data.
func (p *planner) report(kind ProblemKind, field *place, at *node, message string) {
	path := ""
	if field != nil {
		path = dataRoot + field.String()
	}
	p.problems = append(p.problems, Problem{Kind: kind, DataPath: path, XMLPath: at.path(), Message: message})
}

// warn notes something that was left alone.
func (p *planner) warn(field *place, at *node, message string) {
	p.warnings = append(p.warnings, Problem{
		Kind: ProblemKeptAsIs, DataPath: dataRoot + field.String(), XMLPath: at.path(), Message: message,
	})
}
