package fake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestScripts(t *testing.T) {
	tests := []struct {
		script           Script
		persistent       bool
		want             hypervisor.Kind
		wantA, wantB     string
		wantOnA, wantOnB string
	}{
		{
			Script{Ending: EndsPoweredOff}, true, hypervisor.KindOther, "Shutoff/Shutdown persistent", "",
			"1 Shutdown/Guest Stopped/Shutdown", "Started/Migrated Stopped/Failed",
		},
		{
			Script{Ending: EndsPoweredOff, AfterPass: 9}, false, hypervisor.KindOther, "", "",
			"1 2 Shutdown/Guest Stopped/Shutdown", "Started/Migrated Stopped/Failed",
		},
		{
			Script{Ending: EndsCrashed}, true, hypervisor.KindOther, "Shutoff/Crashed persistent", "",
			"1 Stopped/Failed", "Started/Migrated Stopped/Failed",
		},
		{
			Script{Ending: EndsTargetLost}, true, hypervisor.KindOther, "Running/Booted persistent", "",
			"1", "Started/Migrated Stopped/Failed",
		},
		{
			Script{Ending: EndsShellLeft}, true, hypervisor.KindPeerLost, "Running/Booted persistent", "Paused/Migration",
			"1", "Started/Migrated",
		},
		{
			Script{Ending: EndsBothRunning}, true, hypervisor.KindPeerLost,
			"Running/MigrationCanceled persistent", "Running/Migrated persistent",
			"1 2 Suspended/Migrated 3 Resumed/Migrated", "Started/Migrated Defined/Added Resumed/Migrated",
		},
		{
			Script{Ending: EndsSourceKept}, true, hypervisor.KindConnectionLost,
			"Shutoff/Migrated persistent", "Running/Migrated persistent",
			"1 2 Suspended/Migrated 3 Stopped/Migrated", "Started/Migrated Defined/Added Resumed/Migrated",
		},
		{
			Script{Ending: EndsHeld}, true, hypervisor.KindConnectionLost,
			"Paused/Migration persistent", "Running/Migrated persistent",
			"1 2 Suspended/Migrated 3", "Started/Migrated Defined/Added Resumed/Migrated",
		},
		{
			Script{Ending: EndsBothHeld}, true, hypervisor.KindConnectionLost, "Paused/Migration persistent", "Paused/Migration",
			"1 2 Suspended/Migrated 3", "Started/Migrated",
		},
		{
			Script{Ending: EndsHeldAlone}, true, hypervisor.KindConnectionLost, "Paused/Migration persistent", "",
			"1 2 Suspended/Migrated 3", "Started/Migrated Stopped/Failed",
		},
		{
			Script{Ending: EndsNeither}, true, hypervisor.KindOther, "", "",
			"1 Stopped/Failed", "Started/Migrated Stopped/Failed",
		},
	}
	for _, test := range tests {
		t.Run(string(test.script.Ending), func(t *testing.T) {
			withPair(t, Guest{Persistent: test.persistent}, func(p *pair) {
				p.fleet.ScriptNext(vm, test.script)
				params := p.params()
				params.Persist = test.persistent
				p.wantKind(p.a.Migrate(p.Context(), vm, params), test.want)
				p.want(p.a, test.wantA)
				p.want(p.b, test.wantB)
				p.wantEvents(p.onA, test.wantOnA)
				p.wantEvents(p.onB, test.wantOnB)
				for _, h := range []*Host{p.a, p.b} {
					stats, err := h.JobStats(p.Context(), vm)
					if !hypervisor.IsNoDomain(err) && (err != nil || stats.Type != hypervisor.JobNone) {
						t.Errorf("%s has a job: %+v, %v", h.Name(), stats, err)
					}
				}
			})
		})
	}
}

