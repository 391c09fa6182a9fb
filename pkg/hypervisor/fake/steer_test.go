package fake

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// restless writes faster than may be copied, over 400 of its 1024 MiB.
var restless = Guest{Persistent: true, MemoryBytes: 1 << 30, DirtyBytesPerSecond: 200 << 20, WorkingSetBytes: 400 << 20}

// slowly are the parameters of a migration at half that rate.
func (p *pair) slowly() hypervisor.MigrateParams {
	params := p.params()
	params.BandwidthMiBps, params.PostCopy = 100, true
	return params
}

func (p *pair) stats(h *Host) hypervisor.JobStats {
	p.Helper()
	stats, err := h.JobStats(p.Context(), vm)
	if err != nil {
		p.Error(err)
	}
	return stats
}

func (p *pair) wantCause(err, want error) {
	p.Helper()
	p.wantKind(err, hypervisor.KindOperationInvalid)
	if !errors.Is(err, want) {
		p.Errorf("error is %v, want %v", err, want)
	}
}

func TestPostCopyMovesAGuestThatWouldNotConverge(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		inPostCopy := p.fleet.Hold(vm, StagePostCopy)
		result := p.start(p.Context(), p.slowly())
		time.Sleep(30 * time.Second)
		p.wantEvents(p.onA, "1 2 3 4 5 6")
		for range 2 {
			if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
				t.Error(err)
			}
		}
		<-inPostCopy.Reached()
		p.want(p.a, "Paused/Postcopy persistent")
		p.want(p.b, "Running/Postcopy persistent")
		p.wantEvents(p.onA, "Suspended/Migrated Suspended/Postcopy 7")
		p.wantEvents(p.onB, "Started/Migrated Defined/Added Resumed/Postcopy")
		stats := p.stats(p.a)
		if !stats.MigratingOut() || !stats.PostCopy || stats.PostCopyFailed || stats.DowntimeKnown || stats.Memory.RemainingBytes < 400<<20 {
			t.Errorf("statistics at the source are %+v", stats)
		}
		if stats := p.stats(p.b); stats.Operation != hypervisor.OperationMigrationIn || !stats.PostCopy {
			t.Errorf("statistics at the destination are %+v", stats)
		}
		p.wantCause(p.a.StartPostCopy(p.Context(), vm), hypervisor.ErrInPostCopy)
		p.wantCause(p.a.AbortJob(p.Context(), vm), hypervisor.ErrInPostCopy)
		p.wantCause(p.b.AbortJob(p.Context(), vm), hypervisor.ErrInPostCopy)
		p.wantCause(p.a.RecoverPostCopy(p.Context(), vm, p.slowly()), hypervisor.ErrPostCopyRuns)
		for _, h := range []*Host{p.a, p.b} {
			p.wantCause(h.Suspend(p.Context(), vm), hypervisor.ErrInPostCopy)
			p.wantCause(h.Resume(p.Context(), vm), hypervisor.ErrInPostCopy)
			p.wantKind(h.DestroyIncoming(p.Context(), vm), hypervisor.KindOperationInvalid)
		}
		inPostCopy.Release()
		begin := time.Now()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		// The limit of 100 MiB per second has gone.
		if took := time.Since(begin); took > time.Second {
			t.Errorf("post-copy took %v", took)
		}
		p.want(p.a, "")
		p.want(p.b, "Running/Migrated persistent")
		p.wantEvents(p.onB, "Resumed/Migrated")
		var final hypervisor.JobStats
		for len(p.onA) > 0 {
			if event := <-p.onA; event.Type == hypervisor.EventJobCompleted {
				final = event.Stats
			}
		}
		if final.Downtime != switchTime || final.MemoryPostcopyRequests == 0 {
			t.Errorf("final statistics are %+v", final)
		}
		if last, err := p.b.CompletedJobStats(p.Context(), vm); err != nil || last.Type != hypervisor.JobNone {
			t.Errorf("the destination keeps %+v, %v", last, err)
		}
	})
}

