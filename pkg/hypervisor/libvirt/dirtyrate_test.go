package libvirt

import (
	"testing"

	lv "libvirt.org/go/libvirt"
)

// TestWhenADirtyRateIsMeasured: libvirt tells of one that is not, too.
func TestWhenADirtyRateIsMeasured(t *testing.T) {
	t.Parallel()
	done := int(lv.DOMAIN_DIRTYRATE_MEASURED)
	for name, c := range map[string]struct {
		rate *lv.DomainStatsDirtyRate
		want bool
	}{
		"nothing":          {nil, false},
		"no status":        {&lv.DomainStatsDirtyRate{MegabytesPerSecondSet: true}, false},
		"being measured":   {&lv.DomainStatsDirtyRate{CalcStatusSet: true, CalcStatus: int(lv.DOMAIN_DIRTYRATE_MEASURING)}, false},
		"measured":         {&lv.DomainStatsDirtyRate{CalcStatusSet: true, CalcStatus: done, MegabytesPerSecondSet: true, MegabytesPerSecond: 3}, true},
		"nothing written":  {&lv.DomainStatsDirtyRate{CalcStatusSet: true, CalcStatus: done, MegabytesPerSecondSet: true}, true},
		"without a rate":   {&lv.DomainStatsDirtyRate{CalcStatusSet: true, CalcStatus: done}, false},
		"a negative value": {&lv.DomainStatsDirtyRate{CalcStatusSet: true, CalcStatus: done, MegabytesPerSecondSet: true, MegabytesPerSecond: -1}, false},
	} {
		if got := measured(c.rate); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
