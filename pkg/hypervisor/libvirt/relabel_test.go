package libvirt

import (
	"fmt"
	"testing"
)

func TestDiskTakenAway(t *testing.T) {
	const (
		dac  = `<seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+108</label></seclabel>`
		file = `<disk type='file' device='disk'><source file='/nfs/web.qcow2'/><target dev='vda'/></disk>`
	)
	tests := []struct {
		name, labels, disks, want string
	}{
		{"an image that libvirt owns", dac, file, "vda"},
		{"SELinux", `<seclabel type='dynamic' model='selinux' relabel='yes'/>`, file, "vda"},
		{"a volume", dac, `<disk type='volume'><source pool='nfs' volume='web'/><target dev='vdb'/></disk>`, "vdb"},
		{"the second disk", dac, `<disk type='network'><source protocol='rbd' name='a/b'/><target dev='vda'/></disk>` +
			`<disk type='file'><source file='/nfs/b'/><target dev='sda'/></disk>`, "sda"},
		{"labels that another model keeps on", dac, `<disk type='file'><source file='/nfs/b'><seclabel model='selinux' relabel='no'/></source><target dev='sda'/></disk>`, "sda"},
		{"labels of which only the last are libvirt's", `<seclabel type='dynamic' model='apparmor' relabel='yes'/><seclabel type='none' model='none'/>` + dac, file, "vda"},
		{"no labels", "", file, ""},
		{"no security driver", `<seclabel type='none' model='none'/>`, file, ""},
		{"labels that libvirt leaves alone", `<seclabel type='static' model='dac' relabel='no'/>`, file, ""},
		{"a profile is not on the image", `<seclabel type='dynamic' model='apparmor' relabel='yes'/>`, file, ""},
		{"an image whose labels stay", dac, `<disk type='file'><source file='/nfs/b'><seclabel model='dac' relabel='no'/></source><target dev='sda'/></disk>`, ""},
		{"a read-only image", dac, `<disk type='file'><source file='/nfs/b.iso'/><target dev='sda'/><readonly/></disk>`, ""},
		{"a shareable image", dac, `<disk type='file'><source file='/nfs/b'/><target dev='sda'/><shareable/></disk>`, ""},
		{"a device node", dac, `<disk type='block'><source dev='/dev/mapper/a'/><target dev='sda'/></disk>`, ""},
		{"no disks", dac, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := diskTakenAway(fmt.Sprintf(`<domain type='kvm'><devices>%s</devices>%s</domain>`, tt.disks, tt.labels))
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	if _, err := diskTakenAway("<domain>"); err == nil {
		t.Error("broken XML is read")
	}
}
