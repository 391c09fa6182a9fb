package xmlrewrite

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// TestWhatMayBecomeOfAGuest compares whole guests: whatever a step may do, what the guest can
// see stays, and all else may come, go and change.
func TestWhatMayBecomeOfAGuest(t *testing.T) {
	t.Parallel()
	const text, remove, elements = "the text of this element", "or remove this element", "the elements in this element"
	usb := func(kind, what string) string {
		return "<devices><hostdev type='" + kind + "'><source><" + what + "/></source></hostdev></devices>"
	}
	for name, c := range map[string]struct {
		before, after string
		// says is what the guard finds, and where; empty if it finds nothing.
		says, where string
	}{
		"the same in other words": {`<vcpu placement="static">2</vcpu>`, `<vcpu placement='static'>2</vcpu>`, "", ""},

		"an element has another text":    {`<vcpu>2</vcpu>`, `<vcpu>4</vcpu>`, text, "/domain/vcpu"},
		"an element has no text":         {`<vcpu>2</vcpu>`, `<vcpu/>`, text, "/domain/vcpu"},
		"an element has another name":    {`<a/><b/>`, `<a/><c/>`, remove, "/domain/b"},
		"the last element goes":          {`<a/><b/>`, `<a/>`, remove, "/domain/b"},
		"one element too many":           {`<a/>`, `<a/><b/>`, elements, "/domain"},
		"two change places":              {`<a/><b/>`, `<b/><a/>`, remove, "/domain/a"},
		"what was empty is filled":       {`<features/>`, `<features><acpi/></features>`, elements, "/domain/features"},
		"what was filled is empty":       {`<features><acpi/></features>`, `<features/>`, remove, "/domain/features/acpi"},
		"deep inside, something changes": {`<a><b><c d='1'/></b></a>`, `<a><b><c d='2'/></b></a>`, "the attribute d", "/domain/a/b/c"},
		"behind what is the same":        {`<a b="1"><c/></a><d e='1'/>`, `<a b='1'><c/></a><d e='2'/>`, "the attribute e", "/domain/d"},

		"an attribute changes":               {`<a b='1'/>`, `<a b='2'/>`, "the attribute b", "/domain/a"},
		"an attribute goes":                  {`<a b='1'/>`, `<a/>`, "the attribute b", "/domain/a"},
		"an attribute comes":                 {`<a/>`, `<a b='1'/>`, "the attributes of this element", "/domain/a"},
		"an attribute of the host changes":   {`<vcpu cpuset='1'>2</vcpu>`, `<vcpu cpuset='2'>2</vcpu>`, "", ""},
		"an attribute of the host goes":      {`<vcpu cpuset='1'>2</vcpu>`, `<vcpu>2</vcpu>`, "", ""},
		"an attribute of the host comes":     {`<vcpu>2</vcpu>`, `<vcpu cpuset='1'>2</vcpu>`, "", ""},
		"beside one of the host, another is": {`<vcpu cpuset='1' placement='static'>2</vcpu>`, `<vcpu cpuset='2' placement='auto'>2</vcpu>`, "the attribute placement", "/domain/vcpu"},

		"an element of the host goes":            {`<cputune><shares>1</shares><period>2</period></cputune>`, `<cputune><period>2</period></cputune>`, "", ""},
		"an element of the host comes":           {`<cputune><period>2</period></cputune>`, `<cputune><period>2</period><vcpupin vcpu='0' cpuset='1'/></cputune>`, "", ""},
		"one of the host between two":            {`<cputune><period>2</period><quota>3</quota></cputune>`, `<cputune><period>2</period><shares>1</shares><quota>3</quota></cputune>`, "", ""},
		"all that is the host's goes":            {`<cputune><shares>1</shares></cputune>`, ``, "", ""},
		"all that is the host's comes":           {`<a/>`, `<cputune><shares>1</shares></cputune><a/>`, "", ""},
		"with it, what is the guest's goes":      {`<cputune><shares>1</shares><period>2</period></cputune>`, ``, remove, "/domain/cputune"},
		"with it, what is the guest's comes":     {``, `<cputune><shares>1</shares><period>2</period></cputune>`, elements, "/domain"},
		"what only looks like the host's goes":   {`<cputune><shares xmlns='urn:x'>1</shares></cputune>`, `<cputune/>`, remove, "/domain/cputune"},
		"an attribute of the guest's goes along": {`<numatune><memory mode='strict' placement='auto'/></numatune>`, ``, remove, "/domain/numatune"},
		"the attributes of the host's go along":  {`<numatune><memory mode='strict' nodeset='0'/></numatune>`, ``, "", ""},
		"what is kept of it is the guest's":      {`<numatune><memory mode='strict' placement='auto'/></numatune>`, `<numatune><memory mode='interleave' placement='auto'/></numatune>`, "", ""},

		"which USB device is passed through":    {usb("usb", "vendor id='1'"), usb("usb", "vendor id='2'"), "", ""},
		"what is said of another passed device": {usb("pci", "vendor id='1'"), usb("pci", "vendor id='2'"), "the attribute id", "/domain/devices/hostdev/source/vendor"},
		"what is said of a USB controller": {
			strings.ReplaceAll(usb("usb", "vendor id='1'"), "hostdev", "controller"), strings.ReplaceAll(usb("usb", "vendor id='2'"), "hostdev", "controller"),
			"the attribute id", "/domain/devices/controller/source/vendor",
		},

		"a path of the host that can be mapped":     {`<os><kernel>/boot/a</kernel></os>`, `<os><kernel>/boot/b</kernel></os>`, "", ""},
		"a path of the host in an attribute":        {`<os><nvram template='/srv/a'/></os>`, `<os><nvram template='/srv/b'/></os>`, "", ""},
		"a path becomes none":                       {`<os><kernel>/boot/a</kernel></os>`, `<os><kernel>b</kernel></os>`, text, "/domain/os/kernel"},
		"a path in an attribute becomes none":       {`<os><nvram template='/srv/a'/></os>`, `<os><nvram template='b'/></os>`, "the attribute template", "/domain/os/nvram"},
		"what was no path becomes one":              {`<os><kernel>a</kernel></os>`, `<os><kernel>/boot/b</kernel></os>`, text, "/domain/os/kernel"},
		"a path that means nothing of the host":     {`<name>/a</name>`, `<name>/b</name>`, text, "/domain/name"},
		"a path in an attribute that means no path": {`<os><boot dev='/a'/></os>`, `<os><boot dev='/b'/></os>`, "the attribute dev", "/domain/os/boot"},
		"a path goes": {`<os><nvram template='/srv/a'/></os>`, `<os><nvram/></os>`, "the attribute template", "/domain/os/nvram"},
		"a path comes where the guest boots directly": {`<os><nvram/></os>`, `<os><nvram template='/srv/a'/></os>`, "the attributes of this element", "/domain/os/nvram"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parse := func(inside string) *guest {
				doc, err := parseGuest("<domain type='kvm'>\n" + inside + "</domain>")
				if err != nil {
					t.Fatal(err)
				}
				return doc
			}
			doc := parse(c.before)
			doc.Root.Replace(parse(c.after).Root.Elem())
			problems := compareABI(doc.Render())
			switch {
			case c.says == "" && len(problems) > 0:
				t.Errorf("it is refused: %v", problems)
			case c.says == "":
			case len(problems) != 1 || problems[0].Kind != ProblemABIChanged || problems[0].XMLPath != c.where ||
				!strings.Contains(problems[0].Message, "would change "+c.says+","):
				t.Errorf("got %v, want that it would change %s at %s", problems, c.says, c.where)
			}
		})
	}
}

