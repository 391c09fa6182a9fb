package fake

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// exodus is a number of guests that leave a host at once.
type exodus struct {
	from, to *Host
	results  chan error
}

func guestID(host string, i int) string {
	return fmt.Sprintf("%08d-0000-4000-8000-%012x", i, []byte(host)[len(host)-1])
}

// leaveAll has so many guests that copy for a minute leave a host.
func leaveAll(t *testing.T, from, to *Host, guests int) *exodus {
	t.Helper()
	e := &exodus{from: from, to: to, results: make(chan error, guests)}
	for i := range guests {
		uuid := guestID(from.Name(), i)
		from.AddGuest(Guest{UUID: uuid, Name: fmt.Sprintf("%s-%d", from.Name(), i), MemoryBytes: 1 << 30})
		params := hypervisor.MigrateParams{DestinationURI: to.URI(), LiveXML: "<live/>", BandwidthMiBps: 16}
		go func() { e.results <- from.Migrate(t.Context(), uuid, params) }()
		synctest.Wait()
	}
	return e
}

// withTwo runs a test on two hosts in a bubble of synctest.
func withTwo(t *testing.T, test func(t *testing.T, a, b *Host), options ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet(options...)
		defer f.Close()
		test(t, f.Host("node-a"), f.Host("node-b"))
	})
}

func wantKindOf(t *testing.T, what string, err error, want hypervisor.Kind) {
	t.Helper()
	if got := hypervisor.KindOf(err); got != want {
		t.Errorf("%s: error is of kind %q, want %q: %v", what, got, want, err)
	}
}

func TestMigrationsThatTakeAllWorkersLeaveTheAgentBlind(t *testing.T) {
	tests := []struct {
		name            string
		guests, workers int
		want            hypervisor.Kind
	}{
		{name: "all but one of libvirt's twenty", guests: 19, workers: 20},
		{name: "all twenty", guests: 20, workers: 20, want: hypervisor.KindTimeout},
		{name: "all of more", guests: 24, workers: 24, want: hypervisor.KindTimeout},
		{name: "twenty of more", guests: 20, workers: 24},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			withTwo(t, func(t *testing.T, a, b *Host) {
				leaveAll(t, a, b, tt.guests)
				time.Sleep(5 * time.Second)
				first := guestID("node-a", 0)
				_, err := a.JobStats(t.Context(), first)
				wantKindOf(t, "JobStats", err, tt.want)
				_, err = a.HostInfo(t.Context())
				wantKindOf(t, "HostInfo", err, tt.want)
				// What has a high priority is answered all the same, as is the administration.
				workers, err := a.MaxWorkers(t.Context())
				if err != nil || workers != tt.workers {
					t.Errorf("the host has %d workers (%v), want %d", workers, err, tt.workers)
				}
				_, err = a.LookupDomain(t.Context(), first)
				wantKindOf(t, "LookupDomain", err, "")
				_, err = a.ListDomains(t.Context())
				wantKindOf(t, "ListDomains", err, "")
				wantKindOf(t, "AbortJob", a.AbortJob(t.Context(), first), tt.want)
			}, WithWorkers(tt.workers, 5))
		})
	}
}

func TestACallThatNobodyWaitsForIsCarriedOutLater(t *testing.T) {
	withTwo(t, func(t *testing.T, a, b *Host) {
		e := leaveAll(t, a, b, 2)
		time.Sleep(5 * time.Second)
		wantKindOf(t, "AbortJob", a.AbortJob(t.Context(), guestID("node-a", 0)), hypervisor.KindTimeout)
		if a.Hanging(MethodAbortJob) != 0 {
			t.Error("the call hangs for another reason")
		}
		// The second guest ends its job by itself, and leaves a worker to the abort.
		a.fleet.PowerOff(guestID("node-a", 1))
		wantKindOf(t, "the second migration", <-e.results, hypervisor.KindOther)
		wantKindOf(t, "the first migration", <-e.results, hypervisor.KindAborted)
	}, WithWorkers(2, 1))
}

func TestRequestsAreServedInTheirOrder(t *testing.T) {
	withTwo(t, func(t *testing.T, a, b *Host) {
		e := leaveAll(t, a, b, 3)
		started := func(i int) bool {
			d, _ := b.LookupDomain(t.Context(), guestID("node-a", i))
			return d.UUID != ""
		}
		time.Sleep(5 * time.Second)
		if !started(0) || started(1) || started(2) {
			t.Error("not the first alone has a worker")
		}
		a.fleet.PowerOff(guestID("node-a", 0))
		<-e.results
		time.Sleep(5 * time.Second)
		if !started(1) || started(2) {
			t.Error("not the second is the next")
		}
	}, WithWorkers(1, 1))
}

