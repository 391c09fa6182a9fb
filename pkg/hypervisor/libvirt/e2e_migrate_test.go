//go:build e2e

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

// paramsFor describes a migration to a host as it is, for guests whose
// definition names no address.
func paramsFor(t *testing.T, c *Client, uuid string, to *lab.Host) hypervisor.MigrateParams {
	t.Helper()
	live, err := c.DomainXML(t.Context(), uuid, hypervisor.XMLMigratable)
	if err != nil {
		t.Fatal(err)
	}
	params := hypervisor.MigrateParams{DestinationURI: to.PeerURI(), LiveXML: live}
	domain, err := c.LookupDomain(t.Context(), uuid)
	if err != nil {
		t.Fatal(err)
	}
	if domain.Persistent {
		params.Persist = true
		if params.PersistentXML, err = c.DomainXML(t.Context(), uuid, hypervisor.XMLInactive); err != nil {
			t.Fatal(err)
		}
	}
	return params
}

// startMigration starts a migration and returns what it will return.
func startMigration(ctx context.Context, c hypervisor.Migrator, uuid string, params hypervisor.MigrateParams) <-chan error {
	result := make(chan error, 1)
	go func() { result <- c.Migrate(ctx, uuid, params) }()
	return result
}

// awaitCopying returns once memory is being copied.
func awaitCopying(t *testing.T, c hypervisor.Migrator, uuid string) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		stats, err := c.JobStats(t.Context(), uuid)
		if err == nil && !(stats.MigratingOut() && stats.Memory.ProcessedBytes > 0) {
			err = fmt.Errorf("job is %+v", stats)
		}
		return err
	})
}

func TestE2EMigrate(t *testing.T) {
	a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "traveller", Persistent: true, Load: lab.Load{WorkingSetMiB: 32, DirtyMiBps: 8}})
	uuid := guest.UUID()
	onA, onB := record(t, a, uuid), record(t, b, uuid)
	if _, err := guest.Ticks().Wait(t.Context(), "node-a", 2); err != nil {
		t.Fatal(err)
	}
	samples := sampleJobs(t, nodeA(), nodeB(), uuid)
	params := paramsFor(t, a, uuid, nodeB())
	params.BandwidthMiBps = 40
	begin := time.Now()
	if err := a.Migrate(t.Context(), uuid, params); err != nil {
		t.Fatal(err)
	}
	t.Logf("migration took %v", time.Since(begin))
	samples.stop(t)
	onA.await(t, 0, "JobCompleted", 2*time.Second)
	t.Logf("on the source: %v", onA)
	t.Logf("on the destination: %v", onB)
	for _, event := range onA.all() {
		if event.Type == hypervisor.EventJobCompleted {
			t.Logf("final statistics: %+v", event.Stats)
		}
	}
	if _, err := a.LookupDomain(t.Context(), uuid); !hypervisor.IsNoDomain(err) {
		t.Errorf("the source still knows the domain: %v", err)
	}
	_, err := a.JobStats(t.Context(), uuid)
	wantKind(t, err, hypervisor.KindNoDomain)
	domain, err := b.LookupDomain(t.Context(), uuid)
	if err != nil || domain.State != hypervisor.StateRunning || domain.Reason != hypervisor.ReasonMigrated || !domain.Persistent {
		t.Errorf("the destination has %+v, %v", domain, err)
	}
	for range 2 {
		stats, err := b.CompletedJobStats(t.Context(), uuid)
		if err != nil || stats.Type != hypervisor.JobCompleted || stats.Operation != hypervisor.OperationMigrationIn || !stats.DowntimeKnown {
			t.Errorf("statistics on the destination are %+v, %v", stats, err)
		}
		t.Logf("statistics on the destination: %+v", stats)
	}
	if err := a.AbortJob(t.Context(), uuid); err != nil {
		t.Errorf("aborting where the domain is gone: %v", err)
	}
	if err := b.AbortJob(t.Context(), uuid); err != nil {
		t.Errorf("aborting where there is no job: %v", err)
	}
	wantKind(t, b.Undefine(t.Context(), uuid), hypervisor.KindOperationInvalid)
	wantKind(t, b.DestroyIncoming(t.Context(), uuid), hypervisor.KindOperationInvalid)
	if err := a.DestroyIncoming(t.Context(), uuid); err != nil {
		t.Errorf("destroying what is not there: %v", err)
	}
}

