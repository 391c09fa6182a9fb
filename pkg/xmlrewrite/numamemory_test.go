package xmlrewrite

import (
	"strings"
	"testing"
)

func TestSGXSectionWithoutACellIsMovedAlone(t *testing.T) {
	t.Parallel()
	guest := smallGuest(oneVCPU, "<memory model='sgx-epc'><source><nodemask>1</nodemask></source><target><size unit='KiB'>16384</size></target></memory>")
	if o := planSmall(t, guest, "numa: {memoryNodes: '0'}", Options{}); strings.Contains(o.xml, "numatune") || !strings.Contains(o.xml, "<nodemask>0</nodemask>") {
		t.Errorf("all of the guest's memory is bound now: %s%s", o.problems, o.xml)
	}
}
