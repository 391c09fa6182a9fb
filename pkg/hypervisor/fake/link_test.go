package fake

import (
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestHostsPart: what is copied stands still while its hosts do not reach each other.
func TestHostsPart(t *testing.T) {
	copying := func(t *testing.T, do func(p *pair, result <-chan error)) {
		t.Helper()
		withPair(t, restless, func(p *pair) {
			result := p.start(p.Context(), p.slowly())
			time.Sleep(5 * time.Second)
			do(p, result)
		})
	}
	t.Run("for a moment", func(t *testing.T) {
		copying(t, func(p *pair, result <-chan error) {
			before := p.stats(p.a).Memory.RemainingBytes
			mend := p.fleet.Part(p.b, p.a)
			time.Sleep(keepalive - time.Second)
			if after := p.stats(p.a).Memory.RemainingBytes; after != before {
				t.Errorf("%d bytes remain, and %d before", after, before)
			}
			mend()
			mend()
			time.Sleep(time.Second)
			if after := p.stats(p.a).Memory.RemainingBytes; after >= before {
				t.Errorf("%d bytes remain, and %d before", after, before)
			}
			if err := p.a.AbortJob(p.Context(), vm); err != nil {
				t.Error(err)
			}
			p.wantKind(<-result, hypervisor.KindAborted)
		})
	})
	t.Run("for long", func(t *testing.T) {
		copying(t, func(p *pair, result <-chan error) {
			mend := p.fleet.Part(p.a, p.b)
			p.wantKind(<-result, hypervisor.KindPeerLost)
			p.want(p.a, "Running/Booted persistent")
			p.want(p.b, "")
			p.wantKind(p.a.Migrate(p.Context(), vm, p.slowly()), hypervisor.KindPeerLost)
			mend()
			again := p.start(p.Context(), p.slowly())
			time.Sleep(time.Second)
			p.want(p.b, "Paused/Migration")
			if err := p.a.AbortJob(p.Context(), vm); err != nil {
				t.Error(err)
			}
			p.wantKind(<-again, hypervisor.KindAborted)
		})
	})
	t.Run("in post-copy", func(t *testing.T) {
		copying(t, func(p *pair, result <-chan error) {
			halved := p.fleet.Hold(vm, StagePostCopy)
			if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
				t.Error(err)
			}
			<-halved.Reached()
			mend := p.fleet.Part(p.a, p.b)
			halved.Release()
			p.wantKind(<-result, hypervisor.KindPeerLost)
			p.want(p.a, "Paused/PostcopyFailed persistent")
			p.want(p.b, "Running/Postcopy persistent")
			p.wantKind(p.a.RecoverPostCopy(p.Context(), vm, p.slowly()), hypervisor.KindOperationInvalid)
			mend()
			time.Sleep(20 * time.Second)
			p.want(p.a, "Shutoff/Migrated persistent")
			p.want(p.b, "Running/Migrated persistent")
		})
	})
}