func TestE2EAbortJob(t *testing.T) {
	a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "returner", Persistent: true})
	uuid := guest.UUID()
	onA, onB := record(t, a, uuid), record(t, b, uuid)
	params := paramsFor(t, a, uuid, nodeB())
	params.BandwidthMiBps = 4
	result := startMigration(t.Context(), a, uuid, params)
	awaitCopying(t, a, uuid)

	incoming, err := b.JobStats(t.Context(), uuid)
	if err != nil || !incoming.Active() || incoming.Operation != hypervisor.OperationMigrationIn {
		t.Errorf("job on the destination is %+v, %v", incoming, err)
	}
	wantKind(t, b.AbortJob(t.Context(), uuid), hypervisor.KindOperationInvalid)
	wantKind(t, a.DestroyIncoming(t.Context(), uuid), hypervisor.KindOperationInvalid)
	wantKind(t, a.Migrate(t.Context(), uuid, params), hypervisor.KindOperationInvalid)
	if err := a.SetMaxDowntime(t.Context(), uuid, 250); err != nil {
		t.Error(err)
	}
	if err := a.SetBandwidth(t.Context(), uuid, 5); err != nil {
		t.Error(err)
	}

	samples := sampleJobs(t, nodeA(), nodeB(), uuid)
	begin := time.Now()
	if err := a.AbortJob(t.Context(), uuid); err != nil {
		t.Fatal(err)
	}
	t.Logf("abort took %v", time.Since(begin))
	if err := a.AbortJob(t.Context(), uuid); err != nil {
		t.Errorf("aborting twice: %v", err)
	}
	select {
	case err := <-result:
		wantKind(t, err, hypervisor.KindAborted)
		t.Logf("migrate returned %v after the abort: %v", time.Since(begin), err)
	case <-time.After(20 * time.Second):
		t.Fatal("migrate did not return")
	}
	samples.stop(t)
	domain, err := a.LookupDomain(t.Context(), uuid)
	if err != nil || domain.State != hypervisor.StateRunning {
		t.Errorf("the source has %+v, %v", domain, err)
	}
	onB.await(t, 0, "Stopped/Failed", 5*time.Second)
	_, err = b.LookupDomain(t.Context(), uuid)
	wantKind(t, err, hypervisor.KindNoDomain)
	t.Logf("on the source: %v", onA)
	t.Logf("on the destination: %v", onB)
	stats, err := a.CompletedJobStats(t.Context(), uuid)
	t.Logf("statistics of the aborted job: %+v, %v", stats, err)
}

// TestE2EMigrationOutlivesItsCaller ends a context and then a whole client in
// the middle of a migration.
func TestE2EMigrationOutlivesItsCaller(t *testing.T) {
	a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "orphan"})
	uuid := guest.UUID()
	onB := record(t, b, uuid)
	params := paramsFor(t, a, uuid, nodeB())
	params.BandwidthMiBps = 16
	ctx, cancel := context.WithCancel(t.Context())
	result := startMigration(ctx, a, uuid, params)
	awaitCopying(t, a, uuid)
	cancel()
	select {
	case err := <-result:
		wantKind(t, err, hypervisor.KindCanceled)
	case <-time.After(time.Second):
		t.Fatal("migrate did not return")
	}
	stats, err := a.JobStats(t.Context(), uuid)
	if err != nil || !stats.MigratingOut() {
		t.Errorf("job is %+v, %v", stats, err)
	}
	onB.await(t, 0, "Resumed/Migrated", 30*time.Second)
	eventually(t, 10*time.Second, func() error {
		_, err := a.LookupDomain(t.Context(), uuid)
		if hypervisor.IsNoDomain(err) {
			return nil
		}
		return errors.Join(errors.New("the source still has the domain"), err)
	})
}

