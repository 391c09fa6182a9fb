package xmlrewrite

import (
	"strings"
	"testing"
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
		edit    func(domain, disk, nic *node)
		refused bool
	}{
		{"nothing changes", func(_, _, _ *node) {}, false},
		{"the host's side of a disk changes", func(_, disk, _ *node) { disk.child("source").setAttr("file", "/srv/b.img") }, false},
		{"the shared CPUs change", func(domain, _, _ *node) { domain.child("vcpu").setAttr("cpuset", "2") }, false},
		{"an element of the host goes", func(_, _, nic *node) { nic.child("virtualport").remove() }, false},
		{"an element of the host comes", func(_, _, nic *node) { nic.insertBehind(nic.child("mac"), newElem("vlan")) }, false},
		{"the number of CPUs changes", func(domain, _, _ *node) { domain.child("vcpu").setText(domain.doc, "4") }, true},
		{"an attribute of the guest changes", func(_, disk, _ *node) { disk.child("target").setAttr("bus", "sata") }, true},
		{"an attribute of the guest goes", func(_, disk, _ *node) { disk.child("target").removeAttr("bus") }, true},
		{"an attribute that nobody knows comes", func(_, disk, _ *node) { disk.setAttr("snapshot", "no") }, true},
		{"the serial changes", func(_, disk, _ *node) { disk.child("serial").setText(disk.document(), "other") }, true},
		{"the serial goes", func(_, disk, _ *node) { disk.child("serial").remove() }, true},
		{"an element of the guest comes", func(_, disk, _ *node) { disk.appendChild(newElem("readonly")) }, true},
		{"an element of the guest is filled", func(_, disk, _ *node) { disk.child("target").appendChild(newElem("what")) }, true},
		{"an element of the guest is replaced", func(_, _, nic *node) {
			nic.child("mac").replace(newElem("mac", "address", "52:54:00:00:00:02"))
		}, true},
		{"a device comes", func(domain, _, _ *node) { domain.child("devices").appendChild(newElem("rng")) }, true},
		{"a device goes", func(_, _, nic *node) { nic.remove() }, true},
		{"a device becomes another", func(_, disk, nic *node) { nic.replace(newElem("disk", "type", disk.value("type"))) }, true},
		{"the domain's type changes", func(domain, _, _ *node) { domain.setAttr("type", "qemu") }, true},
		{"a name is no name", func(_, disk, _ *node) { disk.child("source").insertBehind(nil, newElem("host name")) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			doc, err := parseDomain(abiGuest)
			if err != nil {
				t.Fatal(err)
			}
			test.edit(doc.root, doc.devices("disk")[0], doc.devices("interface")[0])
			checkABIGuard(t, doc.render(nil), test.refused)
		})
	}
}

// TestABIGuardMissesNothing alters the result behind the writer's back, byte by
// byte, wherever it is a copy: the guard must see that.
func TestABIGuardMissesNothing(t *testing.T) {
	t.Parallel()
	doc, err := parseDomain(abiGuest)
	if err != nil {
		t.Fatal(err)
	}
	doc.devices("disk")[0].child("source").setAttr("file", "/srv/b.img")
	doc.devices("interface")[0].child("virtualport").remove()
	good := doc.render(nil)
	result := good.String()
	checkABIGuard(t, good, false)
	inFragment := func(i int) bool {
		for _, f := range good.written {
			if i >= f.from && i < f.to {
				return true
			}
		}
		return false
	}
	for i := range len(result) {
		if inFragment(i) {
			continue
		}
		bad := &writer{doc: doc, written: good.written}
		bad.WriteString(result[:i] + "~" + result[i+1:])
		checkABIGuard(t, bad, true)
	}
	for i := range good.written {
		for _, shift := range []int{-1, 1} {
			bad := &writer{doc: doc, written: append([]fragment{}, good.written...)}
			bad.WriteString(result)
			bad.written[i].end += shift
			checkABIGuard(t, bad, true)
		}
	}
}

func checkABIGuard(t *testing.T, w *writer, refused bool) {
	t.Helper()
	problems := compareABI(w, new(scanner))
	if (len(problems) > 0) != refused {
		t.Errorf("refused is %t; problems: %v\n%s", len(problems) > 0, problems, w.String())
	}
	for _, p := range problems {
		if p.Kind != ProblemABIChanged || !strings.HasPrefix(p.XMLPath, "/domain") {
			t.Errorf("this is no problem of the guest's ABI: %#v", p)
		}
	}
}
