package libvirt

import "testing"

func TestMachineType(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<domain type='kvm'><name>a</name><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os></domain>": "pc-q35-7.2",
		"<domain><os><type>hvm</type></os></domain>":                                                             "",
		"<domain/>": "",
	} {
		if got, err := machineType(text); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	if _, err := machineType("<domain>"); err == nil {
		t.Error("half a definition is read")
	}
}