// TestE2EDestroyIncoming removes a shell whose source's daemon hangs.
func TestE2EDestroyIncoming(t *testing.T) {
	a, b := startClient(t, nodeA(), Config{CallTimeout: 2 * time.Second}), startClient(t, nodeB(), Config{})
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "shell", Persistent: true})
	uuid := guest.UUID()
	params := paramsFor(t, a, uuid, nodeB())
	params.BandwidthMiBps = 2
	result := startMigration(t.Context(), a, uuid, params)
	awaitCopying(t, a, uuid)
	signalDaemon(t, nodeA(), syscall.SIGSTOP)
	t.Cleanup(func() { _ = nodeA().KillLibvirtd(context.Background(), syscall.SIGCONT) })
	domain, err := b.LookupDomain(t.Context(), uuid)
	if err != nil || domain.State != hypervisor.StatePaused || domain.Reason != hypervisor.ReasonMigration {
		t.Fatalf("the destination has %+v, %v", domain, err)
	}
	begin := time.Now()
	if err := b.DestroyIncoming(t.Context(), uuid); err != nil {
		t.Fatal(err)
	}
	t.Logf("destroying took %v", time.Since(begin))
	if err := b.DestroyIncoming(t.Context(), uuid); err != nil {
		t.Errorf("destroying twice: %v", err)
	}
	signalDaemon(t, nodeA(), syscall.SIGCONT)
	select {
	case err := <-result:
		t.Logf("migrate returned %v", err)
		wantKind(t, err, hypervisor.KindOther)
	case <-time.After(60 * time.Second):
		t.Fatal("migrate did not return")
	}
	domain, err = a.LookupDomain(t.Context(), uuid)
	if err != nil || domain.State != hypervisor.StateRunning {
		t.Errorf("the source has %+v, %v", domain, err)
	}
}

// TestE2EPostCopyIsNotLimited limits a migration, which the client library takes
// for a limit of post-copy, too, and switches.
func TestE2EPostCopyIsNotLimited(t *testing.T) {
	const limit = 8 // MiB per second.
	a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "late", Persistent: true, Load: lab.Load{WorkingSetMiB: 64, DirtyMiBps: 20}})
	uuid := guest.UUID()
	onA, onB := record(t, a, uuid), record(t, b, uuid)
	if _, err := guest.Ticks().Wait(t.Context(), "node-a", 2); err != nil {
		t.Fatal(err)
	}
	samples := sampleJobs(t, nodeA(), nodeB(), uuid)
	params := paramsFor(t, a, uuid, nodeB())
	params.BandwidthMiBps, params.PostCopy = limit, true
	result := startMigration(t.Context(), a, uuid, params)
	awaitCopying(t, a, uuid)
	stats, err := a.JobStats(t.Context(), uuid)
	check(t, err)
	least := time.Duration(stats.Memory.RemainingBytes/(limit<<20)) * time.Second
	begin := time.Now()
	check(t, a.StartPostCopy(t.Context(), uuid))
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	t.Logf("post-copy of %d MiB took %v", stats.Memory.RemainingBytes>>20, took)
	if took > least/2 {
		t.Errorf("post-copy took %v, and would have taken %v at the migration's limit", took, least)
	}
	onA.await(t, 0, "Suspended/Postcopy", time.Second)
	onB.await(t, 0, "Resumed/Postcopy", time.Second)
	onB.await(t, 0, "Resumed/Migrated", 5*time.Second)
	onA.await(t, 0, "JobCompleted", 5*time.Second)
	samples.stop(t)
	t.Logf("on the source: %v", onA)
	t.Logf("on the destination: %v", onB)
	for _, event := range onA.all() {
		if event.Type == hypervisor.EventJobCompleted && (!event.Stats.DowntimeKnown || event.Stats.Downtime > time.Second) {
			t.Errorf("final statistics are %+v", event.Stats)
		}
	}
	// No time is spent on a guest that does not run.
	if _, err := guest.Ticks().Wait(t.Context(), "node-b", 2); err != nil {
		t.Error(err)
	}
}

