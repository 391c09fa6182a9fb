package simulation

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// backupBytes is the size that all backups have, by which they are known where they must not
// show.
const backupBytes = 7_777_777_777_777

// lockWait is how long libvirt lets a call wait for a job to end.
const lockWait = 30 * time.Second

// backups are the jobs of a host that are none of ours: virsh backup-begin. The fleet does
// not know them.
type backups struct {
	mu sync.Mutex
	// running are closed at their ends, and last says of which guests a backup was the job
	// that has ended last.
	running map[string]chan struct{}
	last    map[string]bool
}

func backupStats(kind hypervisor.JobType) hypervisor.JobStats {
	return hypervisor.JobStats{
		Type: kind, Operation: hypervisor.OperationOther, Elapsed: time.Second,
		Memory: hypervisor.Transfer{TotalBytes: backupBytes, ProcessedBytes: backupBytes / 2},
	}
}

// begin begins one, unless there is one already.
func (b *backups) begin(uuid string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running[uuid] != nil {
		return false
	}
	b.running[uuid] = make(chan struct{})
	return true
}

func (b *backups) end(uuid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if done := b.running[uuid]; done != nil {
		close(done)
		delete(b.running, uuid)
		b.last[uuid] = true
	}
}

// stats puts a backup in the place of no job.
func (b *backups) stats(uuid string, job hypervisor.JobStats) hypervisor.JobStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running[uuid] != nil && job.Type == hypervisor.JobNone {
		return backupStats(hypervisor.JobUnbounded)
	}
	return job
}

// completed puts one that has ended in the place of what was before.
func (b *backups) completed(uuid string, job hypervisor.JobStats) hypervisor.JobStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last[uuid] {
		return backupStats(hypervisor.JobCompleted)
	}
	return job
}

// await has a migration wait until there is no backup any more, as libvirt does.
func (b *backups) await(ctx context.Context, uuid string) error {
	b.mu.Lock()
	done := b.running[uuid]
	b.mu.Unlock()
	if done != nil {
		t := time.NewTimer(lockWait)
		defer t.Stop()
		select {
		case <-done:
		case <-ctx.Done():
		case <-t.C:
			return fake.Error(hypervisor.KindBusy, "Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainBackupBegin)")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.last, uuid)
	return nil
}

// backUp begins a backup, where no job is in its way.
func backUp(w *world, a act) {
	n, uuid := w.hosts[a.Node], w.guests[a.Guest].uuid
	if !w.fleet.Copies(uuid)[n.name].Active() || !w.observer.idle(uuid) || !n.backups.begin(uuid) {
		return
	}
	w.later(a.Length, func() {
		n.backups.end(uuid)
		n.libvirt.Emit(hypervisor.Event{Type: hypervisor.EventJobCompleted, UUID: uuid, Stats: backupStats(hypervisor.JobCompleted)})
	})
}

// idle reports whether nobody moves a guest.
func (o *observer) idle(uuid string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ours := o.jobs.running[uuid]
	return !ours && o.jobs.byHand[uuid] == 0
}

// isBackup is how a backup would show in a status.
var isBackup = strconv.Itoa(backupBytes)
