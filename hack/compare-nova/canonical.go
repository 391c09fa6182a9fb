package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/beevik/etree"
)

// canonical puts a document into a form in which only meaning counts:
//
//   - attributes are sorted, white space and quotes do not matter;
//   - children whose order means nothing to libvirt are sorted;
//   - authentication and encryption inside a disk's source are moved beside
//     it, where older libvirt had them;
//   - schedulers are written once a virtual CPU, as libvirt writes them;
//   - containers that are empty are left out, since libvirt does so too;
//   - that memory is shared is left out for guests with vhost-user interfaces, which would be
//     dead without: Nova takes it away wherever the target does not keep memory in files.
func canonical(xml []byte) ([]string, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(xml); err != nil {
		return nil, err
	}
	for _, disk := range doc.FindElements("/domain/devices/disk") {
		for _, name := range [...]string{"auth", "encryption"} {
			if source := disk.SelectElement("source"); source != nil {
				if e := source.SelectElement(name); e != nil {
					disk.AddChild(e)
				}
			}
		}
	}
	if doc.FindElement("/domain/devices/interface[@type='vhostuser']") != nil {
		for _, access := range doc.FindElements("/domain/memoryBacking/access") {
			access.Parent().RemoveChild(access)
		}
	}
	for _, sched := range doc.FindElements("/domain/cputune/vcpusched") {
		for _, vcpu := range numbers(sched.SelectAttrValue("vcpus", "")) {
			one := sched.Copy()
			one.CreateAttr("vcpus", strconv.Itoa(vcpu))
			sched.Parent().AddChild(one)
		}
		sched.Parent().RemoveChild(sched)
	}
	return describe(doc.Root(), ""), nil
}

// numbers reads a list such as 1-3,5.
func numbers(text string) []int {
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		a, errLow := strconv.Atoi(low)
		b := a
		if isRange {
			b, _ = strconv.Atoi(high) // What is no number is an empty range.
		}
		for n := a; errLow == nil && n <= b; n++ {
			all = append(all, n)
		}
	}
	return all
}

func describe(e *etree.Element, indent string) []string {
	line := indent + e.FullTag()
	attrs := make([]string, 0, len(e.Attr))
	for _, a := range e.Attr {
		attrs = append(attrs, a.FullKey()+"="+a.Value)
	}
	slices.Sort(attrs)
	line += "[" + strings.Join(attrs, " ") + "] " + strings.TrimSpace(e.Text())
	var children []string
	for _, c := range e.ChildElements() {
		switch lines := describe(c, indent+"  "); {
		case len(lines) == 1 && len(c.Attr) == 0 && isContainer(c.Tag):
		default:
			children = append(children, strings.Join(lines, "\n"))
		}
	}
	if orderFree(e.Tag) {
		slices.Sort(children)
	}
	lines := append(make([]string, 0, 1+len(children)), line)
	for _, c := range children {
		lines = append(lines, strings.Split(c, "\n")...)
	}
	return lines
}

func isContainer(tag string) bool {
	return tag == "perf" || tag == "memoryBacking" || tag == "cputune"
}

func orderFree(tag string) bool {
	switch tag {
	case "domain", "cputune", "numatune", "memoryBacking", "perf", "disk", "interface", "source":
		return true
	}
	return false
}

func countElements(xml []byte) int {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(xml); err != nil {
		return 0
	}
	return len(doc.FindElements("//*"))
}
