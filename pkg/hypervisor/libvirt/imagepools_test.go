package libvirt

import (
	"testing"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestAPoolThatHasGone is no answer about what was in it.
func TestAPoolThatHasGone(t *testing.T) {
	gone := lv.Error{Code: lv.ERR_NO_STORAGE_POOL, Message: "no storage pool with matching uuid 'x' (" + ownPools + "a-b)"}
	if kind := hypervisor.KindOf(convert("looking", asEnded("looking", gone))); kind != hypervisor.KindBusy {
		t.Errorf("the kind is %s", kind)
	}
	for _, other := range []lv.Error{
		{Code: lv.ERR_NO_STORAGE_POOL, Message: "no storage pool with matching uuid 'x' (default)"},
		{Code: lv.ERR_NO_STORAGE_VOL, Message: "no storage vol with matching name 'a' in " + ownPools},
	} {
		if kind := hypervisor.KindOf(convert("looking", asEnded("looking", other))); kind == hypervisor.KindBusy {
			t.Errorf("%v is taken for a pool of ours that has gone", other)
		}
	}
}