func TestStartPostCopyRefusals(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		p.wantCause(p.a.StartPostCopy(p.Context(), vm), hypervisor.ErrNoJob)
		p.wantKind(p.a.StartPostCopy(p.Context(), "unknown"), hypervisor.KindNoDomain)
		params := p.slowly()
		params.PostCopy = false
		result := p.start(p.Context(), params)
		synctest.Wait()
		p.wantCause(p.a.StartPostCopy(p.Context(), vm), hypervisor.ErrNotCopying)
		time.Sleep(time.Second)
		p.wantCause(p.a.StartPostCopy(p.Context(), vm), hypervisor.ErrPostCopyNotEnabled)
		p.wantCause(p.b.StartPostCopy(p.Context(), vm), hypervisor.ErrNoJob)
		p.wantCause(p.a.RecoverPostCopy(p.Context(), vm, params), hypervisor.ErrNotInPostCopy)
		p.wantCause(p.b.RecoverPostCopy(p.Context(), vm, params), hypervisor.ErrNoJob)
		if err := p.a.AbortJob(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.wantCause(p.a.StartPostCopy(p.Context(), vm), hypervisor.ErrNoJob)
		p.wantKind(<-result, hypervisor.KindAborted)
	})
}

func TestBrokenPostCopyIsRecovered(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		p.fleet.ScriptNext(vm, Script{Ending: EndsPostCopyBroken})
		result := p.start(p.Context(), p.slowly())
		time.Sleep(15 * time.Second)
		if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.wantKind(<-result, hypervisor.KindOther)
		for range 2 {
			p.want(p.a, "Paused/PostcopyFailed persistent")
			p.want(p.b, "Running/PostcopyFailed persistent")
			stats := p.stats(p.a)
			if !stats.MigratingOut() || !stats.PostCopyFailed || stats.Memory.RemainingBytes == 0 {
				t.Errorf("statistics are %+v", stats)
			}
			time.Sleep(time.Hour)
		}
		p.wantEvents(p.onA, "1 2 3 Suspended/Migrated Suspended/Postcopy 4 Suspended/PostcopyFailed")
		p.wantEvents(p.onB, "Started/Migrated Defined/Added Resumed/Postcopy Resumed/PostcopyFailed")
		p.wantCause(p.a.AbortJob(p.Context(), vm), hypervisor.ErrInPostCopy)
		p.wantKind(p.a.Migrate(p.Context(), vm, p.slowly()), hypervisor.KindOperationInvalid)
		p.wantCause(p.b.Resume(p.Context(), vm), hypervisor.ErrInPostCopy)
		p.wantCause(p.a.Resume(p.Context(), vm), hypervisor.ErrInPostCopy)
		params := hypervisor.MigrateParams{DestinationURI: "qemu+tcp://nowhere/system"}
		p.wantKind(p.a.RecoverPostCopy(p.Context(), vm, params), hypervisor.KindPeerLost)
		params.DestinationURI = p.b.URI()
		if err := p.a.RecoverPostCopy(p.Context(), vm, params); err != nil {
			t.Fatal(err)
		}
		p.want(p.a, "")
		p.want(p.b, "Running/Migrated persistent")
		p.wantEvents(p.onA, "Suspended/Postcopy Stopped/Migrated JobCompleted")
		p.wantEvents(p.onB, "Resumed/Postcopy Resumed/Migrated")
	})
}

func TestGuestIsLostInPostCopy(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		p.fleet.ScriptNext(vm, Script{Ending: EndsGuestLost})
		result := p.start(p.Context(), p.slowly())
		time.Sleep(15 * time.Second)
		if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.wantKind(<-result, hypervisor.KindOther)
		for range 2 {
			p.want(p.a, "Paused/PostcopyFailed persistent")
			p.want(p.b, "Shutoff/Crashed persistent")
			p.wantKind(p.a.RecoverPostCopy(p.Context(), vm, p.slowly()), hypervisor.KindOperationInvalid)
			p.wantCause(p.a.Resume(p.Context(), vm), hypervisor.ErrInPostCopy)
		}
		p.wantEvents(p.onB, "Started/Migrated Defined/Added Resumed/Postcopy Stopped/Failed")
	})
}

