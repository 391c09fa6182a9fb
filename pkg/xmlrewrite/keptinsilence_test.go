package xmlrewrite

import (
	"strings"
	"testing"
)

func TestWhatTheHostHasIsNotKeptInSilence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ top, devices string }{
		"external TPM":                  {oneVCPU, "<tpm model='tpm-crb'><backend type='external'><source type='unix' mode='connect' path='/run/libvirt/qemu/swtpm/x.sock'/></backend></tpm>"},
		"program that is not installed": {oneVCPU, "<emulator>/usr/../home/me/qemu</emulator>"},
		"firmware that is not libvirt's": {
			oneVCPU, "<serial type='file'><source path='/run/libvirt/../x'/><target port='0'/></serial>",
		},
	} {
		if o := planSmall(t, smallGuest(c.top, c.devices), "", Options{}); o.silent() {
			t.Errorf("%s: kept in silence: %s", name, o.xml)
		}
	}
}

func TestPathThatNoOtherFieldMapsIsMapped(t *testing.T) {
	t.Parallel()
	for name, guest := range map[string]string{
		"key of the host to a server": smallGuest(oneVCPU, "<disk type='network'><source protocol='ssh' name='/x'><host name='a'/>"+
			"<identity username='u' keyfile='/old/id'/></source><target dev='vda'/></disk>"),
		"agent of the host to a server": smallGuest(oneVCPU, "<disk type='network'><source protocol='ssh' name='/x'><host name='a'/>"+
			"<identity username='u' agentsock='/old/agent'/></source><target dev='vda'/></disk>"),
		"limit of a block device that no disk is on": smallGuest(oneVCPU+"<blkiotune><device><path>/old/lv</path><weight>500</weight></device></blkiotune>", ""),
	} {
		o := planSmall(t, guest, "pathMappings: [{from: /old, to: /new}]", Options{})
		if !strings.Contains(o.xml, "/new/") || o.warnings != "" {
			t.Errorf("%s: not mapped: %s%s", name, o.problems, o.warnings)
		}
		if o := planSmall(t, smallGuest(oneVCPU, ""), "pathMappings: [{from: /old, to: /new}]", Options{Other: guest}); o.problems != "" {
			t.Errorf("%s: what the other definition has is not known: %s", name, o.problems)
		}
	}
}

func TestLimitOfADiskIsNotMappedApartFromIt(t *testing.T) {
	t.Parallel()
	guest := smallGuest(oneVCPU+"<blkiotune><device><path>/dev/old/lv</path><weight>500</weight></device></blkiotune>",
		"<disk type='block' device='disk'><source dev='/dev/old/lv'/><target dev='vda'/></disk>")
	if o := planSmall(t, guest, "pathMappings: [{from: /dev/old, to: /dev/new}]", Options{}); !strings.Contains(o.problems, "use volumes") {
		t.Errorf("the limit of a disk was mapped without the disk: %s%s", o.problems, o.xml)
	}
}

func TestWhatVolumesSaysOfADiskIsKept(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"server on the host": "<source protocol='nbd'><host name='localhost'/></source>",
		"socket":             "<source protocol='nbd'><host transport='unix' socket='/x'/></source>",
		"initiator":          "<source protocol='iscsi' name='i'><host name='a'/><initiator><iqn name='x'/></initiator></source>",
		"user":               "<source protocol='nfs' name='i'><host name='a'/><identity user='u' group='g'/></source>",
	} {
		guest := smallGuest(oneVCPU, "<disk type='network' device='disk'>"+source+"<target dev='vda'/></disk>")
		if o := planSmall(t, guest, "volumes: [{targetDevice: vda}]", Options{}); !o.silent() {
			t.Errorf("%s: the user says that the source is right: %s%s", name, o.problems, o.warnings)
		}
	}
	chain := smallGuest(oneVCPU, "<disk type='file' device='disk'><source file='/a'/><backingStore type='block'><format type='raw'/><source dev='/dev/sdc'/></backingStore><target dev='vda'/></disk>")
	for _, data := range []string{"volumes: [{targetDevice: vda}]", "pathMappings: [{from: /dev/sdc, to: /dev/sdd}]", "pathMappings: [{from: /dev/sdc, to: /dev/sdc}]"} {
		if o := planSmall(t, chain, data, Options{}); !o.silent() {
			t.Errorf("%s: the user says what the disk is based on: %s%s", data, o.problems, o.warnings)
		}
	}
}

func TestBackingImageGetsTheMonitorsOfItsDisk(t *testing.T) {
	t.Parallel()
	guest := func(host string) string {
		return smallGuest(oneVCPU, "<disk type='network' device='disk'><driver name='qemu' type='qcow2'/><source protocol='rbd' name='p/a'><host name='old'/></source>"+
			"<backingStore type='network'><format type='raw'/><source protocol='rbd' name='p/base'><host name='"+host+"'/></source><backingStore/></backingStore><target dev='vda'/></disk>")
	}
	if o := planSmall(t, guest("old"), "rbdMonitors: [{host: new}]", Options{}); strings.Contains(o.xml, "'old'") || o.problems != "" {
		t.Errorf("the chain is on two clusters: %s%s", o.problems, o.xml)
	}
	if o := planSmall(t, guest("third"), "rbdMonitors: [{host: new}]", Options{}); !strings.Contains(o.xml, "'third'") || !strings.Contains(o.warnings, "rbdMonitors") {
		t.Errorf("the backing image was moved to another cluster, or kept in silence: %s%s", o.warnings, o.xml)
	}
}