func TestShellCanBeDestroyedAndTheGuestMigratedAgain(t *testing.T) {
	withPair(t, Guest{Persistent: true}, func(p *pair) {
		p.fleet.ScriptNext(vm, Script{Ending: EndsShellLeft})
		p.wantKind(p.a.Migrate(p.Context(), vm, p.params()), hypervisor.KindPeerLost)
		if err := p.b.DestroyIncoming(p.Context(), vm); err != nil {
			t.Fatal(err)
		}
		p.want(p.b, "")
		if err := p.a.Migrate(p.Context(), vm, p.params()); err != nil {
			t.Error(err)
		}
		if got := p.fleet.RunningOn(vm); len(got) != 1 || got[0] != "node-b" {
			t.Errorf("the guest runs on %v", got)
		}
	})
}

func TestFailNext(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		p.a.FailNext(MethodLookupDomain, Error(hypervisor.KindBusy, "busy"), errors.New("odd"))
		_, err := p.a.LookupDomain(p.Context(), vm)
		p.wantKind(err, hypervisor.KindBusy)
		if want := "looking up the domain: busy"; err.Error() != want {
			t.Errorf("error is %q, want %q", err, want)
		}
		_, err = p.a.LookupDomain(p.Context(), vm)
		p.wantKind(err, hypervisor.KindOther)
		p.want(p.a, "Running/Booted")
		p.a.FailNext(MethodAbortJob, Error(hypervisor.KindOperationInvalid, "refused"))
		p.wantKind(p.a.AbortJob(p.Context(), vm), hypervisor.KindOperationInvalid)
		p.a.FailNext(MethodMigrate, Error(hypervisor.KindConfigUnsupported, "changed"))
		p.wantKind(p.a.Migrate(p.Context(), vm, p.params()), hypervisor.KindConfigUnsupported)
		p.want(p.b, "")
	})
}

func TestHang(t *testing.T) {
	withPair(t, Guest{Persistent: true, State: hypervisor.StateShutoff}, func(p *pair) {
		release := p.a.Hang(MethodUndefine)
		begin := time.Now()
		p.wantKind(p.a.Undefine(p.Context(), vm), hypervisor.KindTimeout)
		if took := time.Since(begin); took != defaultCallTimeout {
			t.Errorf("the call took %v", took)
		}
		ctx, cancel := context.WithTimeout(p.Context(), time.Second)
		defer cancel()
		p.wantKind(p.a.Undefine(ctx, vm), hypervisor.KindTimeout)
		ctx, cancel = context.WithCancel(p.Context())
		time.AfterFunc(time.Second, cancel)
		p.wantKind(p.a.Undefine(ctx, vm), hypervisor.KindCanceled)
		p.wantKind(p.a.Undefine(ctx, vm), hypervisor.KindCanceled)
		if n := p.a.Hanging(MethodUndefine); n != 3 {
			t.Errorf("%d calls hang", n)
		}
		p.want(p.a, "Shutoff/ persistent")
		result := make(chan error, 1)
		go func() { result <- p.a.Undefine(p.Context(), vm) }()
		synctest.Wait()
		release()
		release()
		if err := <-result; err != nil {
			t.Error(err)
		}
		p.want(p.a, "")
	})
}

func TestHangingMigrateStartsAfterItsCallerLeft(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		release := p.a.Hang(MethodMigrate)
		ctx, cancel := context.WithCancel(p.Context())
		result := p.start(ctx, p.params())
		time.Sleep(time.Hour)
		cancel()
		p.wantKind(<-result, hypervisor.KindCanceled)
		release()
		time.Sleep(time.Minute)
		if got := p.fleet.RunningOn(vm); len(got) != 1 || got[0] != "node-b" {
			t.Errorf("the guest runs on %v", got)
		}
	})
}

func TestMigrationOutlivesItsCaller(t *testing.T) {
	for name, leave := range map[string]func(p *pair, cancel func()) hypervisor.Kind{
		"context ended": func(_ *pair, cancel func()) hypervisor.Kind {
			cancel()
			return hypervisor.KindCanceled
		},
		"connection lost": func(p *pair, _ func()) hypervisor.Kind {
			p.a.LoseConnection()
			return hypervisor.KindConnectionLost
		},
	} {
		t.Run(name, func(t *testing.T) {
			withPair(t, Guest{Persistent: true}, func(p *pair) {
				ctx, cancel := context.WithCancel(p.Context())
				defer cancel()
				gate := p.fleet.Hold(vm, StageCopying)
				result := p.start(ctx, p.params())
				<-gate.Reached()
				want := leave(p, cancel)
				p.wantKind(<-result, want)
				gate.Release()
				time.Sleep(time.Minute)
				p.want(p.a, "")
				p.want(p.b, "Running/Migrated persistent")
			})
		})
	}
}

