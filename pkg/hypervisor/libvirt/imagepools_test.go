package libvirt

import (
	"strconv"
	"testing"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestWhichPoolsAreEnded: our own, and those that nobody can be using any more.
func TestWhichPoolsAreEnded(t *testing.T) {
	now := time.Unix(1800000000, 0)
	ours, other := newImagePools(now), newImagePools(now.Add(-time.Hour))
	at := func(age time.Duration) string { return strconv.FormatInt(now.Add(-age).UnixNano(), 36) }
	for name, want := range map[string]bool{
		ours.made + at(0):              true,
		ours.made + at(time.Hour):      true,
		other.made + at(time.Minute):   false,
		other.made + at(time.Hour):     true,
		ownPools + at(time.Minute):     false, // Of an older version.
		ownPools + at(time.Hour):       true,
		other.made + at(-24*time.Hour): true, // The clock was wrong.
		ownPools + "what?":             true,
		"default":                      false,
		"images-" + at(time.Hour):      false,
	} {
		if got := ours.ends(name, now); got != want {
			t.Errorf("%s is ended: %t", name, got)
		}
	}
}

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