// TestShellOfASwitchIsNoLeftover destroys what looks like a leftover at the
// destination at the moment of the switch, which loses the guest.
func TestShellOfASwitchIsNoLeftover(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		result := p.start(p.Context(), p.slowly())
		time.Sleep(5 * time.Second)
		if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
			t.Error(err)
		}
		time.Sleep(switchTime / 2)
		p.want(p.a, "Paused/Postcopy persistent")
		p.want(p.b, "Paused/Migration")
		if err := p.b.DestroyIncoming(p.Context(), vm); err != nil {
			t.Error(err)
		}
		p.wantKind(<-result, hypervisor.KindOther)
		p.want(p.a, "Paused/PostcopyFailed persistent")
		p.want(p.b, "")
	})
}

// TestRecoveryMayFailAgain breaks what was recovered, and leaves it so.
func TestRecoveryMayFailAgain(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		p.fleet.BreakPostCopy(vm)
		gate := p.fleet.Hold(vm, StagePostCopy)
		result := p.start(p.Context(), p.slowly())
		time.Sleep(15 * time.Second)
		p.fleet.BreakPostCopy(vm)
		if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
			t.Error(err)
		}
		<-gate.Reached()
		p.fleet.BreakPostCopy(vm)
		gate.Release()
		p.wantKind(<-result, hypervisor.KindOther)
		again := make(chan error, 1)
		go func() { again <- p.a.RecoverPostCopy(p.Context(), vm, p.slowly()) }()
		time.Sleep(2 * setupTime)
		p.want(p.b, "Running/Postcopy persistent")
		p.wantCause(p.a.RecoverPostCopy(p.Context(), vm, p.slowly()), hypervisor.ErrPostCopyRuns)
		p.fleet.BreakPostCopy(vm)
		p.wantKind(<-again, hypervisor.KindOther)
		p.want(p.a, "Paused/PostcopyFailed persistent")
		p.want(p.b, "Running/PostcopyFailed persistent")
	})
}

// TestPostCopyOutlivesItsSupervision loses what follows a migration; its memory
// arrives, and the source's definition stays behind.
func TestPostCopyOutlivesItsSupervision(t *testing.T) {
	tests := []struct {
		name    string
		lose    func(p *pair)
		wantA   string
		wantOnA string
		want    hypervisor.Kind
	}{
		{"the source's daemon is killed", func(p *pair) { p.a.KillDaemon(); p.a.Reconnect() }, "Paused/Postcopy persistent", "Resync", hypervisor.KindConnectionLost},
		{"the destination's daemon is killed", func(p *pair) { p.b.KillDaemon(); p.b.Reconnect() }, "Paused/PostcopyFailed persistent", "Suspended/PostcopyFailed", hypervisor.KindPeerLost},
		{"the daemons lose each other", func(p *pair) { p.fleet.LoseSupervision(vm) }, "Paused/PostcopyFailed persistent", "Suspended/PostcopyFailed", hypervisor.KindPeerLost},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			withPair(t, restless, func(p *pair) {
				gate := p.fleet.Hold(vm, StagePostCopy)
				result := p.start(p.Context(), p.slowly())
				time.Sleep(15 * time.Second)
				if err := p.a.StartPostCopy(p.Context(), vm); err != nil {
					t.Error(err)
				}
				<-gate.Reached()
				p.wantEvents(p.onA, "1 2 3 Suspended/Migrated Suspended/Postcopy 4")
				test.lose(p)
				p.wantKind(<-result, test.want)
				p.want(p.a, test.wantA)
				p.want(p.b, "Running/Postcopy persistent")
				p.wantKind(p.a.RecoverPostCopy(p.Context(), vm, p.slowly()), hypervisor.KindOperationInvalid)
				gate.Release()
				time.Sleep(10 * time.Second)
				p.want(p.a, "Shutoff/Migrated persistent")
				p.want(p.b, "Running/Migrated persistent")
				p.wantEvents(p.onA, test.wantOnA+" Stopped/Migrated JobCompleted")
				if last, err := p.a.CompletedJobStats(p.Context(), vm); err != nil || last.Downtime != switchTime {
					t.Errorf("the source keeps %+v, %v", last, err)
				}
			})
		})
	}
}