// TestE2EAutoConverge sees a guest slowed down that writes faster than is copied,
// and lets it go then.
func TestE2EAutoConverge(t *testing.T) {
	a := startClient(t, nodeA(), Config{})
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "restless", Load: lab.Load{WorkingSetMiB: 32, DirtyMiBps: 60}})
	uuid := guest.UUID()
	if _, err := guest.Ticks().Wait(t.Context(), "node-a", 2); err != nil {
		t.Fatal(err)
	}
	params := paramsFor(t, a, uuid, nodeB())
	params.BandwidthMiBps = 16
	params.AutoConverge = &hypervisor.AutoConverge{InitialPercent: 35, IncrementPercent: 15}
	result := startMigration(t.Context(), a, uuid, params)
	begin := time.Now()
	eventually(t, time.Minute, func() error {
		stats, err := a.JobStats(t.Context(), uuid)
		if err == nil && stats.AutoConvergeThrottlePercent != 35 && stats.AutoConvergeThrottlePercent != 50 {
			err = fmt.Errorf("the job is %+v", stats)
		}
		return err
	})
	stats, err := a.JobStats(t.Context(), uuid)
	t.Logf("slowed down after %v: %+v, %v", time.Since(begin), stats, err)
	if stats.MemoryPageBytes == 0 || stats.MemoryDirtyBytesPerSecond == 0 || !stats.DowntimeKnown || stats.Setup == 0 {
		t.Errorf("statistics are %+v", stats)
	}
	check(t, a.SetMaxDowntime(t.Context(), uuid, 60_000))
	if limit, err := a.MaxDowntime(t.Context(), uuid); err != nil || limit != 60_000 {
		t.Errorf("the limit is %d, %v", limit, err)
	}
	begin = time.Now()
	if err := <-result; err != nil {
		t.Error(err)
	}
	t.Logf("migrated %v after its limit was raised", time.Since(begin))
}

// TestE2EHungGuestStopsNobodyElse stops the QEMU of a guest that is being
// migrated, so that libvirtd waits for it on behalf of every caller.
func TestE2EHungGuestStopsNobodyElse(t *testing.T) {
	const timeout = 2 * time.Second
	a := startClient(t, nodeA(), Config{CallTimeout: timeout})
	hung := startGuest(t, nodeA(), lab.GuestConfig{Name: "hung"})
	other := startGuest(t, nodeA(), lab.GuestConfig{Name: "lively"})
	params := paramsFor(t, a, hung.UUID(), nodeB())
	params.BandwidthMiBps = 2
	result := startMigration(t.Context(), a, hung.UUID(), params)
	awaitCopying(t, a, hung.UUID())
	pid, err := nodeA().QEMUPID("hung")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			begin := time.Now()
			_, err := a.JobStats(t.Context(), hung.UUID())
			wantKind(t, err, hypervisor.KindTimeout)
			if took := time.Since(begin); took > timeout+200*time.Millisecond {
				t.Errorf("call took %v", took)
			}
		})
	}
	var longest time.Duration
	for range 100 {
		begin := time.Now()
		if _, err := a.LookupDomain(t.Context(), other.UUID()); err != nil {
			t.Error(err)
		}
		longest = max(longest, time.Since(begin))
		time.Sleep(timeout / 80)
	}
	domains, err := a.ListDomains(t.Context())
	if err != nil || len(domains) != 2 {
		t.Errorf("domains are %+v, %v", domains, err)
	}
	group.Wait()
	t.Logf("the longest of 100 calls on the other guest took %v", longest)
	if longest > 500*time.Millisecond {
		t.Errorf("a call on the other guest took %v", longest)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error { return a.AbortJob(t.Context(), hung.UUID()) })
	wantKind(t, <-result, hypervisor.KindAborted)
}
