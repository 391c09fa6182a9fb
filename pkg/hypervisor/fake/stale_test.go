package fake

import (
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestArrivalIsNotHeardOf(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		p.fleet.ScriptNext(vm, Script{Ending: EndsUnheard})
		result := p.start(p.Context(), p.slowly())
		time.Sleep(15 * time.Second)
		if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.wantKind(<-result, hypervisor.KindPeerLost)
		for range 2 {
			p.want(p.a, "Paused/PostcopyFailed persistent")
			p.want(p.b, "Running/Migrated persistent")
			p.wantKind(p.a.RecoverPostCopy(p.Context(), vm, p.slowly()), hypervisor.KindOperationInvalid)
			if stats := p.stats(p.a); !stats.MigratingOut() {
				t.Errorf("statistics are %+v", stats)
			}
			time.Sleep(time.Hour)
		}
		p.wantKind(p.b.DestroyStale(p.Context(), vm), hypervisor.KindOperationInvalid)
		p.wantKind(p.a.DestroyIncoming(p.Context(), vm), hypervisor.KindOperationInvalid)
		if err := p.a.DestroyStale(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.want(p.a, "Shutoff/Destroyed persistent")
		p.want(p.b, "Running/Migrated persistent")
	})
}

// TestHalfThatIsNeededIsNotStale destroys it all the same, which loses the guest.
func TestHalfThatIsNeededIsNotStale(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		p.fleet.ScriptNext(vm, Script{Ending: EndsPostCopyBroken})
		result := p.start(p.Context(), p.slowly())
		time.Sleep(15 * time.Second)
		if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * switchTime)
		p.want(p.b, "Running/Postcopy persistent")
		if err := p.a.DestroyStale(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.wantKind(<-result, hypervisor.KindConnectionLost)
		p.want(p.b, "Running/PostcopyFailed persistent")
	})
}