func TestSuspendForcesTheSwitch(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		result := p.start(p.Context(), p.slowly())
		time.Sleep(prepareTime + setupTime + 5*time.Second)
		p.wantKind(p.a.Resume(p.Context(), vm), hypervisor.KindBusy)
		p.wantKind(p.b.Resume(p.Context(), vm), hypervisor.KindOperationInvalid)
		p.wantKind(p.b.Suspend(p.Context(), vm), hypervisor.KindOperationInvalid)
		for range 2 {
			if err := p.a.Suspend(p.Context(), vm); err != nil {
				t.Error(err)
			}
		}
		p.want(p.a, "Paused/Migration persistent")
		p.wantKind(p.a.Resume(p.Context(), vm), hypervisor.KindBusy)
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		p.want(p.b, "Running/Migrated persistent")
		p.wantEvents(p.onA, "1 Suspended/Migrated 2 3 4 Stopped/Migrated JobCompleted")
		// The rest of the first pass, and what was written during its beginning.
		want := time.Duration(1024-500+400)*10*time.Millisecond + switchTime
		stats, err := p.b.CompletedJobStats(p.Context(), vm)
		if off := (stats.Downtime - want).Abs(); err != nil || off > 10*time.Millisecond {
			t.Errorf("the downtime is %v, want %v; %v", stats.Downtime, want, err)
		}
	})
}

func TestAbortMakesASuspendedGuestGoOn(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		result := p.start(p.Context(), p.slowly())
		time.Sleep(5 * time.Second)
		for _, call := range []func() error{
			func() error { return p.a.Suspend(p.Context(), vm) }, func() error { return p.a.AbortJob(p.Context(), vm) },
		} {
			if err := call(); err != nil {
				t.Error(err)
			}
		}
		p.wantKind(<-result, hypervisor.KindAborted)
		p.want(p.a, "Running/MigrationCanceled persistent")
		p.wantEvents(p.onA, "1 Suspended/Migrated Resumed/Migrated")
	})
}

func TestSuspendAndResumeWithoutAMigration(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		for range 2 {
			if err := p.a.Suspend(p.Context(), vm); err != nil {
				t.Error(err)
			}
			p.want(p.a, "Paused/User")
		}
		for range 2 {
			if err := p.a.Resume(p.Context(), vm); err != nil {
				t.Error(err)
			}
			p.want(p.a, "Running/Unpaused")
		}
		p.wantEvents(p.onA, "Suspended/Paused Resumed/Unpaused")
		p.a.SetState(vm, hypervisor.StatePaused, hypervisor.ReasonMigration)
		p.wantKind(p.a.Resume(p.Context(), vm), hypervisor.KindOperationInvalid)
		p.a.SetState(vm, hypervisor.StateShutoff, hypervisor.ReasonShutdown)
		p.wantKind(p.a.Resume(p.Context(), vm), hypervisor.KindOperationInvalid)
		p.wantKind(p.a.Suspend(p.Context(), vm), hypervisor.KindOperationInvalid)
		p.wantKind(p.a.Suspend(p.Context(), "unknown"), hypervisor.KindNoDomain)
		p.wantKind(p.a.Resume(p.Context(), "unknown"), hypervisor.KindNoDomain)
	})
}

// TestSwitchoverBandwidthIsReckonedWith: nothing but the copy is limited.
func TestSwitchoverBandwidthIsReckonedWith(t *testing.T) {
	guest := restless
	guest.DirtyBytesPerSecond = 200 << 20
	guest.WorkingSetBytes = 100 << 20
	withPair(t, guest, func(p *pair) {
		params := p.slowly()
		params.Transfer.SwitchoverBandwidthMiBps = 1000
		begin := time.Now()
		if err := <-p.start(p.Context(), params); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
		stats, err := p.b.CompletedJobStats(p.Context(), vm)
		if err != nil || stats.Downtime > 120*time.Millisecond {
			t.Errorf("statistics are %+v, %v", stats, err)
		}
	})
}

