package xmlrewrite

import (
	"strings"
	"testing"
)

func TestListenAddressForGraphicsThatListenOnNoneIsReported(t *testing.T) {
	t.Parallel()
	const data = "graphics: {spiceListenAddress: 192.0.2.3}"
	for listen, want := range map[string]bool{
		"<listen type='none'/>":                   true,
		"<listen type='socket' socket='/run/x'/>": true,
		"<listen type='network' network='n'/>":    true,
		"<listen type='address' address='::1'/>":  false,
		"<listen type='address'/>":                false,
		"":                                        false,
	} {
		guest := smallGuest(oneVCPU, "<graphics type='spice' autoport='yes'>"+listen+"</graphics>")
		if o := planSmall(t, guest, data, Options{}); strings.Contains(o.problems, "spiceListenAddress") != want {
			t.Errorf("%q: %q", listen, o.problems)
		}
	}
}
