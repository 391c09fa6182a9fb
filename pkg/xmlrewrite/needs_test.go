package xmlrewrite

import "testing"

// TestNeedsOfTheCPU: what some versions of libvirt refuse.
func TestNeedsOfTheCPU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cpu          string
		threads, vmx bool
	}{
		{"", false, false},
		{"<cpu mode='host-passthrough'/>", false, false},
		{"<cpu><topology sockets='2' dies='1' cores='4' threads='1'/></cpu>", false, false},
		{"<cpu><topology sockets='2' dies='1' cores='4'/></cpu>", false, false},
		{"<cpu><topology sockets='2' dies='1' cores='4' threads='2'/></cpu>", true, false},
		{"<cpu><feature policy='require' name='aes'/><feature policy='require' name='vmx'/></cpu>", false, true},
		{"<cpu><feature policy='force' name='vmx'/></cpu>", false, true},
		{"<cpu><feature name='vmx'/></cpu>", false, true},
		{"<cpu><feature policy='disable' name='vmx'/></cpu>", false, false},
		{"<cpu><feature policy='optional' name='vmx'/></cpu>", false, false},
		{"<cpu><feature policy='require' name='vmx-ept'/></cpu>", false, false},
	} {
		got, err := ReadNeeds("<domain>" + c.cpu + "<devices/></domain>")
		if err != nil || got.CPUThreads != c.threads || got.VMX != c.vmx {
			t.Errorf("%s: threads %t, vmx %t, %v", c.cpu, got.CPUThreads, got.VMX, err)
		}
	}
}
