package agent

import (
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
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
		if load := w.b.node.Load(); load.Receiving != 0 {
			t.Errorf("in the end the target's load is %+v", load)
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

// TestWhatIsCountedAsSent: what was copied while this process has followed the job.
func TestWhatIsCountedAsSent(t *testing.T) {
	t.Parallel()
	type look struct {
		processed uint64
		whole     bool
	}
	for name, c := range map[string]struct {
		looks []look
		want  uint64
	}{
		"followed from its beginning":           {[]look{{100, true}, {250, true}}, 250},
		"taken over":                            {[]look{{100, false}, {250, false}, {300, false}}, 200},
		"counted anew by libvirt":               {[]look{{100, true}, {40, true}, {60, true}}, 120},
		"taken over when its call has returned": {[]look{{100, true}, {250, false}}, 250},
	} {
		var all jobs
		for _, l := range c.looks {
			all.put("uid", Job{processed: l.processed}, l.whole)
		}
		if _, sent := all.all(); sent != c.want {
			t.Errorf("%s: %d bytes were sent, want %d", name, sent, c.want)
		}
	}
}

// TestTheRestIsCountedAsSent: what was copied between the last look and the end is known from
// the final statistics, which come before libvirt's call returns, or after.
func TestTheRestIsCountedAsSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(all *jobs)
		want uint64
	}{
		"before the end": {func(all *jobs) {
			all.put("uid", Job{processed: 100}, true)
			all.complete("uid", 900, true)
			all.end("uid")
		}, 900},
		"after the end": {func(all *jobs) {
			all.put("uid", Job{processed: 100}, true)
			all.end("uid")
			all.complete("uid", 900, false)
		}, 900},
		"twice": {func(all *jobs) {
			all.put("uid", Job{processed: 100}, true)
			all.complete("uid", 900, true)
			all.complete("uid", 900, false)
		}, 900},
		"of a job that was over before the first look": {func(all *jobs) { all.complete("uid", 900, true) }, 900},
		"of a job that another process has followed":   {func(all *jobs) { all.complete("uid", 900, false) }, 0},
		"of a job that was taken over": {func(all *jobs) {
			all.put("uid", Job{processed: 100}, false)
			all.complete("uid", 900, false)
		}, 800},
	} {
		var all jobs
		c.act(&all)
		all.end("uid")
		jobs, sent := all.all()
		if sent != c.want || len(jobs) != 0 {
			t.Errorf("%s: %d bytes were sent, want %d, and there is %+v", name, sent, c.want, jobs)
		}
	}
}

// TestWhatAJobShowsWhileLibvirtKnowsNothing of it, as while it is being cancelled, is what was
// known before.
func TestWhatAJobShowsWhileLibvirtKnowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sourceSession{
			node: &Node{Clock: clock.RealClock{}}, lm: &v1alpha1.LiveMigration{}, section: &v1alpha1.SourceStatus{}, call: migration.CallInFlight,
		}
		known := hypervisor.JobStats{
			Memory: hypervisor.Transfer{TotalBytes: 1000, ProcessedBytes: 100, RemainingBytes: 900, BytesPerSecond: 7},
			Disk:   hypervisor.Transfer{TotalBytes: 50, ProcessedBytes: 10, RemainingBytes: 40},
		}
		for _, stats := range []hypervisor.JobStats{known, {Elapsed: time.Minute}, known} {
			s.now.job = stats
			s.noteJob()
			jobs, sent := s.node.jobs.all()
			if sent != 110 || len(jobs) != 1 || jobs[0].MemoryRemainingBytes != 900 || jobs[0].DiskRemainingBytes != 40 {
				t.Errorf("%d bytes were sent, and the job shows %+v", sent, jobs)
			}
		}
	})
}

// TestWhatAJobShows of what libvirt says: memory and disks are copied alike, and a job that
// can only end as it does moves while anything is copied.
func TestWhatAJobShows(t *testing.T) {
	for name, c := range map[string]struct {
		steering *v1alpha1.SteeringStatus
		// memory and disk are what is copied of them between two looks.
		memory, disk uint64
		// moved is whether the job has come closer to its end with the second.
		moved bool
	}{
		"it is not steered":                     {nil, 0, 0, true},
		"it is steered":                         {&v1alpha1.SteeringStatus{}, 0, 0, true},
		"it is being aborted, and stands still": {&v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{}}, 0, 0, false},
		"it is being aborted, and copies memory": {
			&v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{}}, 7, 0, true,
		},
		"it is being aborted, and copies a disk": {
			&v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{}}, 0, 7, true,
		},
		"it is in post-copy, and stands still": {&v1alpha1.SteeringStatus{PostCopyTime: new(metav1.NowMicro())}, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := &Node{Clock: clock.RealClock{}}
				s := &sourceSession{
					node: node, lm: &v1alpha1.LiveMigration{}, section: &v1alpha1.SourceStatus{Steering: c.steering}, call: migration.CallInFlight,
				}
				s.now.job.Memory.ProcessedBytes, s.now.job.Disk.ProcessedBytes = 100, 10
				s.noteJob()
				first := time.Now()
				time.Sleep(time.Minute)
				s.now.job.Memory.ProcessedBytes += c.memory
				s.now.job.Disk.ProcessedBytes += c.disk
				s.noteJob()
				want := first
				if c.moved {
					want = time.Now()
				}
				load := node.Load()
				if got := load.Jobs[0].Moved; !got.Equal(want) {
					t.Errorf("it was last closer to its end at %s, want %s", got, want)
				}
				if want := 110 + c.memory + c.disk; load.SentBytes != want {
					t.Errorf("%d bytes were sent, want %d", load.SentBytes, want)
				}
			})
		})
	}
}