// TestABIGuardInside: what is in an element of the host is the host's, and what is in one of
// the guest the guest's, however deep.
func TestABIGuardInside(t *testing.T) {
	t.Parallel()
	const text = `<domain type='kvm'>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <virtualport type='openvswitch'>
        <parameters interfaceid='5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11'/>
        <parameters/>
      </virtualport>
      <vlan><tag id='1'/></vlan>
      <backend>
        <x><y max='7'/></x>
      </backend>
      <virtualport xmlns='urn:x' type='y'/>
    </interface>
  </devices>
</domain>
`
	for name, c := range map[string]struct {
		edit    func(nic *xmltree.Node)
		refused bool
	}{
		"an attribute changes in one of the host": {func(nic *xmltree.Node) {
			nic.Child("virtualport").Child("parameters").SetAttr("interfaceid", "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b12")
		}, false},
		"an element comes into one of the host": {func(nic *xmltree.Node) {
			nic.Child("vlan").Append(xmltree.NewElem("tag", "id", "2"))
		}, false},
		"an element goes from one of the host": {func(nic *xmltree.Node) { nic.Child("virtualport").Child("parameters").Remove() }, false},
		"an element becomes another in one of the host": {func(nic *xmltree.Node) {
			nic.Child("vlan").Child("tag").Replace(xmltree.NewElem("what"))
		}, false},
		"one of the host becomes another of the host": {func(nic *xmltree.Node) { nic.Child("vlan").Replace(xmltree.NewElem("bandwidth")) }, false},
		"one of the host becomes one of the guest":    {func(nic *xmltree.Node) { nic.Child("vlan").Replace(xmltree.NewElem("mtu", "size", "1500")) }, true},
		"one of the guest becomes one of the host":    {func(nic *xmltree.Node) { nic.Child("mac").Replace(xmltree.NewElem("vlan")) }, true},
		"one of the guest stays what it is":           {func(nic *xmltree.Node) { nic.Child("mac").Replace(nic.Child("mac").Elem()) }, false},
		"an attribute changes in one of the guest":    {func(nic *xmltree.Node) { nic.Child("backend").Child("x").Child("y").SetAttr("max", "8") }, true},
		"an element comes into one of the guest":      {func(nic *xmltree.Node) { nic.Child("backend").Child("x").Append(xmltree.NewElem("vlan")) }, true},
		"an element goes from one of the guest":       {func(nic *xmltree.Node) { nic.Child("backend").Child("x").Child("y").Remove() }, true},
		"what is not libvirt's changes": {func(nic *xmltree.Node) {
			nic.FirstChild.NextSibling.NextSibling.NextSibling.NextSibling.SetAttr("type", "z")
		}, true},
		"what is not libvirt's goes":                   {func(nic *xmltree.Node) { nic.FirstChild.NextSibling.NextSibling.NextSibling.NextSibling.Remove() }, true},
		"the whole guest is written as it is":          {func(nic *xmltree.Node) { nic.Parent.Parent.Replace(nic.Parent.Parent.Elem()) }, false},
		"the whole guest is written as another domain": {func(nic *xmltree.Node) { nic.Parent.Parent.Replace(xmltree.NewElem("domain")) }, true},
		"the whole guest is written as no domain":      {func(nic *xmltree.Node) { nic.Parent.Parent.Replace(xmltree.NewElem("network")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := parseGuest(text)
			if err != nil {
				t.Fatal(err)
			}
			c.edit(doc.devices("interface")[0])
			checkABIGuard(t, doc.Render(), c.refused)
		})
	}
}
