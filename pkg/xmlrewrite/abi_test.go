package xmlrewrite

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const abiGuest = `<domain type='kvm'>
  <name>guest</name>
  <vcpu placement='static' cpuset='0-1'>2</vcpu>
  <devices>
    <disk type='file' device='disk'>
      <source file='/srv/a.img' startupPolicy='optional'/>
      <target dev='vda' bus='virtio'/>
      <serial>volume</serial>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <source bridge='br0'/>
      <virtualport type='openvswitch'/>
    </interface>
    <rng model='virtio'/>
  </devices>
</domain>
`

// TestABIGuard makes edits that no step would make, and expects that those
// which the guest can see are refused.
func TestABIGuard(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		edit    func(domain, disk, nic *xmltree.Node)
		refused bool
	}{
		{"nothing changes", func(_, _, _ *xmltree.Node) {}, false},
		{"the host's side of a disk changes", func(_, disk, _ *xmltree.Node) { disk.Child("source").SetAttr("file", "/srv/b.img") }, false},
		{"the shared CPUs change", func(domain, _, _ *xmltree.Node) { domain.Child("vcpu").SetAttr("cpuset", "2") }, false},
		{"an element of the host goes", func(_, _, nic *xmltree.Node) { nic.Child("virtualport").Remove() }, false},
		{"an element of the host comes", func(_, _, nic *xmltree.Node) { nic.InsertBehind(nic.Child("mac"), xmltree.NewElem("vlan")) }, false},
		{"the number of CPUs changes", func(domain, _, _ *xmltree.Node) { domain.Child("vcpu").SetText("4") }, true},
		{"an attribute of the guest changes", func(_, disk, _ *xmltree.Node) { disk.Child("target").SetAttr("bus", "sata") }, true},
		{"an attribute of the guest goes", func(_, disk, _ *xmltree.Node) { disk.Child("target").RemoveAttr("bus") }, true},
		{"an attribute that nobody knows comes", func(_, disk, _ *xmltree.Node) { disk.SetAttr("snapshot", "no") }, true},
		{"the serial changes", func(_, disk, _ *xmltree.Node) { disk.Child("serial").SetText("other") }, true},
		{"the serial goes", func(_, disk, _ *xmltree.Node) { disk.Child("serial").Remove() }, true},
		{"an element of the guest comes", func(_, disk, _ *xmltree.Node) { disk.Append(xmltree.NewElem("readonly")) }, true},
		{"an element of the guest is filled", func(_, disk, _ *xmltree.Node) { disk.Child("target").Append(xmltree.NewElem("what")) }, true},
		{"an element of the guest is replaced", func(_, _, nic *xmltree.Node) {
			nic.Child("mac").Replace(xmltree.NewElem("mac", "address", "52:54:00:00:00:02"))
		}, true},
		{"a device comes", func(domain, _, _ *xmltree.Node) { domain.Child("devices").Append(xmltree.NewElem("rng")) }, true},
		{"a device goes", func(_, _, nic *xmltree.Node) { nic.Remove() }, true},
		{"a device becomes another", func(_, disk, nic *xmltree.Node) { nic.Replace(xmltree.NewElem("disk", "type", disk.Value("type"))) }, true},
		{"the domain's type changes", func(domain, _, _ *xmltree.Node) { domain.SetAttr("type", "qemu") }, true},
		{"a name is no name", func(_, disk, _ *xmltree.Node) { disk.Child("source").InsertBehind(nil, xmltree.NewElem("host name")) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			doc, err := parseGuest(abiGuest)
			if err != nil {
				t.Fatal(err)
			}
			test.edit(doc.Root, doc.devices("disk")[0], doc.devices("interface")[0])
			checkABIGuard(t, doc.Render(), test.refused)
		})
	}
}

func checkABIGuard(t *testing.T, result *xmltree.Result, refused bool) {
	t.Helper()
	problems := compareABI(result)
	if (len(problems) > 0) != refused {
		t.Errorf("refused is %t; problems: %v\n%s", len(problems) > 0, problems, result)
	}
	for _, p := range problems {
		if p.Kind != ProblemABIChanged || !strings.HasPrefix(p.XMLPath, "/domain") {
			t.Errorf("this is no problem of the guest's ABI: %#v", p)
		}
	}
}