func TestDisconnect(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		p.b.Disconnect()
		_, err := p.b.ListDomains(p.Context())
		p.wantKind(err, hypervisor.KindConnectionLost)
		if err := p.a.Migrate(p.Context(), vm, p.params()); err != nil {
			t.Errorf("the daemon is there for its peers: %v", err)
		}
		p.wantEvents(p.onB, "")
		p.b.Reconnect()
		p.b.Reconnect()
		p.wantEvents(p.onB, "Resync")
		p.want(p.b, "Running/Migrated persistent")
	})
}

func TestDropEvents(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		p.b.DropEvents(true)
		if err := p.a.Migrate(p.Context(), vm, p.params()); err != nil {
			t.Error(err)
		}
		p.wantEvents(p.onB, "")
		p.b.DropEvents(false)
		p.b.Emit(hypervisor.Event{Type: hypervisor.EventLifecycle, UUID: vm, Lifecycle: hypervisor.LifecycleStopped, Detail: "Crashed"})
		p.wantEvents(p.onB, "Stopped/Crashed")
	})
}

func TestLatency(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		p.a.SetLatency(time.Second)
		begin := time.Now()
		p.want(p.a, "Running/Booted")
		if took := time.Since(begin); took != time.Second {
			t.Errorf("the call took %v", took)
		}
		ctx, cancel := context.WithTimeout(p.Context(), time.Millisecond)
		defer cancel()
		_, err := p.a.LookupDomain(ctx, vm)
		p.wantKind(err, hypervisor.KindTimeout)
	})
}

func TestKillDaemon(t *testing.T) {
	tests := []struct {
		name             string
		stage            Stage
		target           bool
		wantA, wantB     string
		wantOnA, wantOnB string
	}{
		{"source while copying", StageCopying, false, "Running/Booted persistent", "", "1 Resync", "Started/Migrated Shutdown/Host Stopped/Destroyed"},
		{"target while copying", StageCopying, true, "Running/Booted persistent", "", "1", "Started/Migrated Resync"},
		{"source while stopped", StageStopped, false, "Running/MigrationCanceled persistent", "", "1 2 Suspended/Migrated 3 Resumed/Migrated Resync", "Started/Migrated Shutdown/Host Stopped/Destroyed"},
		{"source after the switch", StageSwitched, false, "Shutoff/Migrated persistent", "Running/Migrated persistent", "1 2 Suspended/Migrated 3 Resync Stopped/Migrated", "Started/Migrated Defined/Added Resumed/Migrated"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			withPair(t, Guest{Persistent: true}, func(p *pair) {
				gate := p.fleet.Hold(vm, test.stage)
				result := p.start(p.Context(), p.params())
				<-gate.Reached()
				h, want := p.a, hypervisor.KindConnectionLost
				if test.target {
					h, want = p.b, hypervisor.KindPeerLost
				}
				h.KillDaemon()
				p.wantKind(<-result, want)
				h.Reconnect()
				gate.Release()
				time.Sleep(time.Minute)
				p.want(p.a, test.wantA)
				p.want(p.b, test.wantB)
				p.wantEvents(p.onA, test.wantOnA)
				p.wantEvents(p.onB, test.wantOnB)
			})
		})
	}
}

func TestPowerOffOnTheWay(t *testing.T) {
	for _, test := range []struct {
		stage        Stage
		want         hypervisor.Kind
		wantA, wantB string
	}{
		{StagePreparing, hypervisor.KindOther, "Shutoff/Shutdown persistent", ""},
		{StageCopying, hypervisor.KindOther, "Shutoff/Shutdown persistent", ""},
		{StageSwitched, "", "", "Shutoff/Shutdown persistent"},
	} {
		withPair(t, Guest{Persistent: true}, func(p *pair) {
			gate := p.fleet.Hold(vm, test.stage)
			result := p.start(p.Context(), p.params())
			<-gate.Reached()
			p.fleet.PowerOff(vm)
			gate.Release()
			p.wantKind(<-result, test.want)
			p.want(p.a, test.wantA)
			p.want(p.b, test.wantB)
		})
	}
}

