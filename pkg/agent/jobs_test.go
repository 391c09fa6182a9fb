package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestTheLoadFollowsAJob from its first look to its end.
func TestTheLoadFollowsAJob(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		if load := w.a.node.Load(); load.Sending != 0 || len(load.Jobs) != 0 {
			t.Errorf("at first the load is %+v", load)
		}
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		load := w.a.node.Load()
		if load.Sending != 1 || load.Receiving != 0 || w.b.node.Load().Receiving != 1 || len(load.Jobs) != 1 {
			t.Fatalf("while it copies, the load is %+v", load)
		}
		job := load.Jobs[0]
		if job.Namespace != lm.Namespace || job.Name != lm.Name || job.Guest != "web" {
			t.Errorf("the job is called %s/%s of %s", job.Namespace, job.Name, job.Guest)
		}
		if job.MemoryRemainingBytes == 0 || job.DirtyBytesPerSecond == 0 || job.BytesPerSecond == 0 || load.SentBytes == 0 {
			t.Errorf("the job shows %+v, and %d bytes were sent", job, load.SentBytes)
		}
		// The guest writes faster than it is copied.
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		later := w.a.node.Load()
		if still := time.Since(later.Jobs[0].Moved); still < 5*time.Minute {
			t.Errorf("it stands still for %v only", still)
		}
		if later.SentBytes <= load.SentBytes {
			t.Errorf("%d bytes were sent, and then %d", load.SentBytes, later.SentBytes)
		}
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.settle(lm)
		time.Sleep(time.Minute)
		synctest.Wait()
		if load := w.a.node.Load(); load.Sending != 0 || len(load.Jobs) != 0 || load.SentBytes < later.SentBytes {
			t.Errorf("in the end the load is %+v", load)
		}
	})
}

// TestWhatAnotherProcessHasSentIsNotCounted again by the one that takes the job over.
func TestWhatAnotherProcessHasSentIsNotCounted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		time.Sleep(time.Minute)
		synctest.Wait()
		before := w.a.node.Load()
		w.a.restart()
		time.Sleep(time.Second)
		synctest.Wait()
		after := w.a.node.Load()
		if len(after.Jobs) != 1 || after.SentBytes >= before.SentBytes/2 {
			t.Errorf("%d bytes were sent in a minute, and then %d in a second: %+v", before.SentBytes, after.SentBytes, after.Jobs)
		}
	})
}

// TestAStandstillInPostCopy is one in which nothing is copied: no pass can gain anything.
func TestAStandstillInPostCopy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{
			UUID: guestUUID, Name: "web", Persistent: true, MemoryBytes: 64 << 30, DirtyBytesPerSecond: 128 << 30,
		})
		lm := w.migrateWith(guestUUID, keepGoing(true))
		// After a few passes that gain nothing.
		w.awaitPhase(lm, v1alpha1.PhasePostCopy)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		load := w.a.node.Load()
		if len(load.Jobs) != 1 || time.Since(load.Jobs[0].Moved) > 2*time.Second {
			t.Errorf("while memory follows, the load is %+v", load)
		}
		w.settle(lm)
	})
}

// TestTheLoadShowsTheNode as libvirt had it last.
func TestTheLoadShowsTheNode(t *testing.T) {
	whilePublishing(t, func(p *publishing) {
		p.host.AddGuest(fake.Guest{UUID: "22222222-2222-4222-8222-222222222222", Name: "db", Persistent: true, State: "Shutoff"})
		p.start()
		if load := p.node.Load(); !load.Connected || load.Active != 1 || load.Inactive != 1 {
			t.Errorf("the load is %+v", load)
		}
		p.host.Disconnect()
		p.pass(publishInterval)
		if load := p.node.Load(); load.Connected || load.Active != 1 || load.Inactive != 1 {
			t.Errorf("without libvirt the load is %+v", load)
		}
		p.host.Reconnect()
		p.pass(time.Second)
		if !p.node.Load().Connected {
			t.Error("it does not show that libvirt is back")
		}
	})
}
