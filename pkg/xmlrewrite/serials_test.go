package xmlrewrite

import (
	"strings"
	"testing"
)

func TestSerialsThatDifferInBlanksAreToldApart(t *testing.T) {
	t.Parallel()
	guest := smallGuest(oneVCPU, "<disk type='file'><source file='/a'/><target dev='vda'/><serial> A</serial></disk><disk type='file'><source file='/b'/><target dev='vdb'/><serial>A</serial></disk>")
	o := planSmall(t, guest, "volumes: [{serial: ' A', source: {file: {path: /c}}}, {serial: A, source: {file: {path: /d}}}]", Options{})
	if !strings.Contains(o.xml, "<source file='/c'/><target dev='vda'/>") || !strings.Contains(o.xml, "<source file='/d'/><target dev='vdb'/>") {
		t.Errorf("each entry is the serial of one disk exactly: %s%s", o.problems, o.xml)
	}
	one := smallGuest(oneVCPU, "<disk type='file'><source file='/a'/><target dev='vda'/><serial> A</serial></disk>")
	if o := planSmall(t, one, "volumes: [{serial: A}]", Options{}); o.problems != "" {
		t.Errorf("blanks matter although there is one disk: %s", o.problems)
	}
}
