//go:build e2e

package libvirt

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

// setWorkers changes how many ordinary workers node-a's daemon has, until the test
// ends.
func setWorkers(t *testing.T, workers int) {
	t.Helper()
	set := func(ctx context.Context, least, most int) error {
		_, err := nodeA().Exec(ctx, "virt-admin", "srv-threadpool-set", "libvirtd",
			"--min-workers", strconv.Itoa(least), "--max-workers", strconv.Itoa(most))
		return err
	}
	if err := set(t.Context(), 1, workers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(context.Background(), 5, 20); err != nil {
			t.Error(err)
		}
	})
}

func TestE2EDaemonTellsHowManyWorkersItHas(t *testing.T) {
	c := startClient(t, nodeA(), Config{CallTimeout: time.Second})
	want := func(workers int, kind hypervisor.Kind) {
		t.Helper()
		got, err := c.MaxWorkers(t.Context())
		wantKind(t, err, kind)
		if got != workers {
			t.Errorf("the daemon has %d workers, want %d", got, workers)
		}
	}
	want(20, "")
	setWorkers(t, 30)
	want(30, "")

	signalDaemon(t, nodeA(), syscall.SIGSTOP)
	t.Cleanup(func() { _ = nodeA().KillLibvirtd(context.Background(), syscall.SIGCONT) })
	begin := time.Now()
	want(0, hypervisor.KindTimeout)
	if took := time.Since(begin); took > 1200*time.Millisecond {
		t.Errorf("a call to a daemon that hangs took %v", took)
	}
	want(0, hypervisor.KindTimeout) // Without a second call beside the one that hangs.
	signalDaemon(t, nodeA(), syscall.SIGCONT)
	eventually(t, 2*time.Second, func() error {
		_, err := c.MaxWorkers(t.Context())
		return err
	})
}

// TestE2EMigrationsOccupyWorkers is what the scripted hypervisor's workers are made
// after.
func TestE2EMigrationsOccupyWorkers(t *testing.T) {
	const workers = 2
	c := startClient(t, nodeA(), Config{CallTimeout: time.Second})
	var uuids []string
	var params []hypervisor.MigrateParams
	for i := range workers {
		guest := startGuest(t, nodeA(), lab.GuestConfig{Name: fmt.Sprintf("worker-%d", i), Tiny: true})
		if _, err := guest.Ticks().Wait(t.Context(), "node-a", 1); err != nil {
			t.Fatal(err)
		}
		uuids = append(uuids, guest.UUID())
		p := paramsFor(t, c, guest.UUID(), nodeB())
		p.BandwidthMiBps = 1 // It takes eight seconds.
		params = append(params, p)
	}
	setWorkers(t, workers)
	first := startMigration(t.Context(), c, uuids[0], params[0])
	awaitCopying(t, c, uuids[0])
	second := startMigration(t.Context(), c, uuids[1], params[1])
	eventually(t, 5*time.Second, func() error {
		if d := nodeB().DomainState(t.Context(), uuids[1]); d.State != lab.StatePaused {
			return fmt.Errorf("the second migration has not begun: %v", d)
		}
		return nil
	})

	_, err := c.JobStats(t.Context(), uuids[0])
	wantKind(t, err, hypervisor.KindTimeout)
	_, err = c.HostInfo(t.Context())
	wantKind(t, err, hypervisor.KindTimeout)
	_, err = c.LookupDomain(t.Context(), uuids[0])
	wantKind(t, err, "")
	_, err = c.ListDomains(t.Context())
	wantKind(t, err, "")
	_, err = c.MaxWorkers(t.Context())
	wantKind(t, err, "")
	wantKind(t, <-first, "")
	wantKind(t, <-second, "")
	_, err = c.JobStats(t.Context(), uuids[0])
	wantKind(t, err, hypervisor.KindNoDomain)
}
