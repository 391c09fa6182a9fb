package agent

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// clockInterval is the time between two tries to have a guest's clock set.
const clockInterval = 500 * time.Millisecond

// setClock has the clock of a guest set that has just arrived, and notes what came of it. The
// agent in the guest may need a moment to notice that there is somebody to talk to; whoever
// dies meanwhile has it set again by the next process, which does no harm.
func (s *targetSession) setClock(ctx context.Context, section *v1alpha1.TargetStatus) {
	if !migration.GuestClockDue(s.lm, section) {
		return
	}
	if source := migration.CurrentSource(s.lm); source != nil && source.End == nil {
		s.out.report(section.DeepCopy(), atOnce) // Where the guest is does not wait for its clock.
	}
	clock := &v1alpha1.GuestClock{State: v1alpha1.GuestClockSet}
	for begun := s.node.Clock.Now(); ; {
		err := s.hv.SetGuestTime(ctx, s.lm.Status.DomainUUID, s.node.Clock.Now())
		if ctx.Err() != nil {
			return // The next agent tries again.
		}
		if err == nil {
			break
		}
		hopeless := hypervisor.KindOf(err) == hypervisor.KindConfigUnsupported || hypervisor.IsNoDomain(err)
		if hopeless || s.node.Clock.Since(begun) >= migration.GuestClockPatience {
			s.log.Error(err, "The guest's clock was not set")
			clock.State, clock.Message = v1alpha1.GuestClockFailed, migration.Shorten(messageOf(err), migration.MaxMessage)
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-s.node.Clock.After(clockInterval):
		}
	}
	clock.Time = metav1.NewMicroTime(s.node.Clock.Now())
	section.GuestClock = clock
}