func TestMaxDowntimeEndsAPassThatFitsIntoIt(t *testing.T) {
	guest := restless
	guest.DirtyBytesPerSecond = 50 << 20
	guest.WorkingSetBytes = 100 << 20
	withPair(t, guest, func(p *pair) {
		result := p.start(p.Context(), p.slowly())
		// The first pass takes 10.24 s; each further one sends 100 MiB, then 50,
		// then 25, which is less than may be left.
		time.Sleep(prepareTime + setupTime + 10*time.Second + 500*time.Millisecond)
		if ms, err := p.a.MaxDowntime(p.Context(), vm); err != nil || ms != 300 {
			t.Errorf("the limit is %d ms, %v", ms, err)
		}
		if stats := p.stats(p.a); stats.Downtime != time.Second || stats.MemoryIteration != 2 {
			t.Errorf("statistics are %+v", stats)
		}
		if err := p.a.SetMaxDowntime(p.Context(), vm, 900); err != nil {
			t.Error(err)
		}
		if ms, err := p.a.MaxDowntime(p.Context(), vm); err != nil || ms != 900 {
			t.Errorf("the limit is %d ms, %v", ms, err)
		}
		begin := time.Now()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 1300*time.Millisecond {
			t.Errorf("it took %v to switch", took)
		}
		// What would have taken 880 ms is sent as fast as the link carries it.
		stats, err := p.b.CompletedJobStats(p.Context(), vm)
		if err != nil || stats.Downtime > 120*time.Millisecond || stats.Downtime < 90*time.Millisecond {
			t.Errorf("statistics are %+v, %v", stats, err)
		}
	})
}

func TestAutoConvergeSlowsTheGuestDown(t *testing.T) {
	withPair(t, restless, func(p *pair) {
		params := p.slowly()
		params.AutoConverge = &hypervisor.AutoConverge{InitialPercent: 40, IncrementPercent: 30}
		result := p.start(p.Context(), params)
		var throttles []uint64
		for len(result) == 0 {
			if now := p.stats(p.a).AutoConvergeThrottlePercent; len(throttles) == 0 || throttles[len(throttles)-1] != now {
				throttles = append(throttles, now)
			}
			time.Sleep(time.Second)
			if _, err := p.a.LookupDomain(p.Context(), vm); err != nil {
				break
			}
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if len(throttles) < 3 || throttles[1] != 40 || throttles[2] != 70 {
			t.Errorf("the throttle was %v", throttles)
		}
	})
}

func TestThrottle(t *testing.T) {
	var slow throttle
	slow.adjust(nil, 100, 100)
	for _, want := range []uint64{0, 20, 20, 30, 30, 40} {
		slow.adjust(&hypervisor.AutoConverge{}, 51, 100)
		if slow.percent != want {
			t.Errorf("the throttle is %d, want %d", slow.percent, want)
		}
	}
	for range 100 {
		slow.adjust(&hypervisor.AutoConverge{}, 51, 100)
	}
	slow.adjust(&hypervisor.AutoConverge{}, 50, 100)
	if slow.percent != 99 {
		t.Errorf("the throttle is %d", slow.percent)
	}
}

func TestBandwidthOfTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet(WithBandwidth(64 << 20))
		defer f.Close()
		a, b := f.Host("node-a"), f.Host("node-b")
		a.AddGuest(Guest{UUID: vm, Name: "vm", MemoryBytes: 640 << 20})
		begin := time.Now()
		params := hypervisor.MigrateParams{DestinationURI: b.URI(), LiveXML: "x", BandwidthMiBps: 1000}
		if err := a.Migrate(t.Context(), vm, params); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestSteeringFailsOnRequest(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		calls := map[Method]func() error{
			MethodStartPostCopy:   func() error { return p.a.StartPostCopy(p.Context(), vm) },
			MethodSuspend:         func() error { return p.a.Suspend(p.Context(), vm) },
			MethodResume:          func() error { return p.a.Resume(p.Context(), vm) },
			MethodRecoverPostCopy: func() error { return p.a.RecoverPostCopy(p.Context(), vm, p.params()) },
			MethodMaxDowntime: func() error {
				_, err := p.a.MaxDowntime(p.Context(), vm)
				return err
			},
		}
		for method, call := range calls {
			p.a.FailNext(method, Error(hypervisor.KindTimeout, "slow"))
			p.wantKind(call(), hypervisor.KindTimeout)
			if p.a.Count(method, vm) != 1 {
				t.Errorf("%s was not recorded", method)
			}
			p.a.Disconnect()
			p.wantKind(call(), hypervisor.KindConnectionLost)
			p.a.Reconnect()
			if method == MethodRecoverPostCopy {
				continue
			}
			release := p.a.Hang(method)
			p.wantKind(call(), hypervisor.KindTimeout)
			release()
		}
		// The hung calls took effect.
		p.a.SetLatency(time.Second)
		begin := time.Now()
		if err := p.a.Resume(p.Context(), vm); err != nil || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}
