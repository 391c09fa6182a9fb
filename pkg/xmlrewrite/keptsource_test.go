package xmlrewrite

import (
	"strings"
	"testing"
)

// What one disk's base becomes says nothing of another disk's base that has that name now.
func TestAMappingToADeviceDoesNotVouchForTheSourcesDeviceOfThatName(t *testing.T) {
	t.Parallel()
	devices := basedDisk("vda", "/srv/a.qcow2", "/dev/sdb") + basedDisk("vdb", "/srv/b.qcow2", "/dev/sdc")
	if o := planDevices(t, "", devices, "pathMappings: [{from: /dev/sdb, to: /dev/sdc}]"); o.silent() {
		t.Errorf("vdb stays on the source's /dev/sdc, beside vda, in silence:\n%s", o.xml)
	}
}

func TestAPathThatCountsAsMappedBeforeIsNotKeptInSilence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ device, data string }{
		"character device": {"<serial type='dev'><source path='/dev/ttyS0'/><target port='0'/></serial>", "pathMappings: [{from: /dev/ttyS9, to: /dev/ttyS0}]"},
		"base of a disk":   {basedDisk("vda", "/srv/a.qcow2", "/dev/sdc"), "pathMappings: [{from: /dev/sdb, to: /dev/sdc}]"},
	} {
		if o := planDevices(t, "", c.device, c.data); o.silent() {
			t.Errorf("%s: from is nobody's path, and the source's device is kept in silence", name)
		}
	}
}

func TestWhatADataFileIsOnIsJudgedLikeABackingChain(t *testing.T) {
	t.Parallel()
	disk := func(store string) string {
		return "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/a.qcow2'>" + store + "</source><target dev='vda' bus='virtio'/></disk>"
	}
	for name, store := range map[string]string{
		"a device that the host names": "<dataStore type='block'><format type='raw'/><source dev='/dev/sdb'/></dataStore>",
		"a server on the host itself":  "<dataStore type='network'><format type='raw'/><source protocol='nbd' name='x'><host name='localhost' port='10809'/></source></dataStore>",
		"a socket of the host":         "<dataStore type='network'><format type='raw'/><source protocol='nbd' name='x'><host transport='unix' socket='/srv/n.sock'/></source></dataStore>",
	} {
		if o := planDevices(t, "", disk(store), ""); o.silent() {
			t.Errorf("%s: kept in silence", name)
		}
	}
}

func TestNamesThatAHostGivesByItselfAreKnownInAllTheirForms(t *testing.T) {
	t.Parallel()
	for _, dev := range []string{
		"/dev/mapper/mpatha-part1", // Debian's and Ubuntu's partitions of /dev/mapper/mpatha.
		"/dev/rssda", "/dev/fioa1", "/dev/cciss/c0d0p1", "/dev/disk/by-id/dm-name-mpatha", "/dev/ublkb0", "/dev/md_d0", "/dev/cdrom1", "/dev/mtdblock0",
	} {
		if o := planDevices(t, "", blockDisk("vda", dev, ""), ""); o.silent() {
			t.Errorf("%s may be another disk on the target, and is kept in silence", dev)
		}
	}
}

func TestASocketThatIsMappedIsNotSaidToBeKept(t *testing.T) {
	t.Parallel()
	chain := "<backingStore type='network'><format type='raw'/><source protocol='nbd' name='x'><host transport='unix' socket='/srv/n.sock'/></source><backingStore/></backingStore>"
	o := planDevices(t, "", chainedDisk("vda", "/img/a.qcow2", chain), "pathMappings: [{from: /srv, to: /mnt}]")
	if !strings.Contains(o.xml, "/mnt/n.sock") || strings.Contains(o.warnings, "which is kept") {
		t.Errorf("%s%s%s", o.problems, o.warnings, o.xml)
	}
}

func readOnlyNetworkDisk(device, source, inside string) string {
	return "<disk type='network' device='" + device + "'><driver name='qemu' type='raw'/><source " + source + "><host name='a.example'/>" + inside + "</source><target dev='vda' bus='virtio'/><readonly/></disk>"
}

