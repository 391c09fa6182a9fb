package fake

import (
	"cmp"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// QEMU's numbers: a guest is slowed down each second time that it writes to
// more than half as much as was sent.
const (
	throttleTrigger   = 50 // Percent.
	throttlePatience  = 2
	throttleInitial   = 20 // Percent.
	throttleIncrement = 10 // Percent.
	throttleMost      = 99 // Percent.
)

// throttle is by how much a guest is slowed down so that its migration converges.
type throttle struct {
	percent uint64
	high    int
}

// adjust looks at a pass that is over.
func (t *throttle) adjust(config *hypervisor.AutoConverge, dirtied, sent uint64) {
	if config == nil || dirtied <= sent*throttleTrigger/100 {
		return
	}
	t.high++
	if t.high < throttlePatience {
		return
	}
	t.high = 0
	if t.percent == 0 {
		t.percent = uint64(cmp.Or(config.InitialPercent, throttleInitial))
	} else {
		t.percent += uint64(cmp.Or(config.IncrementPercent, throttleIncrement))
	}
	t.percent = min(t.percent, throttleMost)
}
