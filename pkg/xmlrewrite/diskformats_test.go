package xmlrewrite

import "testing"

const sharingMemory = "<vcpu>1</vcpu><memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"

// libvirt 9.0: "discard is not supported with vhostuser disk", and so on.
func TestWhatADiskBehindAVhostUserSocketCannotHaveIsRefused(t *testing.T) {
	t.Parallel()
	disk := "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/><source type='unix' path='/run/a.sock'/><target dev='vda' bus='virtio'/></disk>"
	for _, given := range []string{"driver: {discard: unmap}", "encryption: {secretUUID: 6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d}"} {
		o := planSmall(t, smallGuest(sharingMemory, disk), "volumes: [{targetDevice: vda, source: {vhostUser: {path: /run/b.sock}}, "+given+"}]", Options{})
		if o.problems == "" {
			t.Errorf("%s: libvirt refuses the result:\n%s", given, o.xml)
		}
	}
}

// libvirt 9.0: "disk device 'lun' must use 'raw' format".
func TestADiskToWhichTheGuestSendsSCSICommandsStaysRawAndPlain(t *testing.T) {
	t.Parallel()
	disk := "<disk type='block' device='lun'><driver name='qemu' type='raw'/><source dev='/dev/vg/a'/><target dev='sda' bus='scsi'/></disk>"
	for _, data := range []string{
		"volumes: [{targetDevice: sda, driver: {format: qcow2}}]",
		"volumes: [{targetDevice: sda, source: {storagePool: {pool: p, volume: v}}, driver: {format: qcow2}}]",
		"volumes: [{targetDevice: sda, encryption: {secretUUID: 6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d}}]", // "disk device 'lun' doesn't support encryption"
	} {
		if o := planDevices(t, "", disk, data); o.problems == "" {
			t.Errorf("%s: libvirt refuses the result:\n%s", data, o.xml)
		}
	}
}

// The QEMU driver: "shared access for disk requires use of supported storage format".
func TestADiskThatIsSharedStaysRaw(t *testing.T) {
	t.Parallel()
	if o := planDevices(t, "", blockDisk("vda", "/dev/vg/a", "<shareable/>"), "volumes: [{targetDevice: vda, driver: {format: qcow2}}]"); o.problems == "" {
		t.Errorf("libvirt refuses the result:\n%s", o.xml)
	}
}

// The QEMU driver: "encryption is supported only with 'raw' and 'qcow2' image format".
func TestWhatIsEncryptedIsRawOrQcow2(t *testing.T) {
	t.Parallel()
	const secret = "encryption: {secretUUID: 6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d}"
	const have = "<encryption format='luks'><secret type='passphrase' uuid='6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d'/></encryption>"
	dir := "<disk type='dir' device='disk'><driver name='qemu' type='fat'/><source dir='/srv/a'/><target dev='vda' bus='virtio'/><readonly/></disk>"
	for name, c := range map[string]struct{ disk, given string }{
		"a directory":                {dir, secret},
		"another format, given both": {blockDisk("vda", "/dev/vg/a", ""), "driver: {format: vmdk}, " + secret},
		"another format":             {blockDisk("vda", "/dev/vg/a", have), "driver: {format: vmdk}"},
	} {
		if o := planDevices(t, "", c.disk, "volumes: [{targetDevice: vda, "+c.given+"}]"); o.problems == "" {
			t.Errorf("%s: libvirt refuses the result:\n%s", name, o.xml)
		}
	}
}