// Of a disk that is not listed, this is warned about. A source that is given says more, not less.
func TestWhatASourceHostMakesItselfKnownByIsNotKeptInSilenceWithANewSource(t *testing.T) {
	t.Parallel()
	for disk, source := range map[string]string{
		readOnlyNetworkDisk("disk", "protocol='iscsi' name='iqn.a:t/1'", "<initiator><iqn name='iqn.2020-01.example:host-a'/></initiator>"): "network: {protocol: iscsi, name: 'iqn.b:t/1', hosts: [{host: b.example}]}",
		readOnlyNetworkDisk("disk", "protocol='nfs' name='/x'", "<identity user='qemu-a' group='g'/>"):                                      "network: {protocol: nfs, name: /y, hosts: [{host: b.example}]}",
	} {
		if o := planDevices(t, "", disk, "volumes: [{targetDevice: vda, source: {"+source+"}}]"); o.silent() {
			t.Errorf("kept in silence:\n%s", o.xml)
		}
	}
}

func TestFirmwareVariablesBehindASocketOfTheHostAreNotKeptInSilence(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"<host transport='unix' socket='/run/n.sock'/>", "<host name='localhost'/>"} {
		guest := "<domain type='kvm'><name>g</name><uuid>6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>" +
			"<loader readonly='yes' type='pflash'>/usr/share/OVMF/C.fd</loader><nvram type='network'><source protocol='nbd'>" + host + "</source></nvram></os></domain>"
		if o := planSmall(t, guest, "", Options{}); o.silent() {
			t.Errorf("%s: kept in silence", host)
		}
	}
}

// The map of paths is for disks' bases, not for disks themselves.
func TestASocketOfADiskThatTheMapIsNotForIsWarnedAbout(t *testing.T) {
	t.Parallel()
	disk := "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='x'><host transport='unix' socket='/srv/n.sock'/></source><target dev='vda' bus='virtio'/></disk>"
	share := "<filesystem type='mount'><source dir='/srv/share'/><target dir='t'/></filesystem>"
	if o := planDevices(t, "", disk+share, "pathMappings: [{from: /srv, to: /mnt}]"); !strings.Contains(o.warnings, "a socket of the host, which is kept") {
		t.Errorf("%s%s%s", o.problems, o.warnings, o.xml)
	}
}

// Whatever keeps data on a block device is judged as a disk is.
func TestNothingStaysOnABlockDeviceThatEachHostNamesByItself(t *testing.T) {
	t.Parallel()
	firmware := func(nvram string) string {
		return "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader readonly='yes' type='pflash'>/usr/share/OVMF/C.fd</loader>" + nvram + "</os>"
	}
	for name, c := range map[string]struct{ top, devices string }{
		"firmware's variables":  {firmware("<nvram type='block'><source dev='/dev/sdb'/></nvram>"), ""},
		"firmware's image":      {firmware("<nvram>/dev/sdb</nvram>"), ""},
		"TPM":                   {"", "<tpm model='tpm-crb'><backend type='emulator' version='2.0'><source type='file' path='/dev/sdb'/></backend></tpm>"},
		"lease":                 {"", "<lease><lockspace>a</lockspace><key>k</key><target path='/dev/sdb'/></lease>"},
		"what a port writes to": {"", "<serial type='file'><source path='/dev/sdb'/><target port='0'/></serial>"},
		"disk in a file":        {"", "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/dev/sdb'/><target dev='vda' bus='virtio'/></disk>"},
		"base in a file":        {"", chainedDisk("vda", "/srv/a", "<backingStore type='file'><format type='raw'/><source file='/dev/sdb'/><backingStore/></backingStore>")},
	} {
		if o := planDevices(t, c.top, c.devices, ""); !strings.Contains(o.problems, "names its") && !strings.Contains(o.problems, "names by itself") {
			t.Errorf("%s: /dev/sdb is kept: %s%s", name, o.problems, o.warnings)
		}
		data := "pathMappings: [{from: /dev/sdb, to: /dev/sdb}]"
		if name == "disk in a file" {
			data = "volumes: [{targetDevice: vda}]"
		}
		if o := planDevices(t, c.top, c.devices, data); o.problems != "" {
			t.Errorf("%s: it cannot be said that the name is right: %s", name, o.problems)
		}
	}
}
