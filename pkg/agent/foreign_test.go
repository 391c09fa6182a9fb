package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestSomebodyElsesPostCopyIsNotOursForTheNextAgent: the source's agent is replaced, and QEMU
// is too busy with their post-copy to be asked about the job when the next agent looks for the
// first time. It does not know that theirs was foreign; but no job of ours was ever seen.
func TestSomebodyElsesPostCopyIsNotOursForTheNextAgent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		a := w.fleet.Host("node-a")
		theirs, release := w.theirsFirst()
		gate := w.fleet.Hold(guestUUID, fake.StageSwitched)
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.await(lm, "the start", migration.Started)
		time.Sleep(5 * time.Second)
		w.a.stop()
		if err := a.StartPostCopy(t.Context(), guestUUID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a.FailNext(fake.MethodJobStats, &hypervisor.Error{Kind: hypervisor.KindTimeout, Message: "libvirt did not answer in time"})
		w.a.start()
		time.Sleep(20 * time.Second)
		if s := w.api.get(lm).Status.Source; s.Steering != nil && s.Steering.PostCopyTime != nil {
			t.Errorf("theirs is taken for ours: %+v", s.Steering)
		}
		gate.Release()
		<-theirs
		release()
		w.settle(lm)
	})
}

// TestSomebodyElsesPostCopyIsNotSaidToBeLost: libvirt has refused our call, as somebody else's
// migration was under way, to a third host. Theirs switches to post-copy then: the guest
// runs on the third host, and needs the half on the source. Our target has nothing of it.
func TestSomebodyElsesPostCopyIsNotSaidToBeLost(t *testing.T) {
	// One that is hardly older than our call cannot be told from ours until that is refused.
	for _, age := range []time.Duration{50 * time.Millisecond, 2 * time.Second} {
		inWorld(t, func(w *world) { w.someoneElsesPostCopy(age) })
	}
}

func (w *world) someoneElsesPostCopy(age time.Duration) {
	w.busy()
	theirs := w.theirsBefore(age, func() {})
	gate := w.fleet.Hold(guestUUID, fake.StageSwitched)
	lm := w.migrateWith(guestUUID, keepGoing(true))
	lm = w.await(lm, "the end of our call", func(lm *v1alpha1.LiveMigration) bool {
		return lm.Status.Source != nil && lm.Status.Source.End != nil
	})
	time.Sleep(5 * time.Second)
	if err := w.fleet.Host("node-a").StartPostCopy(w.t.Context(), guestUUID); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(20 * time.Second)
	w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
	now := w.api.get(lm)
	message := now.Status.Conditions[0].Message
	if now.Status.Source.End.Domain.Reason != "Postcopy" || strings.Contains(message, "lost") || strings.Contains(message, "destroy") {
		w.t.Errorf("of a guest that runs on another host in post-copy, it is said: %s", message)
	}
	gate.Release()
	<-theirs
}

// TestSomebodyElsesPostCopyRightAfterOursIsNotOurs: the answer to our call is lost while it
// fails. Before that counts as its end, somebody moves the guest to a third host, and switches
// to post-copy.
func TestSomebodyElsesPostCopyRightAfterOursIsNotOurs(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.fleet.Host("node-a")
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		a.LoseConnection()
		if err := a.AbortJob(t.Context(), guestUUID); err != nil {
			t.Fatal(err)
		}
		gate := w.fleet.Hold(guestUUID, fake.StageSwitched)
		time.Sleep(time.Second)
		theirs := make(chan error, 1)
		go func() {
			theirs <- a.Migrate(context.Background(), guestUUID, hypervisor.MigrateParams{
				DestinationURI: w.fleet.Host("node-c").URI(), LiveXML: "<domain/>", PostCopy: true,
			})
		}()
		time.Sleep(500 * time.Millisecond)
		if err := a.StartPostCopy(t.Context(), guestUUID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
		now := w.api.get(lm)
		if s := now.Status.Source; s.Steering.PostCopyTime != nil {
			t.Errorf("theirs is taken for ours: %s", now.Status.Conditions[0].Message)
		}
		if message := now.Status.Conditions[0].Message; strings.Contains(message, "lost") || strings.Contains(message, "destroy") {
			t.Errorf("of a guest that runs on another host in post-copy, it is said: %s", message)
		}
		gate.Release()
		<-theirs
	})
}