func TestTwoHostsThatEmptyIntoEachOtherStandStill(t *testing.T) {
	withTwo(t, func(t *testing.T, a, b *Host) {
		var gates []*Gate
		for i := range 20 {
			gates = append(gates, a.fleet.Hold(guestID("node-a", i), StagePreparing))
		}
		there, back := leaveAll(t, a, b, 20), leaveAll(t, b, a, 20)
		for _, gate := range gates {
			gate.Release()
		}
		time.Sleep(time.Hour)
		if moved := len(there.results) + len(back.results); moved != 0 {
			t.Fatalf("%d migrations have ended; each waits for the other host's workers", moved)
		}
		for i := range 20 {
			if _, err := b.LookupDomain(t.Context(), guestID("node-a", i)); !hypervisor.IsNoDomain(err) {
				t.Errorf("node-b has prepared for guest %d: %v", i, err)
			}
		}
		// Only a daemon's end helps.
		b.KillDaemon()
		for range 20 {
			wantKindOf(t, "Migrate", <-there.results, hypervisor.KindPeerLost)
		}
	})
}

func TestAnArrivalStandsStillWhileItsHostHasNoWorker(t *testing.T) {
	withTwo(t, func(t *testing.T, a, b *Host) {
		a.AddGuest(Guest{UUID: vm, Name: "vm"})
		gate := a.fleet.Hold(vm, StageStopped)
		arrival := make(chan error, 1)
		go func() {
			arrival <- a.Migrate(t.Context(), vm, hypervisor.MigrateParams{DestinationURI: b.URI(), LiveXML: "<live/>"})
		}()
		<-gate.Reached()
		e := leaveAll(t, b, a.fleet.Host("node-c"), 1)
		gate.Release()
		time.Sleep(30 * time.Second)
		if got := a.fleet.RunningOn(vm); len(got) != 0 {
			t.Errorf("the guest runs on %v, though nobody could make it run", got)
		}
		wantKindOf(t, "the departure", <-e.results, "")
		wantKindOf(t, "the arrival", <-arrival, "")
		stats, err := b.CompletedJobStats(context.Background(), vm)
		if err != nil || stats.Downtime < 30*time.Second {
			t.Errorf("the downtime is said to have been %v (%v)", stats.Downtime, err)
		}
	}, WithWorkers(1, 1))
}

func TestPostCopyHoldsAWorkerAtTheDestination(t *testing.T) {
	withTwo(t, func(t *testing.T, a, b *Host) {
		a.AddGuest(Guest{UUID: vm, Name: "vm", MemoryBytes: 1 << 30})
		gate := a.fleet.Hold(vm, StagePostCopy)
		arrival := make(chan error, 1)
		go func() {
			arrival <- a.Migrate(t.Context(), vm, hypervisor.MigrateParams{
				DestinationURI: b.URI(), LiveXML: "<live/>", BandwidthMiBps: 16, PostCopy: true,
			})
		}()
		time.Sleep(5 * time.Second)
		if err := a.StartPostCopy(t.Context(), vm); err != nil {
			t.Fatal(err)
		}
		<-gate.Reached()
		b.Hang(MethodHostInfo)
		_, err := b.HostInfo(t.Context())
		wantKindOf(t, "HostInfo", err, hypervisor.KindTimeout)
		_, err = b.JobStats(t.Context(), vm)
		wantKindOf(t, "JobStats", err, hypervisor.KindTimeout)
		gate.Release()
		wantKindOf(t, "the arrival", <-arrival, "")
		_, err = b.JobStats(t.Context(), vm)
		wantKindOf(t, "JobStats afterwards", err, "")
	}, WithWorkers(2, 1))
}

func TestAHungCallHoldsAWorker(t *testing.T) {
	withTwo(t, func(t *testing.T, a, _ *Host) {
		a.AddGuest(Guest{UUID: vm, Name: "vm"})
		release := a.Hang(MethodSuspend)
		wantKindOf(t, "Suspend", a.Suspend(t.Context(), vm), hypervisor.KindTimeout)
		_, err := a.JobStats(t.Context(), vm)
		wantKindOf(t, "JobStats", err, hypervisor.KindTimeout)
		release()
		_, err = a.JobStats(t.Context(), vm)
		wantKindOf(t, "JobStats afterwards", err, "")
		if d, _ := a.LookupDomain(t.Context(), vm); d.State != hypervisor.StatePaused {
			t.Errorf("the guest is %s", d.State)
		}
	}, WithWorkers(1, 1))
}

func TestADaemonThatIsStartedAnewHasAllWorkers(t *testing.T) {
	withTwo(t, func(t *testing.T, a, b *Host) {
		leaveAll(t, a, b, 20)
		time.Sleep(5 * time.Second)
		a.KillDaemon()
		a.Reconnect()
		_, err := a.JobStats(t.Context(), guestID("node-a", 0))
		wantKindOf(t, "JobStats", err, "")
	})
}