func TestSlowSubscriberGetsOneResync(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		for range 3*subscriberBuffer + 1 {
			p.a.Emit(hypervisor.Event{Type: hypervisor.EventIteration, UUID: vm})
			p.a.Emit(hypervisor.Event{Type: hypervisor.EventIteration, UUID: "other"})
		}
		var resyncs int
		for len(p.onA) > 0 {
			if event := <-p.onA; event.Type == hypervisor.EventResync {
				resyncs++
			}
		}
		if resyncs != 1 {
			t.Errorf("got %d resyncs", resyncs)
		}
	})
}

func TestSetStateAndDirtyRate(t *testing.T) {
	withPair(t, Guest{MemoryBytes: 1 << 30, DirtyBytesPerSecond: 4 << 30}, func(p *pair) {
		result := p.start(p.Context(), p.params())
		time.Sleep(time.Hour)
		p.a.SetDirtyRate(vm, 0)
		if err := <-result; err != nil {
			t.Error(err)
		}
		p.b.SetState(vm, hypervisor.StatePaused, hypervisor.ReasonPostcopyFailed)
		p.want(p.b, "Paused/PostcopyFailed persistent")
		p.wantKind(p.b.AbortJob(p.Context(), vm), hypervisor.KindOperationInvalid)
	})
}

// TestRealTime runs without a bubble, as tests with an API server do.
func TestRealTime(t *testing.T) {
	f := NewFleet(WithSpeed(1000), WithCallTimeout(time.Second))
	defer f.Close()
	a, b := f.Host("node-a"), f.Host("node-b")
	a.AddGuest(Guest{UUID: vm, Name: "vm", DirtyBytesPerSecond: 64 << 20})
	events := b.Subscribe(t.Context(), "")
	err := a.Migrate(t.Context(), vm, hypervisor.MigrateParams{DestinationURI: b.URI(), LiveXML: "x", BandwidthMiBps: 100})
	if err != nil {
		t.Fatal(err)
	}
	if event := <-events; event.Lifecycle != hypervisor.LifecycleStarted {
		t.Errorf("the first event is %+v", event)
	}
	defer a.Hang(MethodListDomains)()
	_, err = a.ListDomains(t.Context())
	if hypervisor.KindOf(err) != hypervisor.KindTimeout {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsMigrations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet()
		a, b := f.Host("node-a"), f.Host("node-b")
		a.AddGuest(Guest{UUID: vm, Name: "vm"})
		gate := f.Hold(vm, StageCopying)
		result := make(chan error, 1)
		go func() {
			result <- a.Migrate(t.Context(), vm, hypervisor.MigrateParams{DestinationURI: b.URI(), LiveXML: "x"})
		}()
		<-gate.Reached()
		f.Close()
		if err := <-result; hypervisor.KindOf(err) != hypervisor.KindConnectionLost {
			t.Errorf("got %v", err)
		}
		a.Reconnect()
		if _, err := a.ListDomains(t.Context()); hypervisor.KindOf(err) != hypervisor.KindConnectionLost {
			t.Errorf("got %v", err)
		}
	})
}

// TestStartedBeforeItsHalf: a guest that somebody starts at the destination, before its
// half is there, keeps that half out.
func TestStartedBeforeItsHalf(t *testing.T) {
	withPair(t, Guest{}, func(p *pair) {
		p.b.AddGuest(Guest{UUID: vm, Name: "vm", Persistent: true, State: hypervisor.StateShutoff})
		gate := p.fleet.Hold(vm, StagePreparing)
		result := p.start(p.Context(), p.params())
		<-gate.Reached()
		p.b.Start(vm)
		gate.Release()
		p.wantKind(<-result, hypervisor.KindOperationInvalid)
		p.want(p.a, "Running/Booted")
		p.want(p.b, "Running/Booted persistent")
	})
}
