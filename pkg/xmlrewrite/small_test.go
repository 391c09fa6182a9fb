package xmlrewrite

import "testing"

const oneVCPU = "<vcpu>1</vcpu>"

// smallGuest is a guest with hardly anything but what a test is about.
func smallGuest(top, devices string) string {
	return "<domain type='kvm'>\n  <name>g</name>\n  <uuid>6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d</uuid>\n" +
		"  <memory unit='MiB'>64</memory>\n  " + top + "\n  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>\n" +
		"  <devices>\n    " + devices + "\n  </devices>\n</domain>\n"
}

// outcome is what became of a plan, as text.
type outcome struct {
	xml, warnings, problems string
}

func (o outcome) silent() bool { return o.warnings == "" && o.problems == "" }

// planSmall is planOf with what became of the plan as text.
func planSmall(t *testing.T, guest, data string, opts Options) outcome {
	t.Helper()
	plan, problems := planOf(t, guest, data, opts)
	if plan == nil {
		return outcome{problems: problems.Error()}
	}
	return outcome{plan.Apply(), plan.Warnings().Error(), ""}
}
