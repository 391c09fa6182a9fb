package migration

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestFirmwareBlockers(t *testing.T) {
	const code, variables, template = "/usr/share/OVMF/OVMF_CODE.fd", "/nvram/web_VARS.fd", "/usr/share/OVMF/OVMF_VARS.fd"
	guest := &v1alpha1.GuestFirmware{CodePath: code, CodeBytes: 4096, VariablesPath: variables, VariablesBytes: 512, TemplatePath: template}
	unknown := *guest
	unknown.CodeBytes, unknown.VariablesBytes = 0, 0
	file := func(bytes uint64) hypervisor.ImageSight {
		return hypervisor.ImageSight{Exists: true, CapacityBytes: bytes}
	}
	none := hypervisor.ImageSight{}
	for _, c := range []struct {
		name                      string
		guest                     *v1alpha1.GuestFirmware
		code, variables, template *hypervisor.ImageSight
		want                      []string // What each message begins with, behind its code.
	}{
		{"a guest without any", nil, &none, &none, &none, nil},
		{"the same", guest, new(file(4096)), &none, new(file(512)), nil},
		{"the guest has been there", guest, new(file(4096)), new(file(512)), &none, nil},
		{"no firmware", guest, &none, new(file(512)), new(file(512)), []string{"FirmwareMissing node-b does not have the guest's firmware " + code}},
		{"a smaller firmware", guest, new(file(2048)), &none, new(file(512)), []string{"FirmwareDiffers The guest's firmware " + code + " has 2048 bytes on node-b, and must have 4096"}},
		{"nothing at all", guest, &none, &none, &none, []string{"FirmwareMissing node-b does not have the guest's firmware " + code, "FirmwareMissing node-b does not have the template of the variables of the guest's firmware " + template}},
		{"another template", guest, new(file(4096)), &none, new(file(1024)), []string{"FirmwareDiffers The template"}},
		{"the variables of another", guest, new(file(4096)), new(file(1024)), new(file(512)), []string{"FirmwareDiffers On node-b there is a file already for the variables of the guest's firmware, " + variables + ", of 1024 bytes, which must be 512"}},
		{"sizes that the source does not know", &unknown, new(file(1)), &none, new(file(2)), nil},
		{"a target that does not tell", guest, nil, nil, nil, nil},
		{"a target that tells of the template alone", guest, nil, nil, &none, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			sights := map[string]hypervisor.ImageSight{}
			for path, sight := range map[string]*hypervisor.ImageSight{code: c.code, variables: c.variables, template: c.template} {
				if sight != nil {
					sights[path] = *sight
				}
			}
			got := FirmwareBlockers("node-b", c.guest, sights)
			if len(got) != len(c.want) {
				t.Fatalf("got %+v", got)
			}
			for i, b := range got {
				if !strings.HasPrefix(string(b.Code)+" "+b.Message, c.want[i]) || !strings.Contains(b.Message, "create another LiveMigration") {
					t.Errorf("got %s %s, want %q", b.Code, b.Message, c.want[i])
				}
			}
		})
	}
}
